// Measures the agent as a kubelet meets it, beside the floor: a bare gRPC echo over a unix socket,
// built the same way, measured by the same client in the same run, block by block in turn, so that
// a busy machine slows both. Prints a table of figures and ratios; judges nothing.
//
//   wire_bench --kerf PROGRAM --nvml LIBRARY --machines DIR --echo PROGRAM
//              [--idle SECONDS] [--calls N] [--allocates N] [--updates N]
//              [--only start|calls|exporter|topology|growth] [--tool PROGRAM]
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "agent_node.h"
#include "proto/deviceplugin.grpc.pb.h"
#include "proto/echo.grpc.pb.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>

namespace {

using namespace bench;

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
                   "[--only start|calls|exporter|topology|growth] [--tool PROGRAM]\n");
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
  if (only.empty() || only == "exporter") measure_exporter(arguments);
  if (only.empty() || only == "topology") measure_topology(arguments);
  if (only == "growth") measure_growth(arguments);  // takes minutes
  return 0;
}
