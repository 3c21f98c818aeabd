#include "cli/busy_command.h"

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace kerf::cli {
namespace {

class Tree : public testing::Test {
 protected:
  Tree() {
    std::string pattern = (std::filesystem::temp_directory_path() / "busy-XXXXXX").string();
    top_ = mkdtemp(pattern.data());
    roots_ = Roots::below(top_);
  }
  ~Tree() override { std::filesystem::remove_all(top_); }

  std::string write(const std::string& name, const std::string& text) {
    const std::string path = top_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
    return path;
  }
  // 2024-05-06 07:08:00 UTC plus days.
  static std::time_t day(int days) { return 1714979280 + std::time_t{86400} * days; }
  void date(const std::string& path, std::time_t when) {
    const std::array<timespec, 2> times{{{when, 0}, {when, 0}}};
    utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
  }

  std::string top_;
  Roots roots_;
};

constexpr char kModules[] =
    "nvidia_uvm 1540096 0 - Live 0x0000000000000000 (POE)\n"
    "nvidia_drm 77824 2 - Live 0x0000000000000000 (POE)\n"
    "nvidia_modeset 1306624 3 nvidia_drm, Live 0x0000000000000000 (POE)\n"
    "nvidia 56717312 85 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (POE)\n"
    "pinned 4096 - - Live 0x0000000000000000\n";

TEST_F(Tree, LsmodPrintsTheTableOfKmod) {
  write("proc/modules", kModules);
  const auto text = list_modules(roots_);
  ASSERT_TRUE(text) << text.error().text();
  EXPECT_EQ(*text,
            "Module                  Size  Used by\n"
            "nvidia_uvm           1540096  0\n"
            "nvidia_drm             77824  2\n"
            "nvidia_modeset       1306624  3 nvidia_drm\n"
            "nvidia              56717312  85 nvidia_uvm,nvidia_modeset\n"
            "pinned                  4096  -\n");
}

TEST_F(Tree, LsmodSaysWhenTheKernelHasNoModules) {
  const auto text = list_modules(roots_);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, Kind::kUnsupported);
  EXPECT_EQ(text.error().subject, top_ + "/proc/modules");
}

TEST_F(Tree, LsmodNamesTheLineItCannotRead) {
  const auto text = render_modules("nvidia 1 0 - Live 0x0\nnvidia_uvm large 0 - Live 0x0\n");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().subject, "line 2: nvidia_uvm large 0 - Live 0x0");
}

TEST_F(Tree, LsShowsADirectoryAtLength) {
  write("etc/passwd", "root:x:0:0:root:/:/bin/false\nplugin:x:7:7::/:/bin/false\n");
  write("etc/group", "root:x:0:\n");
  const std::string directory = top_ + "/kubelet";
  std::filesystem::create_directories(directory);
  date(write("kubelet/checkpoint", "12345"), day(0));
  chmod((directory + "/checkpoint").c_str(), 0600);
  symlink("checkpoint", (directory + "/alias").c_str());
  date(directory + "/alias", day(-400));
  const std::string me = geteuid() == 0 ? "root" : std::to_string(geteuid());
  const std::string us = getegid() == 0 ? "root" : std::to_string(getegid());
  const auto text = list_files(directory, {.longer = true}, roots_, day(1));
  ASSERT_TRUE(text) << text.error().text();
  EXPECT_EQ(*text, "total 4\nlrwxrwxrwx 1 " + me + " " + us +
                       " 10 Apr  2  2023 alias -> checkpoint\n-rw------- 1 " + me + " " + us +
                       "  5 May  6 07:08 checkpoint\n");
}

TEST_F(Tree, LsShowsHiddenNamesOnlyWhenAsked) {
  write("dir/.hidden", "");
  write("dir/seen", "");
  const std::string directory = top_ + "/dir/";
  const auto names = [&](ListStyle style) { return *list_files(directory, style, roots_, day(0)); };
  EXPECT_EQ(names({}), "seen\n");
  EXPECT_EQ(names({.almost_all = true}), ".hidden\nseen\n");
  EXPECT_EQ(names({.all = true}), ".\n..\n.hidden\nseen\n");
}

TEST_F(Tree, LsMarksSocketsAndSpecialBits) {
  const std::string directory = top_ + "/dir";
  std::filesystem::create_directories(directory);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory + "/kubelet.sock";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  close(fd);
  chmod(path.c_str(), 0755);
  chmod(directory.c_str(), 01750);
  const auto text = list_files(directory, {.all = true, .longer = true}, roots_, day(0));
  ASSERT_TRUE(text) << text.error().text();
  EXPECT_NE(text->find("\ndrwxr-x--T "), std::string::npos) << *text;
  EXPECT_NE(text->find("\nsrwxr-xr-x "), std::string::npos) << *text;
}

TEST_F(Tree, LsNamesWhatIsMissing) {
  const auto text = list_files(top_ + "/none", {.longer = true}, roots_, day(0));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, Kind::kNotFound);
  EXPECT_EQ(text.error().subject, top_ + "/none");
}

TEST_F(Tree, CommandsRefuseArgumentsTheyDoNotKnow) {
  const std::vector<std::string> wrong{"-z"};
  EXPECT_EQ(run_lsmod(wrong, roots_), 2);
  EXPECT_EQ(run_ls(wrong, roots_), 2);
  EXPECT_EQ(run_ls(std::vector<std::string>{"-la", top_}, roots_), 0);
  EXPECT_EQ(run_ls(std::vector<std::string>{top_ + "/none"}, roots_), 1);
}

}  // namespace
}  // namespace kerf::cli
