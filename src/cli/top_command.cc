#include "cli/top_command.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string_view>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

#include "base/strings.h"
#include "cli/status_command.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace kerf::cli {
namespace {

using metrics::GpuStatus;
using metrics::PodUse;
using metrics::Series;

constexpr const char* kUsage =
    "usage: kerf top [--once | --json] [--interval SECONDS] [--address HOST:PORT]\n\n"
    "Shows what each GPU of this node does and which pod uses how much of it. The agent must run\n"
    "the component usage. Ends with Ctrl-C.\n\n"
    "  --once               look once and end; so it is without a terminal\n"
    "  --json               look once and print the figures as JSON\n"
    "  --interval SECONDS   between two looks (default 2)\n"
    "  --address HOST:PORT  where the agent listens (default 127.0.0.1:2112)\n\n"
    "exit status: 0, or 2 when the agent cannot be reached or does not say who uses the GPUs\n";

constexpr int kTimeoutMs = 5'000;
constexpr std::size_t kPlainWidth = 120;
constexpr std::size_t kBarWidth = 20;
constexpr std::size_t kSparkWidth = 24;
constexpr const char *kBold = "1", *kSoft = "2", *kRed = "31", *kGreen = "32", *kYellow = "33";

struct Options {
  std::string address = "127.0.0.1:2112";
  double interval = 2;
  bool once = false;
  bool json = false;
  bool help = false;
};

Status set_option(Options& out, const std::string& name, const std::string& value) {
  if (name == "--address") {
    out.address = value;
    return {};
  }
  const auto seconds = parse_u64(value);
  if (!seconds || *seconds < 1 || *seconds > 3600) {
    return fail(Kind::kInvalid, "no interval: " + value, name, "write seconds from 1 to 3600");
  }
  out.interval = static_cast<double>(*seconds);
  return {};
}

Result<Options> read_options(std::span<const std::string> args) {
  Options out;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    const std::size_t equals = arg.find('=');
    const std::string name = arg.substr(0, equals);
    if (arg == "--once") {
      out.once = true;
    } else if (arg == "--json") {
      out.json = true;
    } else if (arg == "--help" || arg == "-h") {
      out.help = true;
    } else if (name == "--address" || name == "--interval") {
      if (equals == std::string::npos && i + 1 == args.size()) {
        return fail(Kind::kInvalid, "a value is missing", arg);
      }
      const std::string value = equals == std::string::npos ? args[++i] : arg.substr(equals + 1);
      if (Status set = set_option(out, name, value); !set) return fail(std::move(set.error()));
    } else {
      return fail(Kind::kInvalid, "unknown argument", arg, "kerf top --help says what there is");
    }
  }
  return out;
}

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30);
}

std::string or_dash(const std::optional<double>& value, double factor, std::string_view unit) {
  return value ? fmt::format("{:.0f} {}", *value * factor, unit) : "–";
}

// "▁▂▅█": the last points, a gap as a blank.
std::string spark(const Series& series, double high) {
  static constexpr const char* kMarks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string out;
  const std::size_t count = std::min(series.size(), kSparkWidth);
  for (std::size_t i = series.size() - count; i < series.size(); ++i) {
    const std::optional<double>& value = series[i];
    if (!value) {
      out += ' ';
      continue;
    }
    const double part = std::clamp(*value / high, 0.0, 1.0);
    out += kMarks[std::min<std::size_t>(7, static_cast<std::size_t>(part * 8))];
  }
  return out;
}

std::string bar(double part) {
  const auto full = static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * kBarWidth + 0.5);
  std::string out;
  for (std::size_t i = 0; i < kBarWidth; ++i) out += i < full ? "■" : "·";
  return out;
}

// Cut to so many characters; an ellipsis says that something is missing.
std::string cut(const std::string& text, std::size_t width) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (++characters > width) {
      std::size_t end = i;
      // One more for the ellipsis.
      do --end;
      while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
      return text.substr(0, end) + "…";
    }
  }
  return text;
}

class Screen {
 public:
  Screen(bool colour, std::size_t width) : colour_(colour), width_(width) {}
  // A line in one colour, or none.
  void line(const std::string& text, const char* code = nullptr) {
    const std::string shown = cut(text, width_);
    out_ += colour_ && code != nullptr ? fmt::format("\x1b[{}m{}\x1b[0m", code, shown) : shown;
    out_ += '\n';
  }
  std::string take() && { return std::move(out_); }

 private:
  bool colour_;
  std::size_t width_;
  std::string out_;
};

void print_pod(const PodUse& pod, Screen& screen) {
  std::string name = pod.pod_namespace + "/" + pod.pod;
  if (!pod.container.empty()) name += " (" + pod.container + ")";
  std::string memory = gib(pod.memory_bytes);
  if (pod.limit_bytes) memory += " of " + gib(*pod.limit_bytes);
  std::string share = pod.of > 0 ? fmt::format("{}/{}", pod.shares, pod.of) : "–";
  screen.line(
      fmt::format("  {:<44}  {:>5}  {:>20}  {:>6}  {:>7}  {:>9.1f} kJ{}", harmless(name), share,
                  memory, or_dash(pod.busy_ratio, 100, "%"), or_dash(pod.power_watts, 1, "W"),
                  pod.energy_joules / 1000, pod.over_limit ? "  above its share" : ""),
      pod.over_limit ? kYellow : nullptr);
}

