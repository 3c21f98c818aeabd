#include "cli/status_command.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/strings.h"
#include "http/page.h"
#include "http/server.h"

#include <fmt/format.h>

namespace kerf::cli {
namespace {

using namespace metrics;

constexpr const char* kDefaultAddress = "127.0.0.1:2112";
constexpr int kTimeoutMs = 5'000;
constexpr std::size_t kLargestAnswer = 64u << 20;
constexpr std::size_t kEventsShown = 8;

constexpr const char* kUsage =
    "usage: kerf status [--json] [--address HOST:PORT]\n\n"
    "Shows GPUs, slices, resources and problems of the agent on this node.\n\n"
    "  --json               print the status as JSON, as /api/status gives it\n"
    "  --address HOST:PORT  where the agent listens (default 127.0.0.1:2112)\n\n"
    "exit status: 0 all well, 1 degraded or failed, 2 the agent cannot be reached\n";

constexpr const char* kUnreachableHint =
    "is the agent running, and is this the address given to it with --listen? In a cluster: "
    "kubectl exec -n NAMESPACE POD -- kerf status";

class Paint {
 public:
  explicit Paint(bool colour) : colour_(colour) {}
  std::string operator()(const char* code, std::string_view text) const {
    return colour_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
  }

 private:
  bool colour_;
};

constexpr const char *kBold = "1", *kSoft = "2", *kRed = "31", *kGreen = "32", *kYellow = "33",
                     *kBlue = "34";

const char* status_colour(std::string_view word) {
  if (word == "ok") return kGreen;
  if (word == "failed") return kRed;
  return word == "degraded" ? kYellow : kBlue;
}

// "■■□×": in use, free, unhealthy. Up to 60 slices one by one, then in proportion.
std::string bar(const GpuStatus& gpu, const Paint& paint) {
  std::size_t counts[3] = {};
  std::string out;
  constexpr std::size_t kWidest = 60;
  static constexpr const char* kMarks[] = {"□", "■", "×"};
  static constexpr const char* kColours[] = {kSoft, kBlue, kRed};
  for (const SliceStatus& slice : gpu.slices) {
    auto state = static_cast<std::size_t>(slice.state());
    ++counts[state];
    if (gpu.slices.size() <= kWidest) out += paint(kColours[state], kMarks[state]);
  }
  if (gpu.slices.size() <= kWidest) return out;
  for (std::size_t state : {1u, 0u, 2u}) {
    std::size_t width = (counts[state] * kWidest + gpu.slices.size() - 1) / gpu.slices.size();
    for (std::size_t i = 0; i < width; ++i) out += paint(kColours[state], kMarks[state]);
  }
  return out;
}

void print_head(const http::RemoteStatus& status, const Paint& paint, std::string& out) {
  const NodeStatus& node = status.node;
  out += paint(kBold, node.node.empty() ? "this node" : harmless(node.node));
  out += "  " + paint(status_colour(status.status), harmless(status.status)) + "\n";
  if (node.driver.state == DriverState::kReady) {
    out += "driver " + harmless(node.driver.version);
    if (!node.driver.cuda.empty()) out += ", CUDA " + harmless(node.driver.cuda);
  } else {
    out += "driver " + std::string(to_string(node.driver.state));
  }
  out += ", up " + http::duration_text(node.now_ms - node.started_ms) + ", kerf " +
         harmless(node.version) + "\n";
  for (const Problem& problem : node.problems) {
    std::string word(to_string(problem.severity));
    out += "\n" + paint(status_colour(word), word + ": ") + harmless(problem.what) + "\n";
    if (!problem.subject.empty()) out += "  " + paint(kSoft, harmless(problem.subject)) + "\n";
    if (!problem.remedy.empty()) out += "  " + harmless(problem.remedy) + "\n";
  }
}

void print_gpu(const GpuStatus& gpu, std::int64_t now, const Paint& paint, std::string& out) {
  std::string memory = gpu.memory_mib ? http::memory_text(*gpu.memory_mib) : "shared memory";
  out += fmt::format("\n{} {}, {}, {}{}\n", paint(kBold, fmt::format("GPU {}", gpu.index)),
                     harmless(gpu.name), memory, harmless(gpu.pci),
                     gpu.numa_node ? fmt::format(", NUMA node {}", *gpu.numa_node) : "");
  out += "  " + paint(kSoft, harmless(gpu.uuid)) + "\n";
  if (!gpu.health.ok) {
    std::string why = gpu.health.detail.empty() ? gpu.health.reason : gpu.health.detail;
    out += "  " + paint(kRed, "unhealthy: " + harmless(why)) + "\n";
  }
  for (const MigStatus& mig : gpu.mig_devices) {
    out += fmt::format("  MIG {}  {}{}\n", harmless(mig.profile), harmless(mig.uuid),
                       mig.health.ok ? "" : paint(kRed, "  unhealthy"));
  }
  if (gpu.slices.empty()) {
    out += "  not advertised to the kubelet\n";
    return;
  }
  out += fmt::format("  {}  {} of {} in use\n", bar(gpu, paint), gpu.in_use(), gpu.slices.size());
  for (const SliceStatus& slice : gpu.slices) {
    if (!slice.use) continue;
    std::size_t mark = slice.id.rfind("::");
    std::string name = mark == std::string::npos ? slice.resource : slice.id.substr(mark + 2);
    out += fmt::format("    {:>3}  {}  {}\n", harmless(name), harmless(owner_text(*slice.use)),
                       paint(kSoft, "for " + http::duration_text(now - slice.use->since_ms)));
  }
}

void print_resources(const NodeStatus& node, const Paint& paint, std::string& out) {
  if (node.resources.empty()) {
    out += "\nnothing is advertised to the kubelet\n";
    return;
  }
  std::size_t width = 8;
  for (const ResourceStatus& r : node.resources) width = std::max(width, r.name.size());
  out += "\n" +
         paint(kBold, fmt::format("{:<{}}  {:>7}  {:>7}  {:>6}  {:<18}  {}", "RESOURCE", width,
                                  "DEVICES", "HEALTHY", "IN USE", "SHARING", "KUBELET")) +
         "\n";
  for (const ResourceStatus& r : node.resources) {
    std::string sharing = harmless(r.sharing);
    if (r.replicas > 1) sharing += fmt::format(" x {}", r.replicas);
    out +=
        fmt::format("{:<{}}  {:>7}  {:>7}  {:>6}  {:<18}  {}\n", harmless(r.name), width, r.total,
                    r.healthy, r.in_use, sharing,
                    r.registered ? paint(kGreen, "registered") : paint(kYellow, "not registered"));
    if (!r.last_error.empty()) out += "  " + paint(kRed, harmless(r.last_error)) + "\n";
  }
}

void print_events(const NodeStatus& node, const Paint& paint, std::string& out) {
  if (node.events.empty()) return;
  out += "\n" + paint(kBold, "LAST EVENTS (UTC)") + "\n";
  std::size_t from = node.events.size() - std::min(kEventsShown, node.events.size());
  for (std::size_t i = from; i < node.events.size(); ++i) {
    const EventStatus& event = node.events[i];
    std::string text = harmless(event.text);
    const char* colour = event.level == EventLevel::kError  ? kRed
                         : event.level == EventLevel::kWarn ? kYellow
                                                            : nullptr;
    out += rfc3339_ms(event.time_ms).substr(11, 8) + "  " +
           (colour == nullptr ? text : paint(colour, text)) + "\n";
  }
}

struct Options {
  std::string address = kDefaultAddress;
  bool json = false;
  bool help = false;
};

Result<Options> read_options(std::span<const std::string> args) {
  Options out;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--json") {
      out.json = true;
    } else if (arg == "--help" || arg == "-h") {
      out.help = true;
    } else if (arg.starts_with("--address=")) {
      out.address = arg.substr(10);
    } else if (arg == "--address" && i + 1 < args.size()) {
      out.address = args[++i];
    } else if (arg == "--address") {
      return fail(Kind::kInvalid, "a value is missing", arg, "write --address HOST:PORT");
    } else {
      return fail(Kind::kInvalid, "unknown argument", arg, "kerf status --help says what there is");
    }
  }
  return out;
}

