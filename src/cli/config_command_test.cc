// What `kerf config` prints and returns.
#include "cli/config_command.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace kerf::cli {
namespace {

class ConfigCommand : public testing::Test {
 protected:
  ConfigCommand() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kerf-config-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ConfigCommand() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& text) {
    std::string path = (folder_ / "config.yaml").string();
    std::ofstream(path) << text;
    return path;
  }
  int check(std::vector<std::string> args) { return config_check(args, out_, err_); }
  int explain(std::vector<std::string> args, const config::Env& env = {}) {
    return config_explain(args, env, out_, err_);
  }

  std::filesystem::path folder_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ConfigCommand, CheckOfAGoodFileSaysOk) {
  std::string path = file("version: v1\n");
  EXPECT_EQ(check({path}), 0);
  EXPECT_EQ(out_.str(), path + ": ok\n");
}

TEST_F(ConfigCommand, CheckPrintsAllFindingsAndFailsOnErrors) {
  std::string path = file("version: v2\nsharin: 1\n");
  EXPECT_EQ(check({path}), 1);
  EXPECT_NE(out_.str().find(path + ":1:10: error: version: unknown version: v2\n"),
            std::string::npos);
  EXPECT_NE(out_.str().find("did you mean sharing?"), std::string::npos);
  EXPECT_TRUE(out_.str().ends_with(path + ": 1 error, 1 warning\n")) << out_.str();
}

TEST_F(ConfigCommand, CheckPassesWarningsAndWritesJson) {
  std::string path = file("sharin: 1\n");
  EXPECT_EQ(check({"--json", path}), 0);
  EXPECT_NE(out_.str().find("\"errors\":0,\"warnings\":1"), std::string::npos) << out_.str();
}

TEST_F(ConfigCommand, CheckOfWhatCannotBeReadIsAnError) {
  EXPECT_EQ(check({(folder_ / "gone.yaml").string()}), 1);
  EXPECT_NE(out_.str().find("No such file or directory"), std::string::npos) << out_.str();
  EXPECT_EQ(check({folder_.string()}), 1);
  EXPECT_EQ(check({file(std::string((1 << 20) + 1, '#'))}), 1);
}

TEST_F(ConfigCommand, WrongUsageIsTwo) {
  EXPECT_EQ(check({}), 2);
  EXPECT_EQ(check({"a", "b"}), 2);
  EXPECT_EQ(check({"--jsn", "a"}), 2);
  EXPECT_EQ(explain({"--mig-stratgy=none"}), 2);
  EXPECT_NE(err_.str().find("did you mean --mig-strategy?"), std::string::npos);
}

TEST_F(ConfigCommand, ExplainShowsValuesWithTheirSources) {
  std::string path = file("flags: {migStrategy: single}\n");
  EXPECT_EQ(explain({"--config-file", path}, {{"PASS_DEVICE_SPECS", "true"}}), 0);
  EXPECT_NE(out_.str().find("# from env PASS_DEVICE_SPECS"), std::string::npos);
  EXPECT_NE(out_.str().find("# from file " + path + ":1:22"), std::string::npos) << out_.str();
  EXPECT_EQ(err_.str(), "");
}

TEST_F(ConfigCommand, ExplainOfABrokenConfigurationPrintsOnlyFindings) {
  EXPECT_EQ(explain({"--mig-strategy", "x"}), 1);
  EXPECT_EQ(out_.str(), "");
  EXPECT_NE(err_.str().find("flag --mig-strategy: error: unknown MIG strategy: x"),
            std::string::npos)
      << err_.str();
}

}  // namespace
}  // namespace kerf::cli
