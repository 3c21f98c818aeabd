// kubelet-sim: a kubelet stand-in for device plugins, on the command line.
//
//   kubelet-sim run --dir DIR [--pods N --every 2s --slices 1 --lifetime 20s] [--resource NAME]
//                   [--control PATH] [--stdin] [--pod-resources PATH]
//   kubelet-sim ctl PATH COMMAND...       sends one command to --control
//
// Commands (also lines of standard input with --stdin), each answered with one line of JSON:
//   pod create NAME RESOURCE N | pod delete NAME | pods | state
//   wait RESOURCE N SECONDS          until N devices are allocatable
//   drop RESOURCE                  closes the connection to its plugin
//   restart | stop | start | normal | reject | hang | garbage
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <iostream>
#include <mutex>
#include <optional>
#include <poll.h>
#include <sstream>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "kubelet/kubelet.h"

#include <nlohmann/json.hpp>

namespace {

using kubelet_sim::Kubelet;
using kubelet_sim::Mode;
using nlohmann::json;
using std::chrono::milliseconds;

struct Arguments {
  std::string directory;
  std::string control;
  std::string pod_resources;
  std::string resource;  // empty: the first that registers
  int pods = 0;
  int slices = 1;
  milliseconds every{2000};
  milliseconds lifetime{20000};
  bool from_stdin = false;
};

int usage() {
  std::fputs(
      "usage: kubelet-sim run --dir DIR [--pods N] [--every 2s] [--slices 1] [--lifetime 20s]\n"
      "                       [--resource NAME] [--control PATH] [--stdin] [--pod-resources PATH]\n"
      "       kubelet-sim ctl PATH COMMAND...\n"
      "commands: pod create NAME RESOURCE N, pod delete NAME, pods, state,\n"
      "          wait RESOURCE N SECONDS, drop RESOURCE, restart, stop, start, normal, reject, "
      "hang, garbage\n",
      stderr);
  return 2;
}

// "2s", "500ms" or "2" (seconds).
std::optional<milliseconds> parse_duration(const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || value < 0 || value > 1e6) return std::nullopt;
  if (std::strcmp(end, "ms") == 0) return milliseconds(static_cast<long>(value));
  if (*end == 0 || std::strcmp(end, "s") == 0) return milliseconds(static_cast<long>(value * 1e3));
  if (std::strcmp(end, "m") == 0) return milliseconds(static_cast<long>(value * 6e4));
  return std::nullopt;
}

bool parse(int argc, char** argv, Arguments& out) {
  for (int at = 2; at < argc; ++at) {
    const std::string flag = argv[at];
    if (flag == "--stdin") {
      out.from_stdin = true;
      continue;
    }
    if (at + 1 >= argc) return false;
    const std::string value = argv[++at];
    if (flag == "--dir") {
      out.directory = value;
    } else if (flag == "--control") {
      out.control = value;
    } else if (flag == "--pod-resources") {
      out.pod_resources = value;
    } else if (flag == "--resource") {
      out.resource = value;
    } else if (flag == "--pods") {
      out.pods = std::atoi(value.c_str());
    } else if (flag == "--slices") {
      out.slices = std::atoi(value.c_str());
    } else if (flag == "--every" || flag == "--lifetime") {
      auto duration = parse_duration(value);
      if (!duration) return false;
      (flag == "--every" ? out.every : out.lifetime) = *duration;
    } else {
      return false;
    }
  }
  return !out.directory.empty() && out.pods >= 0 && out.slices > 0;
}

void print_line(const std::string& line) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::time_t now = std::time(nullptr);
  char stamp[16];
  std::tm local{};
  std::strftime(stamp, sizeof stamp, "%H:%M:%S", localtime_r(&now, &local));
  std::printf("%s kubelet | %s\n", stamp, line.c_str());
  std::fflush(stdout);
}

json to_json(const kubelet_sim::Pod& pod) {
  return {{"name", pod.name},
          {"resource", pod.resource},
          {"count", pod.count},
          {"phase", kubelet_sim::to_string(pod.phase)},
          {"reason", pod.reason},
          {"ids", pod.ids},
          {"envs", pod.envs},
          {"annotations", pod.annotations},
          {"mounts", pod.mounts},
          {"devices", pod.devices},
          {"cdi_devices", pod.cdi_devices}};
}