int complain(const Error& error) {
  std::fprintf(stderr, "kerf status: %s\n", error.text().c_str());
  return 2;
}

// Waits until `fd` can be read or written, or the time is over.
Status wait_for(int fd, short what, std::int64_t deadline, const std::string& address) {
  while (true) {
    std::int64_t left = deadline - system_clock().mono_ms();
    pollfd poll_on{fd, what, 0};
    int ready = left > 0 ? ::poll(&poll_on, 1, static_cast<int>(left)) : 0;
    if (ready > 0) return {};
    if (ready == 0) return fail(Kind::kTimeout, "no answer in time", address, kUnreachableHint);
    if (errno != EINTR) return fail_errno("cannot wait for an answer", address, errno);
  }
}

Result<Fd> connect_to(const http::HostPort& where, const std::string& address,
                      std::int64_t deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string host = where.host.empty() ? "127.0.0.1" : where.host;
  int status = getaddrinfo(host.c_str(), std::to_string(where.port).c_str(), &hints, &found);
  if (status != 0) {
    return fail(Kind::kNotFound, std::string("cannot resolve the host: ") + gai_strerror(status),
                address, "use an IP address");
  }
  int error = ECONNREFUSED;
  Fd connected;
  for (addrinfo* each = found; each != nullptr && !connected; each = each->ai_next) {
    Fd fd(::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) continue;
    error = ::connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS && wait_for(fd.get(), POLLOUT, deadline, address)) {
      socklen_t size = sizeof error;
      getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) connected = std::move(fd);
  }
  freeaddrinfo(found);
  if (!connected) {
    if (error == EINPROGRESS) error = ETIMEDOUT;
    Unexpected out = fail_errno("cannot reach the agent", address, error, kUnreachableHint);
    out.value().kind = error == ETIMEDOUT ? Kind::kTimeout : Kind::kGone;
    return out;
  }
  return connected;
}

