#include "agent/config_source.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include <asio/io_context.hpp>

namespace kerf::agent {
namespace {

namespace fs = std::filesystem;

class ConfigSourceTest : public testing::Test {
 protected:
  ConfigSourceTest() {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    dir_ = testing::TempDir() + "kerf_config_" + std::to_string(getpid()) + name;
    fs::create_directories(dir_);
  }
  ~ConfigSourceTest() override { fs::remove_all(dir_); }

  static std::string text(int replicas) {
    return "version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - name: nvidia.com/gpu\n"
           "      replicas: " +
           std::to_string(replicas) + "\n";
  }
  void write(const std::string& path, const std::string& content) {
    std::ofstream(path) << content;
  }
  ConfigSource source(const std::string& file) {
    return ConfigSource({{"config-file", {file}}}, {});
  }
  template <typename F>
  bool eventually(F done) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!done() && std::chrono::steady_clock::now() < until) {
      loop_.run_for(std::chrono::milliseconds(10));
    }
    return done();
  }

  std::string dir_;
  asio::io_context loop_;
};

TEST_F(ConfigSourceTest, TellsWhenTheFileIsRewrittenInPlace) {
  std::string file = dir_ + "/config.yaml";
  write(file, text(4));
  ConfigSource config = source(file);
  ASSERT_EQ(config.load()->config.sharing.resources.at(0).replicas, 4u);
  int changes = 0;
  config.watch(loop_, file, [&] { ++changes; });
  write(file, text(10));
  ASSERT_TRUE(eventually([&] { return changes > 0; }));
  EXPECT_EQ(config.load()->config.sharing.resources.at(0).replicas, 10u);
}

TEST_F(ConfigSourceTest, DoesNotTakeAFileThatIsBeingWrittenForAnEmptyOne) {
  std::string file = dir_ + "/config.yaml";
  write(file, text(4));
  ConfigSource config = source(file);
  ASSERT_TRUE(config.load());
  int changes = 0;
  config.watch(loop_, file, [&] { ++changes; });
  std::ofstream out(file);  // empties it
  for (int n = 0; n < 20; ++n) {
    write(dir_ + "/neighbour", std::to_string(n));  // makes it look
    loop_.run_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(changes, 0);
  out << text(10);
  out.close();
  ASSERT_TRUE(eventually([&] { return changes > 0; }));
  EXPECT_EQ(config.load()->config.sharing.resources.at(0).replicas, 10u);
}

TEST_F(ConfigSourceTest, TakesAFileThatStaysEmpty) {
  std::string file = dir_ + "/config.yaml";
  write(file, text(4));
  ConfigSource config = source(file);
  ASSERT_TRUE(config.load());
  int changes = 0;
  config.watch(loop_, file, [&] { ++changes; });
  write(file, "");
  ASSERT_TRUE(eventually([&] { return changes > 0; }));
  EXPECT_TRUE(config.load()->config.sharing.resources.empty());
}

TEST_F(ConfigSourceTest, TellsWhenAConfigMapsLinksAreSwitched) {
  for (const char* version : {"one", "two"}) fs::create_directory(dir_ + "/.." + version);
  write(dir_ + "/..one/config.yaml", text(4));
  write(dir_ + "/..two/config.yaml", text(10));
  fs::create_symlink("..one", dir_ + "/..data");
  fs::create_symlink("..data/config.yaml", dir_ + "/config.yaml");
  ConfigSource config = source(dir_ + "/config.yaml");
  ASSERT_TRUE(config.load());
  bool changed = false;
  config.watch(loop_, dir_ + "/config.yaml", [&] { changed = true; });
  fs::create_symlink("..two", dir_ + "/..data_tmp");
  fs::rename(dir_ + "/..data_tmp", dir_ + "/..data");
  ASSERT_TRUE(eventually([&] { return changed; }));
  EXPECT_EQ(config.load()->config.sharing.resources.at(0).replicas, 10u);
}

TEST_F(ConfigSourceTest, FollowsALinkToAnotherDirectory) {
  fs::create_directory(dir_ + "/available");
  write(dir_ + "/available/a", text(4));
  fs::create_symlink(dir_ + "/available/a", dir_ + "/config.yaml");
  ConfigSource config = source(dir_ + "/config.yaml");
  ASSERT_TRUE(config.load());
  bool changed = false;
  config.watch(loop_, dir_ + "/config.yaml", [&] { changed = true; });
  write(dir_ + "/available/a", text(5));
  EXPECT_TRUE(eventually([&] { return changed; }));
}

TEST_F(ConfigSourceTest, SaysNothingWhenTheContentIsTheSame) {
  std::string file = dir_ + "/config.yaml";
  write(file, text(4));
  ConfigSource config = source(file);
  ASSERT_TRUE(config.load());
  int changes = 0;
  config.watch(loop_, file, [&] { ++changes; });
  write(file, text(4));
  write(dir_ + "/another", "x");
  loop_.run_for(std::chrono::milliseconds(200));
  EXPECT_EQ(changes, 0);
}

TEST_F(ConfigSourceTest, WatchesTheDirectoryOfEveryLink) {
  fs::create_directory(dir_ + "/real");
  write(dir_ + "/real/c", "");
  fs::create_symlink("real/c", dir_ + "/link");
  EXPECT_EQ(directories_to_watch(dir_ + "/link"), (std::vector<std::string>{dir_, dir_ + "/real"}));
}

}  // namespace
}  // namespace kerf::agent
