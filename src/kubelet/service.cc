#include "kubelet/service.h"

#include <algorithm>
#include <map>

#include "base/log.h"
#include "base/roots.h"
#include "kubelet/events.h"
#include "kubelet/follow.h"
#include "kubelet/gate.h"
#include "kubelet/registrar.h"
#include "kubelet/transport.h"
#include "plan/plan.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kubelet {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A kubelet that drops its only stream without restarting wants to be registered with again. Waited
// for, because a restarting kubelet drops streams too; the longer, the shorter streams live, so
// that two plugins for one resource do not chase each other.
constexpr milliseconds kFirstPatience{500};
constexpr milliseconds kLongestPatience{30'000};
constexpr std::chrono::seconds kSettled{60};

// How long streams may take to end in good order, all resources together.
constexpr milliseconds kGrace{300};

// One resource that is served.
struct Served {
  explicit Served(asio::io_context& loop) : retry(loop), comeback(loop) {}

  std::string endpoint;  // socket file name
  std::string path;
  std::unique_ptr<Plugin> plugin;
  std::optional<Error> bind_error;
  asio::steady_timer retry;  // of bind
  milliseconds pause{};
  std::size_t devices = 0;
  Registrar::Words words;
  std::size_t unhealthy = 0;
  std::size_t streams = 0;
  std::size_t streams_ever = 0;
  Clock::time_point streams_since{};
  std::uint64_t streams_by = 0;  // the attempt to register that the last stream came of
  asio::steady_timer comeback;   // of the kubelet, after it dropped the last stream
  milliseconds patience = kFirstPatience;
};

std::string directory_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

struct Service::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io, Options opts, Answering make_answers, Observer observe)
      : loop(io),
        options(std::move(opts)),
        answering(std::move(make_answers)),
        observer(std::move(observe)) {
    if (options.socket_directory.empty()) {
      options.socket_directory = options.kubelet_socket.empty()
                                     ? join_path(Roots::below("").var, "lib/kubelet/device-plugins")
                                     : directory_of(options.kubelet_socket);
    }
  }

  void begin() {
    // While the driver is still being read; registering is what pods wait for after a restart.
    warm_up();
    Registrar::Options how;
    how.kubelet_socket = options.kubelet_socket;
    how.deadline = options.register_deadline;
    how.retry_first = options.retry_first;
    how.retry_longest = options.retry_longest;
    how.words = [this](const std::string& name) {
      auto found = resources.find(name);
      return found == resources.end() ? Registrar::Words() : found->second->words;
    };
    registrar = std::make_unique<Registrar>(
        loop, how, [this](const std::string& name) -> Stats& { return stats_of(name); },
        [this](const std::string& name) {
          if (auto it = resources.find(name); it != resources.end())
            mind_streams(name, *it->second);
          changed(name);
        });
    follower =
        std::make_unique<Follower>(loop, options.socket_directory,
                                   [this](const std::string& entry) { directory_changed(entry); });
  }

  Stats& stats_of(const std::string& resource) {
    std::unique_ptr<Stats>& found = stats[resource];
    if (!found) found = std::make_unique<Stats>();
    return *found;
  }

  void changed(const std::string& resource) const {
    if (observer.changed) observer.changed(resource);
  }

  void directory_changed(const std::string& entry) {
    for (auto& [resource, served] : resources) {
      if (!entry.empty() && entry != served->endpoint) continue;
      if (served->plugin->bound()) continue;
      if (!served->bind_error) {
        log::warn("kubelet", "our socket was removed", {{"socket", served->path}});
      }
      bind(resource, *served);
    }
  }

  void apply(const plan::PlanPtr& plan) {
    if (stopped) return;
    generation = plan->generation;
    for (auto it = resources.begin(); it != resources.end();) {
      bool stays = std::ranges::any_of(
          plan->resources, [&](const plan::Resource& r) { return r.name == it->first; });
      it = stays ? std::next(it) : withdraw(it);
    }
    for (std::size_t at = 0; at < plan->resources.size(); ++at) {
      const plan::Resource& resource = plan->resources[at];
      auto it = resources.find(resource.name);
      bool is_new = it == resources.end();
      if (is_new) it = advertise(resource.name);
      if (it == resources.end()) continue;
      Served& served = *it->second;
      served.devices = resource.devices.size();
      served.words = {plan::sharing_of(resource), plan::replicas_of(resource)};
      served.unhealthy = static_cast<std::size_t>(std::ranges::count_if(
          resource.devices, [](const plan::Device& device) { return !device.healthy; }));
      bool relisted = served.plugin->offer(resource.devices, answering(plan, at));
      if (is_new) {
        bind(resource.name, served);
      } else if (relisted) {
        log::info("kubelet", "device list changed",
                  {{"resource", resource.name},
                   {"devices", served.devices},
                   {"unhealthy", served.unhealthy}});
      }
      if (is_new || relisted) changed(resource.name);
    }
  }

  using Resources = std::map<std::string, std::unique_ptr<Served>>;

  Resources::iterator withdraw(Resources::iterator it) {
    std::string name = it->first;
    registrar->remove(name);
    it->second->plugin->stop(kGrace);
    it = resources.erase(it);
    log::info("kubelet", "no longer advertised", {{"resource", name}});
    changed(name);
    return it;
  }

  // Makes the plugin; it is bound once it has something to say.
  Resources::iterator advertise(const std::string& name) {
    auto served = std::make_unique<Served>(loop);
    served->endpoint = socket_name(name);
    served->path = join_path(options.socket_directory, served->endpoint);
    Plugin::Options how;
    how.resource = name;
    how.socket_path = served->path;
    how.socket_mode = options.socket_mode;
    how.stats = &stats_of(name);
    how.events = &events;
    how.streams_changed = [gate = gate, weak = weak_from_this(), name] {
      gate->post([weak, name] {
        if (auto self = weak.lock()) self->streams_changed(name);
      });
    };
    auto plugin = Plugin::start(loop, std::move(how));
    if (!plugin) {
      log::error("kubelet", "cannot serve", plugin.error().during("serving " + name));
      return resources.end();
    }
    served->plugin = std::move(*plugin);
    return resources.emplace(name, std::move(served)).first;
  }

  void bind(const std::string& name, Served& served) {
    served.retry.cancel();
    Result<bool> bound = served.plugin->bind();
    if (bound) {
      served.bind_error.reset();
      served.pause = {};
      if (!*bound) return;
      log::info("kubelet", "serving",
                {{"resource", name}, {"socket", served.path}, {"devices", served.devices}});
      registrar->add(name, served.endpoint);
    } else {
      if (!served.bind_error || served.bind_error->text() != bound.error().text()) {
        log::error("kubelet", "cannot serve", bound.error());
      }
      served.bind_error = bound.error();
      served.pause = std::clamp(served.pause * 2, options.retry_first, options.retry_longest);
      served.retry.expires_after(served.pause);
      served.retry.async_wait([weak = weak_from_this(), name](std::error_code cancelled) {
        auto self = weak.lock();
        if (cancelled || !self || self->stopped) return;
        auto it = self->resources.find(name);
        if (it != self->resources.end()) self->bind(name, *it->second);
      });
    }
    changed(name);
  }

  void streams_changed(const std::string& name) {
    auto it = resources.find(name);
    if (stopped || it == resources.end()) return;
    Served& served = *it->second;
    const std::size_t before = std::exchange(served.streams, served.plugin->streams());
    const std::size_t ever = std::exchange(served.streams_ever, served.plugin->streams_ever());
    if (ever != served.streams_ever) {  // it may have ended by now
      if (before == 0) served.streams_since = Clock::now();
      const Registrar::State* state = registrar->find(name);
      served.streams_by = state == nullptr ? 0 : state->attempts;
    }
    mind_streams(name, served);
    if (before != served.streams || ever != served.streams_ever) changed(name);
  }

  // Whether the kubelet has dropped every stream of the registration in force. It opens one before
  // it answers Register, so one can also be gone before we are registered.
  bool dropped(const std::string& name, const Served& served) const {
    const Registrar::State* state = registrar->find(name);
    return state != nullptr && state->registered && served.streams == 0 &&
           served.streams_by == state->attempts;
  }

  void mind_streams(const std::string& name, Served& served) {
    served.comeback.cancel();
    if (stopped || !dropped(name, served)) return;
    if (Clock::now() - served.streams_since >= kSettled) served.patience = kFirstPatience;
    served.comeback.expires_after(served.patience);
    served.comeback.async_wait([weak = weak_from_this(), name](std::error_code cancelled) {
      auto self = weak.lock();
      if (cancelled || !self || self->stopped) return;
      auto it = self->resources.find(name);
      if (it == self->resources.end() || !self->dropped(name, *it->second)) return;
      Served& one = *it->second;
      one.patience = std::min(one.patience * 2, kLongestPatience);
      self->registrar->add(name, one.endpoint);
    });
  }

  ServiceStatus status() const {
    ServiceStatus all;
    all.kubelet_socket = options.kubelet_socket;
    all.generation = generation;
    for (const auto& [name, served] : resources) {
      ResourceStatus one;
      one.name = name;
      one.socket = served->path;
      one.bound = !stopped && served->plugin->bound();
      one.streams = served->plugin->streams();
      one.devices = served->devices;
      one.unhealthy = served->unhealthy;
      one.updates = served->plugin->updates();
      if (const Registrar::State* state = registrar->find(name)) {
        one.registered = state->registered;
        one.registered_since_ms = state->since_ms;
        one.last_error = state->last_error;
      }
      if (served->bind_error) one.last_error = served->bind_error;
      all.resources.push_back(std::move(one));
    }
    return all;
  }

  void stop() {
    if (std::exchange(stopped, true)) return;
    follower.reset();
    registrar->stop();
    gate->close();
    events.stop();
    const Clock::time_point end = Clock::now() + kGrace;
    for (auto& [name, served] : resources) {
      served->retry.cancel();
      served->comeback.cancel();
      auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
      served->plugin->stop(std::max(left, milliseconds(0)));
    }
  }

  asio::io_context& loop;
  Options options;
  Answering answering;
  Observer observer;
  Events events{loop, observer};
  // Of every resource ever served: counters must not start over when one comes back, and calls in
  // progress may outlive their resource.
  std::map<std::string, std::unique_ptr<Stats>> stats;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>(loop);
  std::uint64_t generation = 0;
  bool stopped = false;
  Resources resources;
  std::unique_ptr<Registrar> registrar;
  std::unique_ptr<Follower> follower;
};

bool Service::ServiceStatus::ok() const {
  return std::ranges::all_of(resources, [this](const ResourceStatus& one) {
    return one.bound && (one.registered || kubelet_socket.empty());
  });
}

Service::Service(asio::io_context& loop, Options options, Answering answering, Observer observer)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(answering),
                                   std::move(observer))) {
  impl_->begin();
}

Service::~Service() { stop(); }

void Service::apply(const plan::PlanPtr& plan) { impl_->apply(plan); }
Service::ServiceStatus Service::status() const { return impl_->status(); }
std::map<std::string, const Stats*> Service::stats() const {
  std::map<std::string, const Stats*> all;
  for (const auto& [resource, stats] : impl_->stats) all.emplace(resource, stats.get());
  return all;
}
void Service::stop() { impl_->stop(); }

std::string socket_name(const std::string& resource) {
  return "nvidia-" + resource.substr(resource.find('/') + 1) + ".sock";
}

}  // namespace kerf::kubelet
