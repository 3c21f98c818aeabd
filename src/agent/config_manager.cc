#include "agent/config_manager.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "base/put_file.h"
#include "base/strings.h"
#include "config/parse.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kRetry{5};
constexpr std::size_t kMaxComm = 15;  // the kernel cuts names to this

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

class Manager {
 public:
  explicit Manager(ConfigManagerOptions options)
      : options_(std::move(options)), retry_(loop_), signals_(loop_, SIGTERM, SIGINT, SIGQUIT) {}

  int run() {
    signals_.async_wait([this](std::error_code cancelled, int number) {
      if (cancelled) return;
      log::info("config-manager", "ending", {{"signal", number}});
      end(options_.oneshot ? 1 : 0);
    });
    named_.emplace(loop_, options_.named,
                   NamedConfigHandlers{[this](const std::string& path) { apply(path); },
                                       [this] { look_again(); }, [] {},
                                       [this](const Error&) {
                                         if (options_.oneshot) end(1);
                                       }});
    loop_.run();
    named_.reset();
    return exit_status_;
  }

 private:
  void end(int exit_status) {
    exit_status_ = exit_status;
    loop_.stop();
  }

  void apply(const std::string& path) {
    target_ = path.empty() ? options_.roots.dev + "/null" : path;
    Result<bool> changed = point_link(options_.destination, target_);
    if (!changed) {
      log::error("config-manager", "the configuration cannot be linked", changed.error());
      if (options_.oneshot) return end(1);
      retry_.expires_after(kRetry);
      retry_.async_wait([this, path](std::error_code cancelled) {
        if (!cancelled) apply(path);
      });
      return;
    }
    retry_.cancel();
    content_ = read();
    if (!*changed) {
      log::info("config-manager", "already configured", {{"config", target_}});
    } else {
      log::info("config-manager", "configured", {{"config", target_}});
      if (told_before_ && named_) {
        named_->tell("ConfigApplied", target_ + " is in force", false);
      }
    }
    told_before_ = true;
    bool signalled = !*changed || signal();
    if (options_.oneshot) end(signalled ? 0 : 1);
  }

  // The same file, but perhaps with other content: a ConfigMap was edited.
  void look_again() {
    std::string now = read();
    if (now == content_) return;
    content_ = std::move(now);
    log::info("config-manager", "the configuration was edited", {{"config", target_}});
    signal();
  }

  std::string read() const { return read_file(target_, config::kMaxFileBytes).value_or(""); }

  bool signal() {
    if (!options_.send_signal) return true;
    Result<pid_t> pid = find_process(options_.roots.proc, options_.process);
    if (!pid) {
      log::warn("config-manager", "nobody was told", pid.error());
      return false;
    }
    if (kill(*pid, options_.signal) != 0) {
      Error error = fail_errno("cannot signal process", options_.process, errno,
                               "run as the same user, or as root")
                        .value();
      log::error("config-manager", "nobody was told", error);
      return false;
    }
    log::info("config-manager", "signalled",
              {{"process", options_.process}, {"pid", *pid}, {"signal", options_.signal}});
    return true;
  }

  ConfigManagerOptions options_;
  asio::io_context loop_{1};
  asio::steady_timer retry_;
  asio::signal_set signals_;
  std::optional<NamedConfig> named_;
  std::string target_;
  std::string content_;
  bool told_before_ = false;
  int exit_status_ = 0;
};

}  // namespace

int manage_config(ConfigManagerOptions options) { return Manager(std::move(options)).run(); }

Result<bool> point_link(const std::string& link, const std::string& target) {
  constexpr const char* kRemedy = "check --config-file-dst (CONFIG_FILE_DST) and its directory";
  std::error_code error;
  if (fs::is_directory(link, error)) {
    return fail(Kind::kInvalid, "is a directory, not a link to a configuration", link, kRemedy);
  }
  fs::path before = fs::weakly_canonical(link, error);
  bool there = !error && fs::exists(link, error);
  fs::path after = fs::weakly_canonical(target, error);
  if (there && !error && before == after) return false;
  Status put = put_link(link, target, {.what = "link to the configuration", .remedy = kRemedy});
  if (!put) return fail(std::move(put.error()));
  return true;
}

Result<pid_t> find_process(const std::string& proc, const std::string& name) {
  std::vector<std::uint64_t> pids;
  std::error_code error;
  for (fs::directory_iterator at(proc, error), end; !error && at != end; at.increment(error)) {
    if (auto pid = parse_u64(at->path().filename().string())) pids.push_back(*pid);
  }
  std::ranges::sort(pids);
  std::optional<std::uint64_t> by_part;
  std::optional<std::uint64_t> by_comm;
  for (std::uint64_t pid : pids) {
    if (pid == static_cast<std::uint64_t>(getpid())) continue;
    std::string directory = join_path(proc, std::to_string(pid));
    // A process that ends meanwhile is no longer the one.
    std::string arguments = read_file(join_path(directory, "cmdline")).value_or("");
    std::string first = arguments.substr(0, arguments.find('\0'));
    if (first == name) return static_cast<pid_t>(pid);
    if (!by_part && !first.empty() && last_part(first) == last_part(name)) by_part = pid;
    std::string comm(trim(read_file(join_path(directory, "comm")).value_or("")));
    if (!by_comm && comm == last_part(name).substr(0, kMaxComm)) by_comm = pid;
  }
  if (by_part) return static_cast<pid_t>(*by_part);
  if (by_comm) return static_cast<pid_t>(*by_comm);
  return fail(Kind::kNotFound, "error finding pid: no process found", name,
              "is it running, and does the pod set shareProcessNamespace?");
}

}  // namespace kerf::agent
