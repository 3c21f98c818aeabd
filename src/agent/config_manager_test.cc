#include "agent/config_manager.h"

#include <filesystem>
#include <fstream>

namespace kerf::agent {
namespace {

namespace fs = std::filesystem;

class ConfigManager : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ("kerf-manager-" + std::to_string(getpid()) + "-" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name) << text;
    return (root_ / name).string();
  }

  void process(int pid, const std::string& command_line, const std::string& comm) {
    fs::path directory = root_ / std::to_string(pid);
    fs::create_directories(directory);
    std::ofstream(directory / "cmdline") << command_line;
    std::ofstream(directory / "comm") << comm << "\n";
  }

  pid_t found(const std::string& name) { return find_process(root_.string(), name).value_or(-1); }

  fs::path root_;
};

TEST_F(ConfigManager, PointsTheLinkWhereverItLedBefore) {
  std::string a = file("a", "1");
  std::string b = file("b", "2");
  std::string link = (root_ / "config.yaml").string();
  EXPECT_TRUE(point_link(link, a).value());
  EXPECT_FALSE(point_link(link, a).value());
  EXPECT_TRUE(point_link(link, b).value());
  EXPECT_EQ(fs::read_symlink(link), b);
  fs::remove(b);  // a link that leads nowhere
  EXPECT_TRUE(point_link(link, a).value());
  fs::remove(link);
  file("config.yaml", "a file of its own");
  EXPECT_TRUE(point_link(link, a).value());
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), {}), 2);
}

TEST_F(ConfigManager, RefusesToReplaceADirectory) {
  fs::create_directory(root_ / "config.yaml");
  Result<bool> done = point_link((root_ / "config.yaml").string(), file("a", ""));
  ASSERT_FALSE(done.has_value());
  EXPECT_NE(done.error().hint.find("CONFIG_FILE_DST"), std::string::npos);
  EXPECT_FALSE(point_link((root_ / "missing" / "x").string(), file("a", "")).has_value());
}

TEST_F(ConfigManager, FindsTheProcessByItsFirstArgumentBeforeAnyOtherName) {
  using namespace std::string_literals;
  process(30, "/usr/bin/nvidia-device-plugin\0--x\0"s, "nvidia-device-p");
  process(20, "/usr/bin/kerf\0nvidia-device-plugin\0"s, "nvidia-device-p");
  process(10, "", "kthreadd");
  EXPECT_EQ(found("kerf"), 20);
  EXPECT_EQ(found("nvidia-device-plugin"), 30);
  process(40, "nvidia-device-plugin\0"s, "kerf");
  EXPECT_EQ(found("nvidia-device-plugin"), 40);
  fs::remove_all(root_ / "30");
  fs::remove_all(root_ / "40");
  EXPECT_EQ(found("nvidia-device-plugin"), 20);
  Result<pid_t> none = find_process(root_.string(), "mps-control-daemon");
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().what, "error finding pid: no process found");
}

}  // namespace
}  // namespace kerf::agent
