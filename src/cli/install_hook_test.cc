#include "cli/install_hook.h"

#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::cli {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class InstallHook : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "installXXXXXX";
    base_ = mkdtemp(name.data());
    fs::create_directories(base_ / "image");
    write("image/kerf-cdi-hook", "one");
    write("image/ldconfig", "two");
  }
  void TearDown() override { fs::remove_all(base_); }
  void write(const std::string& path, const std::string& text) const {
    std::ofstream(base_ / path) << text;
  }
  Result<std::vector<std::string>> install() const {
    return install_hook(base_ / "image", base_ / "host");
  }

  fs::path base_;
};

TEST_F(InstallHook, CopiesWhatDiffersAndLeavesTheRest) {
  const std::string host = base_ / "host";
  EXPECT_THAT(*install(), ElementsAre("installed " + host + "/kerf-cdi-hook",
                                      "installed " + host + "/ldconfig"));
  struct stat about{};
  ASSERT_EQ(stat((host + "/kerf-cdi-hook").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777u, 0755u);
  EXPECT_THAT(*install(), IsEmpty());
  write("image/kerf-cdi-hook", "newer");
  fs::remove(base_ / "image/ldconfig");
  EXPECT_THAT(*install(), ElementsAre("installed " + host + "/kerf-cdi-hook"));
  EXPECT_TRUE(fs::exists(host + "/ldconfig"));
}

TEST_F(InstallHook, RefusesADirectoryThatOthersMayWriteTo) {
  fs::create_directories(base_ / "host");
  for (mode_t mode : {0775u, 0757u, 0777u | S_ISVTX}) {
    chmod((base_ / "host").c_str(), mode);
    auto done = install();
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().text(), HasSubstr("somebody else may write"));
  }
  fs::remove(base_ / "host");
  fs::create_directories(base_ / "elsewhere");
  fs::create_symlink(base_ / "elsewhere", base_ / "host");
  EXPECT_FALSE(install());
  EXPECT_TRUE(fs::is_empty(base_ / "elsewhere"));
}

TEST_F(InstallHook, NamesWhatIsMissing) {
  fs::remove(base_ / "image/kerf-cdi-hook");
  EXPECT_THAT(install().error().text(), HasSubstr("image/kerf-cdi-hook"));
  EXPECT_THAT(install_hook(base_ / "image", base_ / "no/where").error().text(), HasSubstr("--to"));
}

}  // namespace
}  // namespace kerf::cli
