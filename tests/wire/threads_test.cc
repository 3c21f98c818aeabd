// gRPC sizes its thread pools by the cores it believes to have; the clamp keeps them few. Also: the
// process ends in order.
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/client.h"
#include "tests/wire/node.h"

#include <gtest/gtest.h>

namespace kerf::wire {
namespace {

// A child process with 128 pretended cores; its standard output's first line is read.
class Child {
 public:
  Child(const char* program, const std::string& argument) {
    int out[2];
    if (pipe(out) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      close(out[0]);
      setenv("LD_PRELOAD", KERF_MANY_CORES, 1);
      execl(program, program, argument.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(out[1]);
    char byte;
    while (read(out[0], &byte, 1) == 1 && byte != '\n') line.push_back(byte);
    close(out[0]);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  int stop() {
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = fork_nothing();
    return status;
  }
  int threads() const {
    int count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
      ++count;
    }
    return count;
  }
  std::string line;

 private:
  // A child to end in the destructor, so that it needs no special case.
  static pid_t fork_nothing() {
    pid_t pid = fork();
    if (pid == 0) {
      pause();
      _exit(0);
    }
    return pid;
  }
  pid_t pid_;
};

// Threads after the plugin was registered with and called from several connections.
int threads_under_load(const char* program, std::string& line, int& exit_status) {
  Node node;
  EXPECT_TRUE(node.kubelet.start());
  Child child(program, node.directory + "/kubelet.sock");
  line = child.line;
  EXPECT_TRUE(node.allocatable(8, kEventually));
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      Client client(node.socket);
      for (int calls = 0; calls < 200 / kSlow; ++calls) {
        v1beta1::AllocateResponse response;
        client.allocate({{"gpu-0"}}, response);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  int threads = child.threads();
  exit_status = child.stop();
  EXPECT_FALSE(std::filesystem::exists(node.socket));
  return threads;
}

TEST(Threads, StayFewOnAMachineOf128Cores) {
  if (kSlow > 1) GTEST_SKIP() << "a sanitizer's runtime wants to be the first library loaded";
  std::string line;
  int status = -1;
  int clamped = threads_under_load(KERF_PLUGIN_SERVER, line, status);
  EXPECT_EQ(line, "serving cores=2");
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_LE(clamped, 16);
  // The same program without the clamp shows that the pretence works and what it would cost.
  int unclamped = threads_under_load(KERF_PLUGIN_SERVER_UNCLAMPED, line, status);
  EXPECT_EQ(line, "serving cores=128");
  EXPECT_GT(unclamped, 30);
}

}  // namespace
}  // namespace kerf::wire