Result<std::string> read_all(int fd, std::int64_t deadline, const std::string& address) {
  std::string out;
  char buffer[16384];
  while (out.size() <= kLargestAnswer) {
    ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n == 0) return out;
    if (n > 0) {
      out.append(buffer, static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLIN, deadline, address); !ready) return fail(ready.error());
    } else if (errno != EINTR) {
      return fail_errno("the connection broke", address, errno, kUnreachableHint);
    }
  }
  return fail(Kind::kCorrupt, "the answer is too large", address,
              "is it really kerf that listens there?");
}

}  // namespace

// A terminal must not be steered by what a pod or a driver calls itself.
std::string harmless(std::string_view text) {
  std::string out;
  for (char c : valid_utf8(text)) {
    out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  }
  return out;
}

Result<std::string> http_get(const std::string& address, const std::string& path, int timeout_ms) {
  auto where = http::parse_host_port(address);
  if (!where) return fail(where.error());
  std::int64_t deadline = system_clock().mono_ms() + timeout_ms;
  auto fd = connect_to(*where, address, deadline);
  if (!fd) return fail(fd.error());
  std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + address +
                        "\r\nAccept: */*\r\nConnection: close\r\n\r\n";
  // So short a request always fits into an empty send buffer.
  if (::send(fd->get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return fail_errno("cannot send the request", address, errno, kUnreachableHint);
  }
  auto answer = read_all(fd->get(), deadline, address);
  if (!answer) return answer;
  std::size_t body = answer->find("\r\n\r\n");
  if (!answer->starts_with("HTTP/1.1 ") || body == std::string::npos) {
    return fail(Kind::kCorrupt, "the answer is not HTTP", address,
                "is it really kerf that listens there?");
  }
  std::string status = answer->substr(9, answer->find("\r\n") - 9);
  if (!status.starts_with("200 ")) {
    return fail(Kind::kCorrupt, "the answer is " + harmless(status), address + path,
                "is it really kerf that listens there?");
  }
  return answer->substr(body + 4);
}

std::string status_text(const http::RemoteStatus& status, bool colour) {
  Paint paint(colour);
  std::string out;
  print_head(status, paint, out);
  for (const GpuStatus& gpu : status.node.gpus) print_gpu(gpu, status.node.now_ms, paint, out);
  print_resources(status.node, paint, out);
  print_events(status.node, paint, out);
  return out;
}

int run_status(std::span<const std::string> args) {
  auto options = read_options(args);
  if (!options) return complain(options.error());
  if (options->help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  auto body = http_get(options->address, "/api/status", kTimeoutMs);
  if (!body) return complain(body.error());
  auto status = http::parse_status(*body);
  if (!status) return complain(status.error());
  std::string text = options->json ? *body : status_text(*status, isatty(STDOUT_FILENO) == 1);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return status->status == "degraded" || status->status == "failed" ? 1 : 0;
}

}  // namespace kerf::cli
