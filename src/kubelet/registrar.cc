#include "kubelet/registrar.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>
#include <tuple>

#include "base/clock.h"
#include "base/log.h"
#include "kubelet/codec.h"
#include "kubelet/follow.h"
#include "kubelet/gate.h"
#include "kubelet/transport.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kubelet {
namespace {

// Which socket it is: a new one at the same path has another inode or, where inode numbers are
// reused, another time of birth. Not the time of change: somebody may be opening the socket to us
// (`kerf prepare`), and a kubelet that is registered with twice takes the end of the first stream
// for the end of the resource.
using Identity = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t>;

std::optional<Identity> identity_of(const std::string& path) {
  struct statx at{};
  if (path.empty() || statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &at) != 0) {
    return std::nullopt;
  }
  std::uint64_t device = std::uint64_t{at.stx_dev_major} << 32 | at.stx_dev_minor;
  bool born = (at.stx_mask & STATX_BTIME) != 0;
  return Identity{device, at.stx_ino, born ? at.stx_btime.tv_sec : 0,
                  born ? at.stx_btime.tv_nsec : 0};
}

struct Entry {
  explicit Entry(asio::io_context& loop) : timer(loop) {}

  Registrar::State state;
  std::string endpoint;
  asio::steady_timer timer;
  std::chrono::milliseconds pause{};
  std::uint64_t attempt = 0;  // tells answers of given-up calls from the current one
  std::shared_ptr<Call> in_flight;
  std::optional<Identity> asked;  // the socket the last attempt went to
  std::string reported;           // the error last logged
};

}  // namespace

