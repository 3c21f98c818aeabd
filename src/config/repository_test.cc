// The manual and the fuzzer's seeds against the code, so that neither drifts away.
#include <filesystem>
#include <string>

#include "base/files.h"
#include "config/load.h"
#include "config/render.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace kerf::config {
namespace {

std::string repository_file(const std::string& name) {
  Result<std::string> text = read_file(std::string(KERF_SOURCE_DIR) + "/" + name);
  EXPECT_TRUE(text.has_value()) << text.error().text();
  return text.value_or("");
}

TEST(Manual, ListsEveryFlagWithItsVariablesAndPlaceInTheFile) {
  std::string manual = repository_file("docs/configuration.md");
  for (const FlagSpec& spec : agent_flags()) {
    std::string row = fmt::format("| `--{}`", spec.name);
    for (std::string_view alias : spec.aliases) row += fmt::format(", `--{}`", alias);
    row += " | ";
    for (std::size_t i = 0; i < spec.env.size(); ++i) {
      row += fmt::format("{}`{}`", i > 0 ? ", " : "", spec.env[i]);
    }
    std::size_t at = manual.find(row + " | ");
    ASSERT_NE(at, std::string::npos) << row;
    std::string line = manual.substr(at, manual.find('\n', at) - at);
    std::string place = spec.file_path.empty() ? "–" : fmt::format("`{}`", spec.file_path);
    EXPECT_TRUE(line.ends_with("| " + place + " |")) << line;
  }
}

TEST(Manual, ShowsAFileThatIsValid) {
  std::string manual = repository_file("docs/configuration.md");
  std::size_t begin = manual.find("```yaml\n") + 8;
  Effective e = evaluate_file(manual.substr(begin, manual.find("```", begin) - begin), "manual");
  EXPECT_TRUE(e.findings.empty()) << render(e.findings.front());
  EXPECT_EQ(e.config.sharing.resources.at(0).replicas, 10u);
}

TEST(Readme, ShowsAFileThatIsValidAndWhatIsSaidOfAMistakeInIt) {
  std::string readme = repository_file("README.md");
  std::size_t begin = readme.find("```yaml\n") + 8;
  std::string text = readme.substr(begin, readme.find("```", begin) - begin);
  EXPECT_TRUE(evaluate_file(text, "config.yaml").findings.empty());
  text.replace(text.find("replicas: 4"), 11, "replicas: 0");
  Effective wrong = evaluate_file(text, "config.yaml");
  ASSERT_FALSE(wrong.ok());
  std::string said = render(wrong.findings.front());
  EXPECT_NE(readme.find(said), std::string::npos) << said;
}

TEST(FuzzSeeds, AreReadWithoutHarmAndTheGoodOnesAreAccepted) {
  unsigned seeds = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(KERF_SOURCE_DIR "/fuzz/corpus/config")) {
    std::string name = file.path().filename().string();
    Effective e = evaluate_file(repository_file("fuzz/corpus/config/" + name), name);
    bool good = name.starts_with("seed_") || name == "every_field.yaml" || name == "config.json";
    EXPECT_TRUE(!good || e.ok()) << name << ": " << render(e.findings.front());
    ++seeds;
  }
  EXPECT_GE(seeds, 10u);
}

}  // namespace
}  // namespace kerf::config
