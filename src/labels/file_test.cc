#include "labels/file.h"

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include "base/files.h"
#include "labels/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::labels {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Directory : public testing::Test {
 protected:
  Directory() {
    std::string pattern = (fs::temp_directory_path() / "kerf-labels-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~Directory() override { fs::remove_all(directory_); }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      out.push_back(entry.path().filename().string());
    }
    return out;
  }

  fs::path directory_;
};

using FeatureFile = Directory;
using HostFacts = Directory;

TEST_F(FeatureFile, HoldsALineALabelAndIsReadableByAll) {
  std::string path = directory_ / "gfd";
  mode_t before = umask(077);
  ASSERT_TRUE(put_file(path, {{"b", "2"}, {"a", "1"}, {"c", ""}}).value());
  umask(before);
  EXPECT_EQ(read_file(path).value(), "a=1\nb=2\nc=\n");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0644));
  EXPECT_THAT(names(), ElementsAre("gfd"));
}

TEST_F(FeatureFile, IsTouchedOnlyWhenItSaysAnythingElse) {
  std::string path = directory_ / "gfd";
  ASSERT_TRUE(put_file(path, {{"a", "1"}}).value());
  auto inode = [&] {
    struct stat status{};
    stat(path.c_str(), &status);
    return status.st_ino;
  };
  auto first = inode();
  EXPECT_FALSE(put_file(path, {{"a", "1"}}).value());
  EXPECT_EQ(inode(), first);
  std::ofstream(path) << "by hand\n";
  EXPECT_TRUE(put_file(path, {{"a", "1"}}).value());
  EXPECT_EQ(read_file(path).value(), "a=1\n");
  fs::permissions(path, fs::perms(0600));
  EXPECT_TRUE(put_file(path, {{"a", "1"}}).value());
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0644));
}

TEST_F(FeatureFile, ReplacesALinkInsteadOfFollowingIt) {
  fs::path other = directory_ / "other";
  std::ofstream(other) << "precious\n";
  fs::create_symlink(other, directory_ / "gfd");
  ASSERT_TRUE(put_file(directory_ / "gfd", {{"a", "1"}}).value());
  EXPECT_EQ(read_file(other).value(), "precious\n");
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(directory_ / "gfd")));
}

TEST_F(FeatureFile, NeedsItsDirectoryAndSaysSo) {
  std::string path = directory_ / "missing/gfd";
  Result<bool> put = put_file(path, {{"a", "1"}});
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error().kind, Kind::kNotFound);
  EXPECT_EQ(put.error().subject, path);
  EXPECT_THAT(put.error().hint, HasSubstr("features.d"));
}

TEST_F(FeatureFile, LeavesNothingBehindWhenItCannotBeReplaced) {
  fs::create_directories(directory_ / "gfd/full");
  EXPECT_FALSE(put_file(directory_ / "gfd", {{"a", "1"}}).has_value());
  EXPECT_THAT(names(), ElementsAre("gfd"));
}

TEST_F(FeatureFile, IsRemovedOnceAndThenIsGone) {
  std::string path = directory_ / "gfd";
  ASSERT_TRUE(put_file(path, {}).value());
  EXPECT_TRUE(remove_file(path).has_value());
  EXPECT_TRUE(remove_file(path).has_value());
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(HostFacts, AreReadBelowTheRoot) {
  Roots roots = Roots::below(directory_.string());
  std::string real = Roots::below("/").sys + "/class/dmi/id/product_name";
  EXPECT_EQ(read_facts(roots, real).facts.machine, "");
  EXPECT_THAT(read_facts(roots, real).warnings, IsEmpty());
  fs::create_directories(directory_ / "sys/class/dmi/id");
  std::ofstream(directory_ / "sys/class/dmi/id/product_name") << " DGX H200 \n";
  EXPECT_EQ(read_facts(roots, real).facts.machine, "DGX H200");
  // One that is not in sysfs is meant as it stands.
  std::ofstream(directory_ / "machine") << "mine\n";
  EXPECT_EQ(read_facts(roots, directory_ / "machine").facts.machine, "mine");
  EXPECT_EQ(read_facts(roots, "").facts.machine, "");
}

TEST_F(HostFacts, DoWithoutWhatCannotBeRead) {
  Roots roots = Roots::below(directory_.string());
  EXPECT_TRUE(read_facts(roots, "").facts.vgpus.has_value());
  fs::create_directories(directory_ / "sys/bus/pci/devices/0000:01:00.0");
  std::ofstream(directory_ / "sys/bus/pci/devices/0000:01:00.0/vendor") << "0x10de\n";
  std::ofstream(directory_ / "sys/bus/pci/devices/0000:01:00.0/config") << "short";
  Found found = read_facts(roots, directory_);
  EXPECT_FALSE(found.facts.vgpus.has_value());
  EXPECT_THAT(found.warnings, ElementsAre(HasSubstr("product name"), HasSubstr("CAP_SYS_ADMIN")));
}

}  // namespace
}  // namespace kerf::labels
