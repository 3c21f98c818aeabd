#include "config/choose.h"

namespace kerf::config {
namespace {

using Names = std::vector<std::string>;

struct Case {
  const char* what;
  std::string label;
  std::string default_name;
  Names fallbacks;
  Names available;
  std::string chosen;  // "" for the empty configuration
  std::string error;   // part of it; "" when one is chosen
};

TEST(ConfigChoice, FollowsLabelThenDefaultThenFallbacksInOrder) {
  const Names ab = {"a", "b"};
  const std::vector<Case> cases = {
      {"the label names one", "b", "a", {"named"}, ab, "b", ""},
      {"the label names none", "c", "a", {"empty"}, ab, "", "specified config c does not exist"},
      {"no label, a default", "", "a", {"empty"}, ab, "a", ""},
      {"no label, a default that is not there",
       "",
       "c",
       {"empty"},
       ab,
       "",
       "specified config c does not exist"},
      {"named", "", "", {"named"}, {"a", "default"}, "default", ""},
      {"named without a file of that name", "", "", {"named"}, ab, "", "all fallbacks failed"},
      {"single", "", "", {"single"}, {"a"}, "a", ""},
      {"single of two", "", "", {"single"}, ab, "", "all fallbacks failed"},
      {"empty", "", "", {"empty"}, ab, "", ""},
      {"the first that fits", "", "", {"named", "single", "empty"}, {"x"}, "x", ""},
      {"the last resort", "", "", {"named", "single", "empty"}, ab, "", ""},
      {"the order given", "", "", {"empty", "named"}, {"default"}, "", ""},
      {"an unknown fallback",
       "",
       "",
       {"named", "Single"},
       ab,
       "",
       "unknown fallback strategy: Single"},
      {"an unknown fallback that is not reached", "", "", {"empty", "x"}, ab, "", ""},
      {"no fallback", "", "", {}, {"a"}, "", "no config was set, no default was provided"},
      {"no files", "a", "", {"empty"}, {}, "", "no configuration files available"},
  };
  for (const Case& c : cases) {
    Result<std::string> chosen = choose_config(c.label, {c.default_name, c.fallbacks}, c.available);
    if (c.error.empty()) {
      ASSERT_TRUE(chosen.has_value()) << c.what << ": " << chosen.error().text();
      EXPECT_EQ(*chosen, c.chosen) << c.what;
    } else {
      ASSERT_FALSE(chosen.has_value()) << c.what;
      EXPECT_NE(chosen.error().what.find(c.error), std::string::npos) << chosen.error().text();
      EXPECT_FALSE(chosen.error().hint.empty()) << c.what;
    }
  }
}

TEST(ConfigChoice, NamesWhatThereIsWhenTheLabelNamesNothing) {
  Result<std::string> chosen = choose_config("c", {}, Names{"b", "a"});
  ASSERT_FALSE(chosen.has_value());
  EXPECT_EQ(chosen.error().subject, "c");
  EXPECT_EQ(chosen.error().hint, "available: a, b");
}

}  // namespace
}  // namespace kerf::config
