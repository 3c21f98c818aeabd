// Our own socket: what can be in its way, and what is said about it.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "kubelet/listener.h"
#include "tests/wire/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::wire {
namespace {

namespace fs = std::filesystem;
using kubelet::Listener;
using testing::HasSubstr;

Result<std::unique_ptr<Listener>> open_at(Loop& loop, const std::string& path) {
  return loop.run([&] { return Listener::open(loop.io(), path, 0600, [](Fd) {}); });
}

// Leaves a socket behind like a process that was killed.
void leave_stale_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::listen(fd.get(), 1);
}

TEST(Socket, ReplacesAStaleOneAndRemovesItselfAtTheEnd) {
  TempDirectory temp;
  Loop loop;
  const std::string path = temp.path() + "/s";
  leave_stale_socket(path);
  auto opened = open_at(loop, path);
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_TRUE((*opened)->in_place());
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0600));
  loop.run([&] { opened->reset(); });
  EXPECT_FALSE(fs::exists(path));
}

TEST(Socket, LeavesASuccessorsSocketAlone) {
  TempDirectory temp;
  Loop loop;
  const std::string path = temp.path() + "/s";
  auto opened = open_at(loop, path);
  ASSERT_TRUE(opened);
  fs::remove(path);
  leave_stale_socket(path);
  EXPECT_FALSE((*opened)->in_place());
  loop.run([&] { opened->reset(); });
  EXPECT_TRUE(fs::is_socket(path));
}

struct Obstacle {
  const char* name;
  std::function<std::string(const std::string& directory)> prepare;  // returns the socket path
  Kind kind;
  const char* text;
};

// Shown instead of the bytes of the struct.
std::ostream& operator<<(std::ostream& out, const Obstacle& obstacle) {
  return out << obstacle.name;
}

class Obstacles : public testing::TestWithParam<Obstacle> {};

TEST_P(Obstacles, AreNamedWithThePathAndARemedy) {
  TempDirectory temp;
  Loop loop;
  const std::string path = GetParam().prepare(temp.path());
  auto opened = open_at(loop, path);
  ASSERT_FALSE(opened);
  const Error& error = opened.error();
  EXPECT_EQ(error.kind, GetParam().kind) << error.text();
  EXPECT_THAT(error.text(), HasSubstr(GetParam().text));
  EXPECT_FALSE(error.subject.empty());
  EXPECT_FALSE(error.hint.empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, Obstacles,
    testing::Values(Obstacle{"IsADirectory",
                             [](const std::string& directory) {
                               fs::create_directory(directory + "/s");
                               return directory + "/s";
                             },
                             Kind::kConflict, "a directory is where our socket should be"},
                    Obstacle{"IsAFile",
                             [](const std::string& directory) {
                               std::ofstream(directory + "/s") << "precious";
                               return directory + "/s";
                             },
                             Kind::kConflict, "not a socket"},
                    Obstacle{"IsTooLong",
                             [](const std::string& directory) {
                               return directory + "/" + std::string(120, 'x');
                             },
                             Kind::kInvalid, "more than the 107"},
                    Obstacle{"DirectoryIsMissing",
                             [](const std::string& directory) { return directory + "/none/s"; },
                             Kind::kNotFound, "the directory for our socket is not there"},
                    Obstacle{"DirectoryIsAFile",
                             [](const std::string& directory) {
                               std::ofstream(directory + "/f") << "x";
                               return directory + "/f/s";
                             },
                             Kind::kConflict, "not a directory: "}),
    [](const auto& test) { return test.param.name; });

TEST(Socket, IsNotTakenFromAProcessThatAnswers) {
  TempDirectory temp;
  Loop loop;
  const std::string path = temp.path() + "/s";
  auto first = open_at(loop, path);
  ASSERT_TRUE(first);
  auto second = open_at(loop, path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, Kind::kBusy);
  EXPECT_THAT(second.error().text(), HasSubstr("another process serves this resource"));
  EXPECT_TRUE((*first)->in_place());
  loop.run([&] { first->reset(); });
}

// Runs `work` as user 65534 without privileges. The raw system call changes this thread alone.
template <typename Work>
void as_nobody(Work work) {
  std::thread([&] {
    ASSERT_EQ(::syscall(SYS_setresgid, 65534, 65534, 65534), 0);
    ASSERT_EQ(::syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    work();
  }).join();
}

TEST(Socket, SaysWhenTheDirectoryIsNotWritable) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDirectory temp;
  fs::permissions(temp.path(), fs::perms(0755));
  asio::io_context io;
  as_nobody([&] {
    auto opened = Listener::open(io, temp.path() + "/s", 0600, [](Fd) {});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind, Kind::kDenied);
    EXPECT_THAT(opened.error().text(), HasSubstr("make " + temp.path() + " writable"));
  });
}

TEST(Socket, SaysWhenAStaleOneBelongsToSomebodyElse) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDirectory temp;
  const std::string path = temp.path() + "/s";
  leave_stale_socket(path);
  fs::permissions(temp.path(), fs::perms(01777));  // sticky: only owners remove
  asio::io_context io;
  as_nobody([&] {
    auto opened = Listener::open(io, path, 0600, [](Fd) {});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind, Kind::kDenied);
    EXPECT_THAT(opened.error().text(), HasSubstr("stale socket of user 0"));
  });
}

TEST(Socket, SaysWhenTheDiskIsFull) {
  TempDirectory temp;
  const std::string mount = "mount -t tmpfs -o size=64k,nr_inodes=2 tmpfs " + temp.path();
  if (std::system((mount + " 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "needs permission to mount a tmpfs";
  }
  std::ofstream(temp.path() + "/last-inode").close();
  Loop loop;
  auto opened = open_at(loop, temp.path() + "/s");
  EXPECT_FALSE(opened);
  if (!opened) {
    EXPECT_THAT(opened.error().text(), HasSubstr("No space left on device"));
    EXPECT_THAT(opened.error().hint, HasSubstr("free space or inodes"));
  }
  EXPECT_EQ(std::system(("umount " + temp.path()).c_str()), 0);
}

TEST(Service, TakesOverWhenTheOtherPluginIsGone) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  Loop other;
  auto theirs = open_at(other, node.socket);
  ASSERT_TRUE(theirs);
  node.apply(plan_of({resource_of("example.com/gpu", "gpu", 4)}));
  ASSERT_TRUE(node.first().last_error);
  EXPECT_EQ(node.first().last_error->kind, Kind::kBusy);
  EXPECT_FALSE(node.status().ok());
  other.run([&] { theirs->reset(); });
  EXPECT_TRUE(node.allocatable(4, kPromised));
  EXPECT_TRUE(eventually(kPromised, [&] { return node.status().ok(); }));
}

TEST(Service, ServesAfterAnObstacleIsRemoved) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  fs::create_directory(node.socket);
  node.apply(plan_of({resource_of("example.com/gpu", "gpu", 4)}));
  ASSERT_TRUE(node.first().last_error);
  EXPECT_THAT(node.first().last_error->text(), HasSubstr(node.socket));
  fs::remove(node.socket);
  EXPECT_TRUE(node.allocatable(4, kPromised));
}

}  // namespace
}  // namespace kerf::wire
