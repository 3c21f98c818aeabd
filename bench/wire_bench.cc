// Measures the agent as a kubelet meets it, beside the floor: a bare gRPC echo over a unix socket,
// built the same way, measured by the same client in the same run, block by block in turn, so that
// a busy machine slows both. Prints a table of figures and ratios; judges nothing.
//
//   wire_bench --kerf PROGRAM --nvml LIBRARY --machines DIR --echo PROGRAM
//              [--idle SECONDS] [--calls N] [--allocates N] [--updates N]
//              [--only start|calls|topology|growth]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "kubelet/kubelet.h"
#include "proto/deviceplugin.grpc.pb.h"
#include "proto/echo.grpc.pb.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct Arguments {
  std::map<std::string, std::string> values = {{"idle", "30"},
                                               {"calls", "20000"},
                                               {"allocates", "1000000"},
                                               {"updates", "10000"},
                                               {"only", ""}};
  const std::string& operator[](const std::string& name) const { return values.at(name); }
  int number(const std::string& name) const { return std::atoi(values.at(name).c_str()); }
};

double micros(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

// Sorted durations in microseconds.
struct Sample {
  std::vector<double> values;
  void add(Clock::duration time) { values.push_back(micros(time)); }
  double at(double quantile) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1))];
  }
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
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

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
  pid_t pid_;
};

std::shared_ptr<grpc::Channel> channel_to(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel =
      grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    std::fprintf(stderr, "wire_bench: cannot connect to %s\n", socket.c_str());
    std::exit(1);
  }
  return channel;
}

using OneCall = std::function<void()>;

void must(const grpc::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "wire_bench: call failed: %s\n", status.error_message().c_str());
  std::exit(1);
}

// Calls `method` with a message that was encoded once, and leaves the answer encoded: what a client
// spends on its own messages is in neither side's figure.
template <typename Message>
OneCall call_of(const std::string& socket, const char* method, const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return [channel = channel_to(socket), method = std::string(method),
          request = grpc::ByteBuffer(&slice, 1)] {
    grpc::ClientContext context;
    grpc::ByteBuffer reply;
    const grpc::internal::RpcMethod unary(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
    must(grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
        channel.get(), unary, &context, request, &reply));
  };
}

OneCall echo_call(const std::string& socket) {
  echo::Message request;
  request.set_payload("GPU-00000000-0000-0000-0000-000000000000::0");
  return call_of(socket, "/echo.Echo/Call", request);
}

// Carries as many bytes there, and back, as a call for `chosen` of `ids` does.
OneCall echo_of_size(const std::string& socket, const std::vector<std::string>& ids, int chosen) {
  echo::Message request;
  for (const std::string& id : ids) request.mutable_payload()->append(id + "xx");
  request.set_keep(static_cast<unsigned>(chosen) * static_cast<unsigned>(ids[0].size() + 2));
  return call_of(socket, "/echo.Echo/Shorten", request);
}

OneCall allocate_call(const std::string& socket, const std::string& id) {
  v1beta1::AllocateRequest request;
  request.add_container_requests()->add_devices_ids(id);
  return call_of(socket, "/v1beta1.DevicePlugin/Allocate", request);
}

// The kubelet keeps free devices in a set and sends them in no order.
OneCall preferred_call(const std::string& socket, std::vector<std::string> ids, int size) {
  std::shuffle(ids.begin(), ids.end(), std::minstd_rand(1));
  v1beta1::PreferredAllocationRequest request;
  auto* one = request.add_container_requests();
  for (const std::string& id : ids) one->add_available_deviceids(id);
  one->set_allocation_size(size);
  return call_of(socket, "/v1beta1.DevicePlugin/GetPreferredAllocation", request);
}

// One after the other, in blocks taken in turn.
void measure(const std::vector<std::pair<OneCall, Sample*>>& sides, int calls) {
  constexpr int kBlock = 500;
  for (const auto& [call, sample] : sides) {
    for (int i = 0; i < 1000; ++i) call();
  }
  for (int done = 0; done < calls; done += kBlock) {
    for (const auto& [call, sample] : sides) {
      for (int i = 0; i < kBlock; ++i) {
        const Clock::time_point begin = Clock::now();
        call();
        sample->add(Clock::now() - begin);
      }
    }
  }
}

