// `kerf top`: what a screen shows, and what it makes harmless.
#include "cli/top_command.h"

#include "base/strings.h"
#include "page/sample_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kerf::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

http::RemoteStatus remote(metrics::NodeStatus node) {
  http::RemoteStatus out;
  out.node = std::move(node);
  out.status = "ok";
  return out;
}

TEST(TopScreen, ShowsEachGpuAndWhoUsesIt) {
  const std::string text = top_text(remote(samples::healthy()), false, 200);
  EXPECT_THAT(text, AllOf(HasSubstr("GPU 0  NVIDIA GeForce RTX 3090"),
                          HasSubstr("gpu-device-plugin/gpu-test-1 (cuda-test)"),
                          HasSubstr("7.0 GiB of 6.0 GiB"), HasSubstr("above its share"),
                          HasSubstr("1/4"), HasSubstr("64 °C"), HasSubstr("123.5 kJ")));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(top_text(remote(samples::healthy()), true, 200), HasSubstr("\x1b["));
}

TEST(TopScreen, IsNoWiderThanTheTerminal) {
  for (std::size_t width : {20U, 60U, 80U}) {
    for (const std::string& line :
         split(top_text(remote(samples::healthy()), false, width), '\n')) {
      const auto characters = std::ranges::count_if(
          line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
      EXPECT_LE(static_cast<std::size_t>(characters), width) << line;
      EXPECT_EQ(valid_utf8(line), line) << "cut between characters";
    }
  }
}

TEST(TopScreen, CannotBeSteeredByWhatAPodIsCalled) {
  const std::string text = top_text(remote(samples::hostile()), false, 300);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("onerror"));
}

TEST(TopScreen, SaysWhenItsUseIsNotKnown) {
  EXPECT_THAT(top_text(remote(samples::mig()), false, 100), HasSubstr("not known"));
  EXPECT_THAT(top_text(remote(samples::no_driver()), false, 100), HasSubstr("no GPU"));
}

TEST(TopJson, HasTheFiguresOfEachGpu) {
  const std::string status = http::status_json(samples::healthy());
  const auto json = nlohmann::json::parse(top_json(status));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["index"], 0);
  EXPECT_EQ(json[0]["pods"][0]["pod"], "gpu-test-1");
  EXPECT_EQ(json[0]["pods"][0]["memory_bytes"], 7ULL << 30);
  EXPECT_EQ(json[0]["history"]["power_watts"].size(), 120U);
  EXPECT_EQ(top_json("garbage"), "");
}

}  // namespace
}  // namespace kerf::cli