struct Registrar::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io, Options opts, StatsOf counters,
       std::function<void(const std::string&)> on_change)
      : loop(io),
        options(std::move(opts)),
        stats_of(std::move(counters)),
        changed(std::move(on_change)) {}

  void follow() {
    if (options.kubelet_socket.empty()) return;
    std::size_t slash = options.kubelet_socket.rfind('/');
    file = options.kubelet_socket.substr(slash == std::string::npos ? 0 : slash + 1);
    std::string directory = slash == std::string::npos ? "."
                            : slash == 0               ? "/"
                                                       : options.kubelet_socket.substr(0, slash);
    follower = std::make_unique<Follower>(loop, directory, [this](const std::string& name) {
      if (name.empty() || name == file) socket_changed();
    });
  }

  void socket_changed() {
    std::optional<Identity> now = identity_of(options.kubelet_socket);
    for (auto& [resource, entry] : entries) {
      if (!now) {
        gone(resource, *entry);
      } else if (now != entry->asked || (!entry->state.registered && !entry->in_flight)) {
        // A new socket, or the one that refused us has changed: its owner may have let us in.
        entry->pause = {};
        attempt(resource, *entry);
      }
    }
  }

  void gone(const std::string& resource, Entry& entry) {
    if (!entry.state.registered) return;
    entry.state.registered = false;
    entry.asked.reset();
    entry.state.last_error =
        Error{Kind::kGone, "the kubelet's socket is gone", options.kubelet_socket,
              "registering again as soon as the kubelet is back"};
    log::info("kubelet", "kubelet went away", {{"resource", resource}});
    retry_later(resource, entry);
    changed(resource);
  }

  void attempt(const std::string& resource, Entry& entry) {
    if (stopped || options.kubelet_socket.empty()) return;
    entry.timer.cancel();
    if (entry.in_flight) entry.in_flight->cancel();
    entry.asked = identity_of(options.kubelet_socket);
    ++entry.state.attempts;
    const std::uint64_t number = ++entry.attempt;
    entry.in_flight =
        call(options.kubelet_socket, kRegister, encode_register(entry.endpoint, resource, true),
             options.deadline,
             [gate = gate, weak = weak_from_this(), resource, number](Result<std::string> answer) {
               gate->post([weak, resource, number, answer = std::move(answer)]() mutable {
                 auto self = weak.lock();
                 if (self) self->answered(resource, number, std::move(answer));
               });
             });
  }

  void answered(const std::string& resource, std::uint64_t number, Result<std::string> answer) {
    auto it = entries.find(resource);
    if (stopped || it == entries.end() || it->second->attempt != number) return;
    Entry& entry = *it->second;
    entry.in_flight.reset();
    if (answer && !well_formed(*answer)) {
      answer = fail(Kind::kCorrupt, "the kubelet's answer to Register is garbage",
                    options.kubelet_socket);
    }
    if (!answer) {
      failed(resource, entry, std::move(answer.error()));
    } else if (identity_of(options.kubelet_socket) != entry.asked) {
      attempt(resource, entry);  // accepted by a kubelet that is gone by now
      return;
    } else {
      accepted(resource, entry);
    }
    changed(resource);
  }

  void accepted(const std::string& resource, Entry& entry) {
    stats_of(resource).registrations.fetch_add(1, std::memory_order_relaxed);
    entry.pause = {};
    entry.reported.clear();
    entry.state.registered = true;
    entry.state.since_ms = system_clock().wall_ms();
    entry.state.last_error.reset();
    const Words words = options.words ? options.words(resource) : Words();
    log::info("kubelet", "registered",
              {{"resource", resource},
               {"endpoint", entry.endpoint},
               {"sharing", words.sharing},
               {"replicas", words.replicas}});
  }

  void failed(const std::string& resource, Entry& entry, Error error) {
    stats_of(resource).registration_failures.fetch_add(1, std::memory_order_relaxed);
    // The same failure again and again is one fact, not one a retry.
    if (entry.reported != error.text()) {
      entry.reported = error.text();
      error.during("registering " + resource);
      log::warn("kubelet", "not registered", error);
    }
    entry.state.registered = false;
    entry.state.last_error = std::move(error);
    retry_later(resource, entry);
  }

  void retry_later(const std::string& resource, Entry& entry) {
    entry.pause = std::clamp(entry.pause * 2, options.retry_first, options.retry_longest);
    entry.timer.expires_after(entry.pause);
    entry.timer.async_wait([weak = weak_from_this(), resource](std::error_code cancelled) {
      auto self = weak.lock();
      if (cancelled || !self || self->stopped) return;
      auto it = self->entries.find(resource);
      if (it != self->entries.end()) self->attempt(resource, *it->second);
    });
  }

  asio::io_context& loop;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>(loop);
  Options options;
  StatsOf stats_of;
  std::function<void(const std::string&)> changed;
  std::string file;
  std::unique_ptr<Follower> follower;
  std::map<std::string, std::unique_ptr<Entry>> entries;
  bool stopped = false;
};

Registrar::Registrar(asio::io_context& loop, Options options, StatsOf stats_of,
                     std::function<void(const std::string&)> changed)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(stats_of),
                                   std::move(changed))) {
  impl_->follow();
}

Registrar::~Registrar() { stop(); }

void Registrar::add(const std::string& resource, const std::string& endpoint) {
  std::unique_ptr<Entry>& entry = impl_->entries[resource];
  if (!entry) entry = std::make_unique<Entry>(impl_->loop);
  entry->endpoint = endpoint;
  impl_->attempt(resource, *entry);
}

void Registrar::remove(const std::string& resource) {
  auto it = impl_->entries.find(resource);
  if (it == impl_->entries.end()) return;
  if (it->second->in_flight) it->second->in_flight->cancel();
  impl_->entries.erase(it);
}

const Registrar::State* Registrar::find(const std::string& resource) const {
  auto it = impl_->entries.find(resource);
  return it == impl_->entries.end() ? nullptr : &it->second->state;
}

void Registrar::stop() {
  impl_->stopped = true;
  impl_->gate->close();
  impl_->follower.reset();
  for (auto& [resource, entry] : impl_->entries) {
    entry->timer.cancel();
    if (entry->in_flight) entry->in_flight->cancel();
  }
}

}  // namespace kerf::kubelet