void print_gpu(const GpuStatus& gpu, Screen& screen) {
  screen.line(fmt::format("GPU {}  {}{}", gpu.index, harmless(gpu.name),
                          gpu.health.ok ? "" : "  unhealthy: " + harmless(gpu.health.reason)),
              gpu.health.ok ? kBold : kRed);
  if (!gpu.use) {
    screen.line("  its use is not known", kSoft);
    return;
  }
  const metrics::GpuUse& use = *gpu.use;
  double most = 1;
  for (const auto& watts : use.power) most = std::max(most, watts.value_or(0));
  std::string memory = use.memory_used_bytes ? gib(*use.memory_used_bytes) : "–";
  if (use.memory_total_bytes) memory += " of " + gib(*use.memory_total_bytes);
  screen.line(fmt::format("  busy {:>6} {}  {}", or_dash(use.busy_ratio, 100, "%"),
                          bar(use.busy_ratio.value_or(0)), spark(use.busy, 1)),
              kGreen);
  screen.line(fmt::format("  power {:>5} {:>{}}  {}", or_dash(use.power_watts, 1, "W"),
                          or_dash(use.temperature_celsius, 1, "°C"), kBarWidth,
                          spark(use.power, most)));
  const auto used = static_cast<double>(use.memory_used_bytes.value_or(0));
  const auto total = static_cast<double>(use.memory_total_bytes.value_or(0));
  const double part = total > 0 ? used / total : 0;
  screen.line(fmt::format("  memory      {}  {}", bar(part), memory));
  if (!use.pods.empty()) {
    screen.line(fmt::format("  {:<44}  {:>5}  {:>20}  {:>6}  {:>7}  {:>12}", "POD", "SHARE",
                            "MEMORY", "BUSY", "POWER", "ENERGY"),
                kSoft);
  }
  for (const PodUse& pod : use.pods) print_pod(pod, screen);
  if (use.memory_host_bytes > 0) {
    screen.line("  outside of pods: " + gib(use.memory_host_bytes), kSoft);
  }
}

int complain(const Error& error) {
  std::fprintf(stderr, "kerf top: %s\n", error.text().c_str());
  return 2;
}

bool tells_use(const http::RemoteStatus& status) {
  return status.node.gpus.empty() || std::ranges::any_of(status.node.gpus, [](const GpuStatus& g) {
           return g.use.has_value();
         });
}

Result<std::string> look(const Options& options, http::RemoteStatus& status) {
  Result<std::string> body = http_get(options.address, "/api/status", kTimeoutMs);
  if (!body) return body;
  Result<http::RemoteStatus> parsed = http::parse_status(*body);
  if (!parsed) return fail(std::move(parsed.error()));
  status = std::move(*parsed);
  if (!tells_use(status)) {
    return fail(Kind::kNotFound, "the agent does not say who uses the GPUs", options.address,
                "start it with --components=…,usage, and wait for its first look");
  }
  return body;
}

std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kPlainWidth;
  return size.ws_col;
}

void put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Until a signal to end comes; the terminal is left as it was.
int follow(const Options& options) {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, number);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  put("\x1b[?1049h\x1b[?25l");  // another screen, without a cursor
  const timespec pause{static_cast<time_t>(options.interval), 0};
  do {
    http::RemoteStatus status;
    Result<std::string> body = look(options, status);
    std::string screen = body ? top_text(status, true, terminal_width())
                              : "kerf top: " + harmless(body.error().text()) + "\n";
    put("\x1b[H\x1b[J" + screen);
  } while (sigtimedwait(&signals, nullptr, &pause) < 0 && (errno == EAGAIN || errno == EINTR));
  put("\x1b[?25h\x1b[?1049l");
  return 0;
}

}  // namespace

std::string top_text(const http::RemoteStatus& status, bool colour, std::size_t width) {
  Screen screen(colour, width);
  const metrics::NodeStatus& node = status.node;
  screen.line(fmt::format("{}  {}", node.node.empty() ? "this node" : harmless(node.node),
                          harmless(status.status)),
              kBold);
  if (node.gpus.empty()) screen.line("no GPU");
  for (const GpuStatus& gpu : node.gpus) {
    screen.line("");
    print_gpu(gpu, screen);
  }
  return std::move(screen).take();
}

std::string top_json(const std::string& status) {
  const nlohmann::json root = nlohmann::json::parse(status, nullptr, false);
  if (!root.is_object() || !root.contains("gpus") || !root["gpus"].is_array()) return {};
  nlohmann::json out = nlohmann::json::array();
  for (const nlohmann::json& gpu : root["gpus"]) {
    if (!gpu.is_object()) continue;
    nlohmann::json each = nlohmann::json::object();
    if (auto use = gpu.find("use"); use != gpu.end() && use->is_object()) each = *use;
    for (const char* key : {"index", "uuid", "name"}) {
      if (gpu.contains(key)) each[key] = gpu[key];
    }
    out.push_back(std::move(each));
  }
  return out.dump(2) + "\n";
}

int run_top(std::span<const std::string> args) {
  Result<Options> options = read_options(args);
  if (!options) return complain(options.error());
  if (options->help) {
    put(kUsage);
    return 0;
  }
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  if (terminal && !options->once && !options->json) return follow(*options);
  http::RemoteStatus status;
  Result<std::string> body = look(*options, status);
  if (!body) return complain(body.error());
  put(options->json ? top_json(*body)
                    : top_text(status, terminal, terminal ? terminal_width() : kPlainWidth));
  return 0;
}

}  // namespace kerf::cli
