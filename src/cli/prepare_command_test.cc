#include "cli/prepare_command.h"

#include <array>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <grp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <thread>
#include <unistd.h>

#include "base/files.h"
#include "base/roots.h"

#include <gtest/gtest.h>

namespace kerf::cli {
namespace {

constexpr uid_t kNobody = 65534;

// A directory as the kubelet makes it: root:root 0750, under a path others may walk.
class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "prepare-XXXXXX").string();
    top_ = mkdtemp(pattern.data());
    chmod(top_.c_str(), 0755);
    path_ = top_ + "/device-plugins";
    mkdir(path_.c_str(), 0750);
  }
  ~Directory() { std::filesystem::remove_all(top_); }

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  PrepareTarget target() const { return {path_, kNobody}; }

 private:
  std::string top_;
  std::string path_;
};

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// Makes a socket as a program run by systemd does, with the umask 022.
Fd listen_at(const std::string& path) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  const mode_t before = umask(022);
  const bool bound =
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  umask(before);
  if (!bound || listen(fd.get(), 8) != 0) return Fd();
  return fd;
}

// errno of what a process of that user got, 0 when it went well.
int as_user(uid_t uid, const std::function<bool()>& act) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(uid) != 0 || setuid(uid) != 0) _exit(255);
    errno = 0;
    _exit(act() ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

bool connects(const std::string& path) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool keeps_acls(const std::string& path) {
  return getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) >= 0 || errno == ENODATA;
}

bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

class Prepare : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can act as the kubelet and as another user";
    if (!keeps_acls(directory_.path()))
      GTEST_SKIP() << "the file system of the temporary directory keeps no ACLs";
  }
  void prepare() {
    const auto done = prepare_once(directory_.target());
    ASSERT_TRUE(done) << done.error().text();
  }
  Directory directory_;
};

TEST_F(Prepare, WithoutItAnotherUserCanNeitherMakeASocketNorConnect) {
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  EXPECT_EQ(as_user(kNobody, [&] { return bool(listen_at(directory_.file("nvidia-gpu.sock"))); }),
            EACCES);
  EXPECT_EQ(as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }), EACCES);
}

// Why watching is needed: the umask comes off a new socket's mode, and so off its mask, first.
TEST_F(Prepare, WithADefaultAclAloneTheUserStillCannotConnectToANewSocket) {
  const std::vector<std::array<std::uint32_t, 3>> entries = {
      // tag, permissions, id
      {0x01, 7, 0xffffffff}, {0x02, 7, kNobody},    {0x04, 5, 0xffffffff},
      {0x10, 7, 0xffffffff}, {0x20, 0, 0xffffffff},
  };
  std::string acl("\2\0\0\0", 4);
  for (const auto& [tag, permissions, id] : entries) {
    const std::array<std::uint16_t, 2> head{static_cast<std::uint16_t>(tag),
                                            static_cast<std::uint16_t>(permissions)};
    acl.append(reinterpret_cast<const char*>(head.data()), sizeof head);
    acl.append(reinterpret_cast<const char*>(&id), sizeof id);
  }
  for (const char* which : {"system.posix_acl_access", "system.posix_acl_default"}) {
    ASSERT_EQ(setxattr(directory_.path().c_str(), which, acl.data(), acl.size(), 0), 0);
  }
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  EXPECT_EQ(as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }), EACCES);
  prepare();
  EXPECT_EQ(as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }), 0);
}

TEST_F(Prepare, LetsTheUserMakeASocketAndConnectToTheKubelet) {
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  prepare();
  EXPECT_EQ(as_user(kNobody, [&] { return bool(listen_at(directory_.file("nvidia-gpu.sock"))); }),
            0);
  EXPECT_EQ(as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }), 0);
  EXPECT_EQ(as_user(1234, [&] { return connects(directory_.file("kubelet.sock")); }), EACCES);
}

TEST_F(Prepare, LetsTheUserRemoveItsOwnSocketButNotTheKubelets) {
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  prepare();
  const auto removes = [&](const std::string& name) {
    return as_user(kNobody, [&] { return unlink(directory_.file(name).c_str()) == 0; });
  };
  EXPECT_EQ(as_user(kNobody, [&] { return bool(listen_at(directory_.file("nvidia-gpu.sock"))); }),
            0);
  EXPECT_EQ(removes("nvidia-gpu.sock"), 0);
  EXPECT_EQ(removes("kubelet.sock"), EPERM);
}

