#include "agent/config_source.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "config/parse.h"
#include "kubelet/follow.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::agent {
namespace {

// Editors and the kubelet change a file in several steps; one reading after the last is enough.
constexpr std::chrono::milliseconds kSettle{30};
// Whoever writes into the file in place empties it first, and an empty file is a valid
// configuration that shares nothing.
constexpr std::chrono::milliseconds kEmptied{1000};
constexpr int kMaxLinks = 16;

Result<std::string> read_config(const std::string& path) {
  return read_file(path, config::kMaxFileBytes);
}

}  // namespace

std::vector<std::string> directories_to_watch(const std::string& file) {
  namespace fs = std::filesystem;
  std::vector<std::string> directories;
  fs::path at = file;
  for (int links = 0; links < kMaxLinks; ++links) {
    fs::path parent = at.has_parent_path() ? at.parent_path() : fs::path(".");
    if (std::ranges::find(directories, parent.string()) == directories.end()) {
      directories.push_back(parent.string());
    }
    std::error_code error;
    fs::path target = fs::read_symlink(at, error);
    if (error) break;
    at = target.is_absolute() ? target : parent / target;
  }
  return directories;
}

struct ConfigSource::Watching : std::enable_shared_from_this<Watching> {
  // `on_change` looks at the file, and says when to look again, if at all.
  using Look = std::function<std::optional<std::chrono::milliseconds>()>;

  Watching(asio::io_context& io, std::string path, Look on_change)
      : loop(io), settle(io), file(std::move(path)), look(std::move(on_change)) {}

  void arm() {
    std::vector<std::string> wanted = directories_to_watch(file);
    if (wanted == directories) return;
    directories = std::move(wanted);
    followers.clear();
    for (const std::string& directory : directories) {
      followers.push_back(std::make_unique<kubelet::Follower>(
          loop, directory, [this](const std::string&) { look_after(kSettle); }));
    }
  }

  void look_after(std::chrono::milliseconds pause) {
    settle.expires_after(pause);
    settle.async_wait([self = shared_from_this()](std::error_code cancelled) {
      if (cancelled || self->stopped) return;
      self->arm();
      if (auto again = self->look()) self->look_after(*again);
    });
  }

  asio::io_context& loop;
  asio::steady_timer settle;
  std::string file;
  Look look;
  std::vector<std::string> directories;
  std::vector<std::unique_ptr<kubelet::Follower>> followers;
  bool stopped = false;
};

ConfigSource::~ConfigSource() { stop(); }

ConfigSource::Look ConfigSource::look(const Result<std::string>& text) {
  return text ? Look{*text, {}} : Look{{}, text.error().text()};
}

Result<config::Effective> ConfigSource::load() {
  seen_ = {};
  return config::load(flags_, env_, [this](const std::string& path) {
    Result<std::string> text = read_config(path);
    seen_ = look(text);
    return text;
  });
}

void ConfigSource::watch(asio::io_context& loop, const std::string& file,
                         std::function<void()> changed) {
  stop();
  if (file.empty()) return;
  using Clock = std::chrono::steady_clock;
  // Looks must find the same for a while: one may come while the file is being written.
  watching_ = std::make_shared<Watching>(
      loop, file,
      [this, file, before = std::optional<Look>(), since = Clock::time_point(),
       changed = std::move(changed)]() mutable -> std::optional<std::chrono::milliseconds> {
        Result<std::string> text = read_config(file);
        // A file that is missing for a moment while it is being replaced is no news.
        if (!text && text.error().kind == Kind::kNotFound) return {};
        const Look now = look(text);
        if (now == seen_) {
          before.reset();
          return {};
        }
        if (before != now) {
          before = now;
          since = Clock::now();
        }
        const std::chrono::milliseconds steady = now == Look{} ? kEmptied : kSettle;
        if (Clock::now() - since < steady) return steady;
        changed();
        return {};
      });
  watching_->arm();
}

void ConfigSource::stop() {
  if (!watching_) return;
  watching_->stopped = true;
  watching_->settle.cancel();
  watching_->followers.clear();
  watching_.reset();
}

}  // namespace kerf::agent
