#include "base/watch.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <asio/io_context.hpp>

namespace kerf {
namespace {

class DirectoryWatchTest : public testing::Test {
 protected:
  DirectoryWatchTest() {
    dir_ = testing::TempDir() + "kerf_watch_" + std::to_string(getpid());
    std::filesystem::create_directories(dir_);
  }
  ~DirectoryWatchTest() override { std::filesystem::remove_all(dir_); }

  void touch(const std::string& name) { fclose(fopen((dir_ + "/" + name).c_str(), "w")); }
  // Runs the loop until `done` or the deadline.
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

TEST_F(DirectoryWatchTest, TellsWhatWasCreatedWrittenAndRemoved) {
  std::vector<std::string> seen;
  auto watch = DirectoryWatch::open(loop_, dir_, [&](const auto& name) { seen.push_back(name); });
  ASSERT_TRUE(watch.has_value());
  touch("a");
  EXPECT_TRUE(eventually([&] { return !seen.empty() && seen.back() == "a"; }));
  seen.clear();
  std::filesystem::create_symlink("a", dir_ + "/tmp");
  std::filesystem::rename(dir_ + "/tmp", dir_ + "/..data");  // how a ConfigMap is updated
  EXPECT_TRUE(
      eventually([&] { return std::find(seen.begin(), seen.end(), "..data") != seen.end(); }));
}

TEST_F(DirectoryWatchTest, TellsWhenTheDirectoryItselfVanishes) {
  bool gone = false;
  auto watch = DirectoryWatch::open(loop_, dir_, [&](const auto& name) { gone |= name.empty(); });
  ASSERT_TRUE(watch.has_value());
  std::filesystem::remove_all(dir_);
  EXPECT_TRUE(eventually([&] { return gone; }));
}

TEST_F(DirectoryWatchTest, MayBeDestroyedFromItsOwnCallback) {
  std::unique_ptr<DirectoryWatch> watch;
  bool called = false;
  watch = *DirectoryWatch::open(loop_, dir_, [&](const auto&) {
    called = true;
    watch.reset();
  });
  touch("a");
  touch("b");
  EXPECT_TRUE(eventually([&] { return called; }));
  loop_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(watch, nullptr);
}

TEST_F(DirectoryWatchTest, NamesTheDirectoryThatDoesNotExist) {
  auto watch = DirectoryWatch::open(loop_, dir_ + "/none", [](const auto&) {});
  ASSERT_FALSE(watch.has_value());
  EXPECT_EQ(watch.error().kind, Kind::kNotFound);
  EXPECT_EQ(watch.error().subject, dir_ + "/none");
}

}  // namespace
}  // namespace kerf