json state_of(const Kubelet& kubelet) {
  json out = {{"resources", json::object()}, {"pods", json::array()}};
  for (const auto& resource : kubelet.resources()) {
    json devices = json::array();
    for (const auto& device : resource.devices) {
      devices.push_back(
          {{"id", device.id}, {"healthy", device.healthy}, {"numa", device.numa_nodes}});
    }
    out["resources"][resource.name] = {{"endpoint", resource.endpoint},
                                       {"connected", resource.connected},
                                       {"registrations", resource.registrations},
                                       {"updates", resource.updates},
                                       {"capacity", resource.devices.size()},
                                       {"allocatable", resource.allocatable},
                                       {"in_use", resource.in_use},
                                       {"devices", devices}};
  }
  for (const auto& pod : kubelet.pods()) out["pods"].push_back(to_json(pod));
  return out;
}

std::size_t allocatable(const Kubelet& kubelet, const std::string& name) {
  for (const auto& resource : kubelet.resources()) {
    if (resource.name == name) return resource.allocatable;
  }
  return 0;
}

// One command, one line of JSON.
json execute(Kubelet& kubelet, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "state") return state_of(kubelet);
  if (verb == "pods") return state_of(kubelet)["pods"];
  if (verb == "pod") {
    std::string what, name, resource;
    int count = 0;
    words >> what >> name;
    if (what == "create" && words >> resource >> count && count > 0) {
      return to_json(kubelet.create_pod(name, resource, count));
    }
    if (what == "delete" && !name.empty()) return {{"ok", kubelet.delete_pod(name)}};
  } else if (verb == "wait") {
    std::string resource;
    std::size_t count = 0;
    double seconds = 0;
    if (words >> resource >> count >> seconds) {
      bool ok = kubelet.wait_until(milliseconds(static_cast<long>(seconds * 1000)),
                                   [&] { return allocatable(kubelet, resource) == count; });
      return {{"ok", ok}, {"allocatable", allocatable(kubelet, resource)}};
    }
  } else if (verb == "restart" || verb == "start") {
    return {{"ok", verb == "restart" ? kubelet.restart() : kubelet.start()}};
  } else if (verb == "drop") {
    std::string resource;
    words >> resource;
    return {{"ok", kubelet.drop(resource)}};
  } else if (verb == "stop") {
    kubelet.stop();
    return {{"ok", true}};
  } else if (verb == "normal" || verb == "reject" || verb == "hang" || verb == "garbage") {
    kubelet.set_mode(verb == "normal"   ? Mode::kNormal
                     : verb == "reject" ? Mode::kReject
                     : verb == "hang"   ? Mode::kHang
                                        : Mode::kGarbage);
    return {{"ok", true}};
  }
  return {{"error", "unknown command: " + line}};
}

bool unix_address(const std::string& path, sockaddr_un& out) {
  out = {};
  out.sun_family = AF_UNIX;
  if (path.size() >= sizeof out.sun_path) return false;
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return true;
}

void send_all(int fd, const std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    ssize_t sent = ::send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return;
    at += static_cast<std::size_t>(sent);
  }
}

// One command a connection, until the process ends.
void serve_control(Kubelet& kubelet, int listener) {
  while (true) {
    int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    std::string line;
    char byte;
    while (line.size() < 4096 && ::read(fd, &byte, 1) == 1 && byte != '\n') line.push_back(byte);
    send_all(fd, execute(kubelet, line).dump() + "\n");
    ::close(fd);
  }
}

int control(const std::string& path, const std::string& command) {
  sockaddr_un address;
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!unix_address(path, address) ||
      ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::fprintf(stderr, "kubelet-sim: cannot reach %s: %s\n", path.c_str(), std::strerror(errno));
    return 1;
  }
  send_all(fd, command + "\n");
  std::string answer;
  char buffer[4096];
  ssize_t size;
  while ((size = ::read(fd, buffer, sizeof buffer)) > 0) {
    answer.append(buffer, static_cast<std::size_t>(size));
  }
  std::fputs(answer.c_str(), stdout);
  auto parsed = json::parse(answer, nullptr, false);
  bool refused = parsed.is_object() && (parsed.contains("error") || !parsed.value("ok", true));
  return parsed.is_discarded() || refused ? 1 : 0;
}