// Calls a second from 8 callers with a connection each.
double throughput(const std::function<OneCall()>& make, int calls) {
  constexpr int kCallers = 8;
  std::vector<OneCall> callers;
  for (int i = 0; i < kCallers; ++i) callers.push_back(make());
  std::vector<std::thread> threads;
  const Clock::time_point begin = Clock::now();
  for (const OneCall& caller : callers) {
    threads.emplace_back([&caller, calls] {
      for (int i = 0; i < calls / kCallers; ++i) caller();
    });
  }
  for (auto& thread : threads) thread.join();
  return static_cast<double>(calls / kCallers * kCallers) /
         std::chrono::duration<double>(Clock::now() - begin).count();
}

void row(const char* what, double ours, double floor, const char* unit, const char* reach) {
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
    kubelet = std::make_unique<kubelet_sim::Kubelet>(
        kubelet_sim::Kubelet::Options{directory + "/dp", "", [this](const std::string& line) {
                                        if (line.rfind("registered", 0) == 0)
                                          registered_at = Clock::now();
                                      }});
    kubelet->start();
  }
  void share(int replicas) const {
    std::ofstream(directory + "/config.yaml")
        << "version: v1\nsharing:\n  timeSlicing:\n    resources:\n"
        << "      - {name: nvidia.com/gpu, replicas: " << replicas << "}\n";
  }
  std::unique_ptr<Process> agent(bool http) const {
    std::vector<std::string> command = {arguments_["kerf"],
                                        "agent",
                                        "--kubelet-socket=" + directory + "/dp/kubelet.sock",
                                        "--config-file=" + directory + "/config.yaml",
                                        "--nvml-library=" + arguments_["nvml"],
                                        "--state-dir=" + directory + "/state",
                                        std::string("--listen=") + (http ? "127.0.0.1:0" : "none")};
    return std::make_unique<Process>(
        command,
        std::map<std::string, std::string>{
            {"NVML_SIM_MACHINE", arguments_["machines"] + "/" + machine_},
            {"NVML_SIM_STATE", directory + "/nvml"}},
        directory + "/log");
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
    std::fprintf(stderr, "wire_bench: the agent advertises nothing; its log:\n%s\n",
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

std::unique_ptr<Process> start_echo(const Arguments& arguments, const std::string& socket,
                                    double* ready_us) {
  auto process = std::make_unique<Process>(std::vector<std::string>{arguments["echo"], socket},
                                           std::map<std::string, std::string>{}, "/dev/null");
  while (!fs::is_socket(socket)) std::this_thread::yield();
  if (ready_us != nullptr) *ready_us = micros(Clock::now() - process->started);
  return process;
}

void measure_start(const Arguments& arguments) {
  Sample ours;
  Sample floor;
  Node node(arguments, "h200x8-hgx.yaml", 10);
  for (int run = 0; run < 20; ++run) {
    node.registered_at = Clock::time_point{};
    auto agent = node.agent(true);
    const Clock::time_point limit = Clock::now() + std::chrono::seconds(10);
    while (node.registered_at.load() == Clock::time_point{}) {
      if (Clock::now() > limit) node.fail();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    ours.add(node.registered_at.load() - agent->started);
    agent.reset();
    double ready = 0;
    start_echo(arguments, node.directory + "/echo-" + std::to_string(run), &ready);
    floor.values.push_back(ready);
  }
  row("exec -> Register accepted, median", ours.at(0.5) / 1e3, floor.at(0.5) / 1e3, "ms",
      "<= 5 ms");
  row("exec -> Register accepted, best", ours.at(0) / 1e3, floor.at(0) / 1e3, "ms", "");
}

void rows(const std::string& name, Sample& ours, Sample& floor, const char* reach) {
  row((name + " p50").c_str(), ours.at(0.5), floor.at(0.5), "us", reach);
  row((name + " p99").c_str(), ours.at(0.99), floor.at(0.99), "us", "");
}

void measure_big(const Arguments& arguments, const std::string& echo_socket) {
  Node node(arguments, "dual-baseboard-16.yaml", 100);
  auto agent = node.agent(true);
  if (!node.ready()) node.fail();
  Sample ours;
  Sample floor;
  Sample floor_of_size;
  auto ids = node.ids();
  measure({{preferred_call(node.socket(), ids, 8), &ours},
           {echo_call(echo_socket), &floor},
           {echo_of_size(echo_socket, ids, 8), &floor_of_size}},
          arguments.number("calls") / 4);
  const std::string name = "preferred 8 of " + std::to_string(ids.size());
  rows(name, ours, floor, "<= 3x floor");
  rows(name + ", echo as large", ours, floor_of_size, "");
}

// Whole GPUs, chosen by their links.
void measure_aligned(const Arguments& arguments, const std::string& echo_socket,
                     const std::string& machine, const std::vector<int>& sizes) {
  Node node(arguments, machine, 1);
  auto agent = node.agent(true);
  if (!node.ready()) node.fail();
  const auto ids = node.ids();
  std::vector<Sample> ours(sizes.size());
  Sample floor;
  std::vector<std::pair<OneCall, Sample*>> sides = {{echo_call(echo_socket), &floor}};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    sides.emplace_back(preferred_call(node.socket(), ids, sizes[i]), &ours[i]);
  }
  measure(sides, arguments.number("calls") / 4);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    rows("aligned " + std::to_string(sizes[i]) + " of " + std::to_string(ids.size()), ours[i],
         floor, "");
  }
}

void measure_calls(const Arguments& arguments) {
  Node node(arguments, "h200x8-hgx.yaml", 10);
  const std::string echo_socket = node.directory + "/echo";
  auto echo = start_echo(arguments, echo_socket, nullptr);
  auto agent = node.agent(true);
  if (!node.ready()) node.fail();
  const std::vector<std::string> ids = node.ids();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  row("RSS after start", static_cast<double>(agent->status("VmRSS")) / 1024,
      static_cast<double>(echo->status("VmRSS")) / 1024, "MB", "<= 12 MB");
  row("of it anonymous", static_cast<double>(agent->status("RssAnon")) / 1024,
      static_cast<double>(echo->status("RssAnon")) / 1024, "MB", "");
  row("threads", static_cast<double>(agent->status("Threads")),
      static_cast<double>(echo->status("Threads")), "", "bounded");

  const int idle = arguments.number("idle");
  if (idle > 0) {
    auto ours_before = agent->used();
    auto floor_before = echo->used();
    std::this_thread::sleep_for(std::chrono::seconds(idle));
    auto ours = agent->used();
    auto floor = echo->used();
    row("CPU while idle", (ours.first - ours_before.first) * 60 / idle,
        (floor.first - floor_before.first) * 60 / idle, "ms/m", "<= 30 ms a minute");
    row("wake-ups while idle", static_cast<double>(ours.second - ours_before.second) / idle,
        static_cast<double>(floor.second - floor_before.second) / idle, "/s", "");
  }

  const int calls = arguments.number("calls");
  Sample allocate;
  Sample preferred;
  Sample floor;
  measure({{allocate_call(node.socket(), ids.front()), &allocate},
           {preferred_call(node.socket(), ids, 2), &preferred},
           {echo_call(echo_socket), &floor}},
          calls);
  row("Allocate p50", allocate.at(0.5), floor.at(0.5), "us", "<= 1.25x floor");
  row("Allocate p99", allocate.at(0.99), floor.at(0.99), "us", "<= 1.5x floor");
  rows("preferred 2 of " + std::to_string(ids.size()), preferred, floor, "<= 1.5x floor");
  double ours_rate = throughput([&] { return allocate_call(node.socket(), ids.front()); }, 50'000);
  double floor_rate = throughput([&] { return echo_call(echo_socket); }, 50'000);
  row("Allocates a second, 8 callers", ours_rate, floor_rate, "/s", "");
  throughput([&] { return allocate_call(node.socket(), ids.front()); }, 100'000);
  throughput([&] { return echo_call(echo_socket); }, 100'000);
  row("RSS after 100 k more Allocates", static_cast<double>(agent->status("VmRSS")) / 1024,
      static_cast<double>(echo->status("VmRSS")) / 1024, "MB", "<= 16 MB");
}

// What stays in memory of a million Allocates, and of lists that were sent anew again and again.
void measure_growth(const Arguments& arguments) {
  Node node(arguments, "h200x8-hgx.yaml", 10);
  const std::string echo_socket = node.directory + "/echo";
  auto echo = start_echo(arguments, echo_socket, nullptr);
  auto agent = node.agent(true);
  if (!node.ready()) node.fail();
  const std::vector<std::string> ids = node.ids();
  const auto tell = [&](const char* when) {
    row(when, static_cast<double>(agent->status("VmRSS")) / 1024,
        static_cast<double>(echo->status("VmRSS")) / 1024, "MB", "no growth, <= 16 MB");
  };
  const auto call_both = [&](int calls) {
    throughput([&] { return allocate_call(node.socket(), ids.front()); }, calls);
    throughput([&] { return echo_call(echo_socket); }, calls);
  };
  const int allocates = arguments.number("allocates");
  call_both(allocates / 10);
  tell("RSS after a tenth of the Allocates");
  call_both(allocates - allocates / 10);
  tell(("RSS after " + std::to_string(allocates) + " Allocates").c_str());
  const int updates = arguments.number("updates");
  for (int done = 0; done < updates; ++done) {
    const int replicas = done % 2 == 0 ? 11 : 10;
    node.share(replicas);
    agent->signal(SIGHUP);
    if (!node.allocatable(8 * replicas)) node.fail();
    if (done + 1 == updates / 10) tell("RSS after a tenth of the list updates");
  }
  tell(("RSS after " + std::to_string(updates) + " list updates").c_str());
}

// Requests about many devices, each kind on a machine of its own.
void measure_topology(const Arguments& arguments) {
  Scratch directory;
  const std::string echo_socket = directory.path + "/echo";
  auto echo = start_echo(arguments, echo_socket, nullptr);
  measure_big(arguments, echo_socket);
  measure_aligned(arguments, echo_socket, "h200x8-hgx.yaml", {4});
  measure_aligned(arguments, echo_socket, "dual-baseboard-16.yaml", {8, 3});
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  for (int at = 1; at + 1 < argc; at += 2) {
    if (std::strncmp(argv[at], "--", 2) == 0) arguments.values[argv[at] + 2] = argv[at + 1];
  }
  for (const char* needed : {"kerf", "nvml", "machines", "echo"}) {
    if (!arguments.values.contains(needed)) {
      std::fprintf(stderr,
                   "usage: wire_bench --kerf PROGRAM --nvml LIBRARY --machines DIR --echo PROGRAM "
                   "[--idle SECONDS] [--calls N] [--allocates N] [--updates N] "
                   "[--only start|calls|topology|growth]\n");
      return 2;
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::printf("| %-38s | %9s | %9s | %5s | %-5s | %-22s |\n", "8 GPUs x 10 replicas", "kerf",
              "bare echo", "ratio", "unit", "reach");
  std::printf("|%s|%s|%s|%s|%s|%s|\n", std::string(40, '-').c_str(), std::string(11, '-').c_str(),
              std::string(11, '-').c_str(), std::string(7, '-').c_str(),
              std::string(7, '-').c_str(), std::string(24, '-').c_str());
  const std::string only = arguments["only"];
  if (only.empty() || only == "start") measure_start(arguments);
  if (only.empty() || only == "calls") measure_calls(arguments);
  if (only.empty() || only == "topology") measure_topology(arguments);
  if (only == "growth") measure_growth(arguments);  // takes minutes
  return 0;
}
