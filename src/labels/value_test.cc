#include "labels/value.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace kerf::labels {
namespace {

TEST(Values, AreSanitisedAsFeatureDiscoveryDoes) {
  const std::pair<const char*, const char*> rows[] = {
      {"some ( thing )else", "some-thing-else"},
      {"NVIDIA-TITAN-X-(Pascal)", "NVIDIA-TITAN-X-Pascal"},
      {" input  with multiple   spaces   ", "input-with-multiple-spaces"},
      {"NVIDIA GeForce RTX 3090", "NVIDIA-GeForce-RTX-3090"},
      {"tab\tand\nline", "tab-and-line"},
      {"Gr\xc3\xbc\xc3\x9f", "Gr"},
      {"1g.10gb+me", "1g.10gbme"},
      {"", ""},
      {"( )", ""},
  };
  for (const auto& [text, wanted] : rows) EXPECT_EQ(sanitise(text), wanted);
}

bool is_legal(const std::string& value) {
  auto alphanumeric = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return value.empty() || (value.size() <= kMaxValue && alphanumeric(value.front()) &&
                           alphanumeric(value.back()) && std::ranges::all_of(value, [&](char c) {
                             return alphanumeric(c) || c == '-' || c == '_' || c == '.';
                           }));
}

TEST(Values, AreAlwaysLegal) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string odd(1, static_cast<char>(byte));
    for (const std::string& text : {odd, odd + "x", "x" + odd, "x" + odd + odd + "x",
                                    std::string(62, 'x') + odd + "x", std::string(80, odd[0])}) {
      EXPECT_TRUE(is_legal(label_value(text))) << byte;
      EXPECT_TRUE(is_legal(product_value(text, "-MIG-1g.10gb-SHARED"))) << byte;
    }
  }
  EXPECT_EQ(label_value("-.Some Thing_"), "Some-Thing");
}

TEST(Values, AreCutAtTheEndOfTheModel) {
  std::string model = "NVIDIA " + std::string(60, 'x');
  EXPECT_EQ(product_value(model, "").size(), kMaxValue);
  std::string shared = product_value(model, "-MIG-1g.10gb-SHARED");
  EXPECT_EQ(shared.size(), kMaxValue);
  EXPECT_TRUE(shared.starts_with("NVIDIA-xxx"));
  EXPECT_TRUE(shared.ends_with("x-MIG-1g.10gb-SHARED"));
  // Never with two dashes, nor with one at the end.
  EXPECT_EQ(product_value(std::string(55, 'x') + " y", "-SHARED"),
            std::string(55, 'x') + "-SHARED");
  EXPECT_EQ(product_value("()", "-SHARED"), "SHARED");
}

}  // namespace
}  // namespace kerf::labels