// Keeps up to `pods` pods alive, one more every `every`, each for `lifetime`.
class Workload {
 public:
  Workload(Kubelet& kubelet, const Arguments& arguments)
      : kubelet_(kubelet), arguments_(arguments) {}

  void tick(std::chrono::steady_clock::time_point now) {
    while (!alive_.empty() && now >= alive_.front().ends) {
      kubelet_.delete_pod(alive_.front().name);
      alive_.pop_front();
    }
    if (arguments_.pods == 0 || now < next_ ||
        alive_.size() >= static_cast<std::size_t>(arguments_.pods)) {
      return;
    }
    std::string resource = arguments_.resource;
    if (resource.empty()) {
      auto known = kubelet_.resources();
      if (known.empty()) return;
      resource = known.front().name;
    }
    next_ = now + arguments_.every;
    std::string name = "job-" + std::to_string(++count_);
    auto pod = kubelet_.create_pod(name, resource, arguments_.slices);
    if (pod.phase == kubelet_sim::Phase::kPending)
      print_line("pod " + name + " Pending: " + pod.reason);
    alive_.push_back({name, now + arguments_.lifetime});
  }

 private:
  struct Alive {
    std::string name;
    std::chrono::steady_clock::time_point ends;
  };
  Kubelet& kubelet_;
  const Arguments& arguments_;
  std::deque<Alive> alive_;
  std::chrono::steady_clock::time_point next_{};
  int count_ = 0;
};

// True when a line was read, false at the end of the input.
bool read_command(Kubelet& kubelet, std::string& pending) {
  char buffer[4096];
  ssize_t size = ::read(STDIN_FILENO, buffer, sizeof buffer);
  if (size <= 0) return false;
  pending.append(buffer, static_cast<std::size_t>(size));
  for (std::size_t end; (end = pending.find('\n')) != std::string::npos;) {
    std::string line = pending.substr(0, end);
    pending.erase(0, end + 1);
    if (line.empty() || line[0] == '#') continue;
    std::string answer = execute(kubelet, line).dump();
    std::printf("%s\n", answer.c_str());
    std::fflush(stdout);
  }
  return true;
}

int run(const Arguments& arguments) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  Kubelet kubelet({arguments.directory, arguments.pod_resources, print_line});
  if (!kubelet.start()) return 1;
  int listener = -1;
  std::thread control_thread;
  if (!arguments.control.empty()) {
    sockaddr_un address;
    listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::unlink(arguments.control.c_str());
    if (!unix_address(arguments.control, address) ||
        ::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 16) != 0) {
      std::fprintf(stderr, "kubelet-sim: cannot listen on %s: %s\n", arguments.control.c_str(),
                   std::strerror(errno));
      return 1;
    }
    control_thread = std::thread([&] { serve_control(kubelet, listener); });
  }
  Workload workload(kubelet, arguments);
  std::string pending;
  bool reading = arguments.from_stdin;
  const timespec tick{0, 100'000'000};
  while (true) {
    if (reading) {
      pollfd wait{STDIN_FILENO, POLLIN, 0};
      if (::poll(&wait, 1, 0) > 0) reading = read_command(kubelet, pending);
    }
    workload.tick(std::chrono::steady_clock::now());
    const timespec poll_soon{0, 5'000'000};
    if (sigtimedwait(&signals, nullptr, reading ? &poll_soon : &tick) > 0) break;
  }
  if (listener >= 0) {
    ::shutdown(listener, SHUT_RDWR);
    control_thread.join();
    ::close(listener);
    ::unlink(arguments.control.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "ctl" && argc > 3) {
    std::string command;
    for (int at = 3; at < argc; ++at) command += (at > 3 ? " " : "") + std::string(argv[at]);
    return control(argv[2], command);
  }
  Arguments arguments;
  if (mode != "run" || !parse(argc, argv, arguments)) return usage();
  return run(arguments);
}
