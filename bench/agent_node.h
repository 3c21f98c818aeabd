// What the benches that run the agent share: the program, a kubelet stand-in beside it, and rows of
// figures.
#pragma once

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "kubelet/kubelet.h"

namespace bench {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct Arguments {
  std::map<std::string, std::string> values = {
      {"idle", "30"},       {"calls", "20000"}, {"allocates", "1000000"},
      {"updates", "10000"}, {"only", ""},       {"tool", ""}};
  const std::string& operator[](const std::string& name) const { return values.at(name); }
  int number(const std::string& name) const { return std::atoi(values.at(name).c_str()); }
};

class Process {
 public:
  Process(const std::vector<std::string>& command, const std::map<std::string, std::string>& env,
          const std::string& log) {
    started = Clock::now();
    pid_ = fork();
    if (pid_ != 0) return;
    FILE* out = std::fopen(log.c_str(), "a");
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(out), STDERR_FILENO);
    for (const auto& [name, value] : env) setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void wait() {
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void signal(int number) const { kill(pid_, number); }

  // A field of /proc/<pid>/status, in its unit (kB, count).
  long status(const std::string& field) const {
    std::ifstream in("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.rfind(field + ":", 0) == 0) return std::atol(line.c_str() + field.size() + 1);
    }
    return -1;
  }
  // Over all threads: time on a core in ms, and times a thread gave up its core by itself.
  std::pair<double, long> used() const {
    double ms = 0;
    long wakeups = 0;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid_) + "/task")) {
      std::ifstream schedstat(task.path() / "schedstat");
      double ns = 0;
      schedstat >> ns;
      ms += ns / 1e6;
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        if (line.rfind("voluntary_ctxt_switches:", 0) == 0) wakeups += std::atol(&line[24]);
      }
    }
    return {ms, wakeups};
  }
  Clock::time_point started;

 private:
  pid_t pid_ = 0;  // 0: has ended
};

inline void row(const char* what, double ours, double floor, const char* unit, const char* reach) {
  if (floor > 0) {
    std::printf("| %-38s | %9.1f | %9.1f | %5.2f | %-5s | %-22s |\n", what, ours, floor,
                ours / floor, unit, reach);
  } else {
    std::printf("| %-38s | %9.1f | %9s | %5s | %-5s | %-22s |\n", what, ours, "", "", unit, reach);
  }
  std::fflush(stdout);
}

// A directory of its own, gone at the end.
struct Scratch {
  Scratch() {
    std::string name = (fs::temp_directory_path() / "wire-bench-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string path;
};

// A kubelet stand-in with an agent beside it.
class Node {
 public:
  Node(const Arguments& arguments, const std::string& machine, int replicas)
      : arguments_(arguments), machine_(machine) {
    share(replicas);
    kubelet = std::make_unique<kubelet_sim::Kubelet>(kubelet_sim::Kubelet::Options{
        directory + "/dp", directory + "/pods.sock", [this](const std::string& line) {
          if (line.rfind("registered", 0) == 0) registered_at = Clock::now();
        }});
    kubelet->start();
  }
  void share(int replicas) const {
    std::ofstream(directory + "/config.yaml")
        << "version: v1\nsharing:\n  timeSlicing:\n    resources:\n"
        << "      - {name: nvidia.com/gpu, replicas: " << replicas << "}\n";
  }
  std::map<std::string, std::string> environment() const {
    return {{"NVML_SIM_MACHINE", arguments_["machines"] + "/" + machine_},
            {"NVML_SIM_STATE", directory + "/nvml"}};
  }
  std::unique_ptr<Process> agent(bool http, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command = {arguments_["kerf"],
                                        "agent",
                                        "--kubelet-socket=" + directory + "/dp/kubelet.sock",
                                        "--config-file=" + directory + "/config.yaml",
                                        "--nvml-library=" + arguments_["nvml"],
                                        "--state-dir=" + directory + "/state",
                                        std::string("--listen=") + (http ? "127.0.0.1:0" : "none")};
    command.insert(command.end(), more.begin(), more.end());
    return std::make_unique<Process>(command, environment(), directory + "/log");
  }
  // What follows `words` on a line of the agent's log, once it is there.
  std::string logged(const std::string& words) const {
    const Clock::time_point limit = Clock::now() + std::chrono::seconds(10);
    while (Clock::now() < limit) {
      std::ifstream log(directory + "/log");
      for (std::string line; std::getline(log, line);) {
        const std::size_t at = line.find(words);
        if (at != std::string::npos) return line.substr(at + words.size());
      }
      std::this_thread::sleep_for(milliseconds(20));
    }
    fail();
    return {};
  }
  bool ready() const {
    return kubelet->wait_until(milliseconds(10'000), [this] {
      auto known = kubelet->resources();
      return !known.empty() && known.front().allocatable > 0;
    });
  }
  bool allocatable(int count) const {
    return kubelet->wait_until(milliseconds(10'000), [this, count] {
      auto known = kubelet->resources();
      return !known.empty() && known.front().allocatable == static_cast<std::size_t>(count);
    });
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> all;
    const std::vector<kubelet_sim::Resource> known = kubelet->resources();
    for (const auto& device : known.front().devices) all.push_back(device.id);
    return all;
  }
  void fail() const {
    std::ifstream log(directory + "/log");
    std::stringstream text;
    text << log.rdbuf();
    std::fprintf(stderr, "wire_bench: the agent does not get ready; its log:\n%s\n",
                 text.str().c_str());
    std::exit(1);
  }
  std::string socket() const { return directory + "/dp/nvidia-gpu.sock"; }

  Scratch scratch;
  const std::string& directory = scratch.path;
  std::unique_ptr<kubelet_sim::Kubelet> kubelet;
  std::atomic<Clock::time_point> registered_at{};

 private:
  const Arguments& arguments_;
  std::string machine_;
};

// The agent's memory and threads with plugin, exporter and usage in one process. Needs --tool.
void measure_exporter(const Arguments& arguments);

}  // namespace bench