TEST_F(Prepare, MakesTheDirectoryForCdiSpecificationsAndLetsTheUserWriteThere) {
  PrepareTarget target = directory_.target();
  target.cdi_directory = directory_.path() + "-cdi";
  const auto in = [&](const std::string& name) { return target.cdi_directory + "/" + name; };
  const auto makes = [&](const std::string& name) {
    return as_user(kNobody, [&] {
      return bool(Fd(open(in(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)));
    });
  };
  ASSERT_TRUE(prepare_once(target));
  EXPECT_EQ(makes("k8s.device-plugin.nvidia.com-gpu.json"), 0);
  // What a plugin run as root left could not be replaced by the new one.
  for (const char* name : {"k8s.device-plugin.nvidia.com-gds.json", "nvidia.yaml"}) {
    ASSERT_TRUE(Fd(open(in(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)));
  }
  const auto done = prepare_once(target);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(*done,
            std::vector<std::string>{"removed " + in("k8s.device-plugin.nvidia.com-gds.json") +
                                     ", which another user wrote"});
  EXPECT_TRUE(std::filesystem::exists(in("nvidia.yaml")));
  EXPECT_TRUE(std::filesystem::exists(in("k8s.device-plugin.nvidia.com-gpu.json")));
  EXPECT_TRUE(prepare_once(target)->empty());
  EXPECT_EQ(as_user(kNobody, [&] { return unlink(in("nvidia.yaml").c_str()) == 0; }), EPERM);
}

TEST_F(Prepare, ChangesNothingTheSecondTime) {
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  const auto first = prepare_once(directory_.target());
  ASSERT_TRUE(first) << first.error().text();
  EXPECT_EQ(first->size(), 3u);
  const auto second = prepare_once(directory_.target());
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_TRUE(second->empty());
}

TEST_F(Prepare, KeepsWhatOthersWereGranted) {
  ASSERT_TRUE(prepare_once({directory_.path(), 4711}));
  prepare();
  for (const uid_t uid : {uid_t{4711}, kNobody}) {
    EXPECT_EQ(as_user(uid, [&] { return access(directory_.path().c_str(), W_OK | X_OK) == 0; }), 0);
  }
  struct stat about;
  stat(directory_.path().c_str(), &about);
  EXPECT_EQ(about.st_mode & 07777, mode_t{01770});  // with an ACL, the middle digit is its mask
  EXPECT_EQ(about.st_uid, 0u);
}

TEST_F(Prepare, LeavesAnythingAtTheSocketsNameAloneThatIsNoSocket) {
  const std::string secret = directory_.file("checkpoint");
  close(open(secret.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_EQ(symlink(secret.c_str(), directory_.file("kubelet.sock").c_str()), 0);
  prepare();
  EXPECT_EQ(as_user(kNobody, [&] { return open(secret.c_str(), O_RDONLY | O_CLOEXEC) >= 0; }),
            EACCES);
}

TEST_F(Prepare, RemovesADeadSocketOfAnotherOwnerAndKeepsALivingOne) {
  listen_at(directory_.file("nvidia-gpu.sock"));  // closed at once: nobody listens
  const Fd living = listen_at(directory_.file("nvidia-mig.sock"));
  listen_at(directory_.file("other-vendor.sock"));
  prepare();
  EXPECT_FALSE(std::filesystem::exists(directory_.file("nvidia-gpu.sock")));
  EXPECT_TRUE(std::filesystem::exists(directory_.file("nvidia-mig.sock")));
  EXPECT_TRUE(std::filesystem::exists(directory_.file("other-vendor.sock")));
}

TEST_F(Prepare, WatchingLetsTheUserConnectToEachNewSocketOfTheKubelet) {
  const pid_t watcher = fork();
  if (watcher == 0) _exit(prepare_and_watch(directory_.target()) ? 0 : 1);
  for (int restart = 0; restart < 5; ++restart) {
    unlink(directory_.file("kubelet.sock").c_str());
    const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
    EXPECT_TRUE(eventually([&] {
      return as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }) == 0;
    }));
  }
  kill(watcher, SIGTERM);
  int status = -1;
  waitpid(watcher, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(Prepare, WatchingEndsWhenTheDirectoryGoesAway) {
  const pid_t watcher = fork();
  if (watcher == 0) _exit(prepare_and_watch(directory_.target()) ? 0 : 1);
  EXPECT_TRUE(eventually([&] {
    struct stat about;
    return stat(directory_.path().c_str(), &about) == 0 && (about.st_mode & S_ISVTX) != 0;
  }));
  std::filesystem::remove_all(directory_.path());
  int status = -1;
  waitpid(watcher, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(Prepare, NeedsNoCapabilityWhenRunByTheOwner) {
  const Fd kubelet = listen_at(directory_.file("kubelet.sock"));
  chown(directory_.path().c_str(), 4711, 0);
  chown(directory_.file("kubelet.sock").c_str(), 4711, 0);
  EXPECT_EQ(as_user(4711, [&] { return bool(prepare_once(directory_.target())); }), 0);
  EXPECT_EQ(as_user(kNobody, [&] { return connects(directory_.file("kubelet.sock")); }), 0);
}

TEST_F(Prepare, SaysWhoMustRunItWhenItIsNotTheOwner) {
  EXPECT_EQ(as_user(4711,
                    [&] {
                      const auto done = prepare_once(directory_.target());
                      return !done && done.error().kind == Kind::kDenied &&
                             done.error().text().find("owner") != std::string::npos;
                    }),
            0);
}

TEST(PrepareUsage, NamesTheDirectoryThatIsMissing) {
  const auto done = prepare_once({"/nonexistent/device-plugins", kNobody});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, Kind::kNotFound);
  EXPECT_EQ(done.error().subject, "/nonexistent/device-plugins");
  EXPECT_NE(done.error().hint.find("--kubelet-dir"), std::string::npos);
}

TEST(PrepareUsage, NamesTheRemedyWhereThereAreNoAcls) {
  // procfs keeps no ACLs whoever asks.
  const auto done = prepare_once({Roots::below("/").proc + "/self/fdinfo", kNobody});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, Kind::kUnsupported);
  EXPECT_NE(done.error().hint.find("root-plugin"), std::string::npos);
}

TEST(PrepareUsage, RefusesArgumentsItDoesNotKnow) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--kubelet"}, {"--uid", "nobody"}, {"--uid", "-1"}, {"--uid", "4294967295"}, {"extra"}};
  for (const auto& args : wrong) EXPECT_EQ(run_prepare(args), 2) << args.back();
  EXPECT_EQ(run_prepare(std::vector<std::string>{"--help"}), 0);
  EXPECT_EQ(run_prepare(std::vector<std::string>{"--kubelet-dir", "/nonexistent"}), 1);
}

}  // namespace
}  // namespace kerf::cli
