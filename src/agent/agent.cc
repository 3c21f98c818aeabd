#include "agent/agent.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <malloc.h>
#include <memory>
#include <signal.h>
#include <span>
#include <sys/signalfd.h>
#include <utility>

#include "agent/cdi_specs.h"
#include "agent/component.h"
#include "agent/config_source.h"
#include "agent/counters.h"
#include "agent/health_settings.h"
#include "agent/host_facts.h"
#include "agent/mps_gate.h"
#include "agent/named_config.h"
#include "agent/node.h"
#include "agent/steps.h"
#include "agent/usage_meter.h"
#include "allocate/allocate.h"
#include "allocate/preferred.h"
#include "base/files.h"
#include "base/log.h"
#include "base/own_code.h"
#include "base/strings.h"
#include "health/watcher.h"
#include "http/site.h"
#include "kubelet/service.h"
#include "nvml/library.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::agent {
namespace {

// By then the kubelet knows us and has called.
constexpr std::chrono::seconds kSettled{1};

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP}) sigaddset(&set, number);
  return set;
}

// From now on SIGTERM, SIGINT and SIGQUIT end the process at once, wherever it is. A handler,
// because the first process of a container has no default action for them.
void end_on_next_signal() {
  struct sigaction action{};
  action.sa_handler = [](int) { _exit(1); };
  sigset_t set = handled_signals();
  sigdelset(&set, SIGHUP);
  for (int number : {SIGTERM, SIGINT, SIGQUIT}) sigaction(number, &action, nullptr);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

class Agent {
 public:
  explicit Agent(Launch launch)
      : version_(launch.version),
        compatibility_(std::move(launch.compatibility)),
        source_(std::move(launch.flags), std::move(launch.env)),
        node_(system_clock(), version_) {}

  int run();

 private:
  // Start-up, in this order; each has its tear-down in run().
  Status read_configuration();
  Status listen_for_signals();
  Status start_watcher();
  Status start_service();
  Status start_components();
  Status start_pages();
  Status start_choosing();

  void on_signal(int number);
  void on_snapshot(inventory::SnapshotPtr snapshot);
  bool gives_up(const inventory::Driver& driver);
  void reload();
  void refuse(const Error& error);
  void tell_refused(const Error& error);
  void apply();
  void publish();
  kubelet::Answers answers(const plan::PlanPtr& plan, std::size_t resource) const;
  kubelet::Observer observer();
  metrics::NodeStatus status() const;
  std::string scrape() const;
  bool has_component(std::string_view name) const;
  void end(int exit_status);

  std::string version_;
  std::string compatibility_;
  asio::io_context loop_{1};
  ConfigSource source_;
  Node node_;
  Roots roots_;
  std::shared_ptr<FactsCell> host_facts_ = std::make_shared<FactsCell>();
  std::unique_ptr<asio::posix::stream_descriptor> signals_;
  signalfd_siginfo signal_{};
  std::unique_ptr<health::Watcher> watcher_;
  std::unique_ptr<kubelet::Service> service_;
  std::unique_ptr<CdiSpecs> cdi_specs_;
  std::unique_ptr<MpsGate> mps_gate_;  // with the component devices
  std::unique_ptr<Surroundings> surroundings_;
  std::vector<std::unique_ptr<Component>> components_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<NamedConfig> named_;  // with --config-file-srcdir
  bool ending_ = false;
  int exit_status_ = 0;
};

int Agent::run() {
  Steps steps(system_clock());
  auto start = [&]() -> Status {
    if (auto s = steps.run("reading the configuration", [&] { return read_configuration(); }); !s) {
      return s;
    }
    if (auto s = steps.run(
            "listening for signals", [&] { return listen_for_signals(); },
            [&] { signals_.reset(); });
        !s) {
      return s;
    }
    if (auto s = steps.run(
            "starting the driver watch", [&] { return start_watcher(); },
            [&] { watcher_->stop(); });
        !s) {
      return s;
    }
    if (auto s = steps.run(
            "serving the kubelet", [&] { return start_service(); },
            [&] {
              mps_gate_.reset();
              service_->stop();
              cdi_specs_->stop();
            });
        !s) {
      return s;
    }
    if (auto s = steps.run(
            "starting components", [&] { return start_components(); },
            [&] {
              for (auto& component : components_) component->stop();
            });
        !s) {
      return s;
    }
    if (auto s = steps.run(
            "serving pages", [&] { return start_pages(); },
            [&] {
              if (server_) server_->stop();
            });
        !s) {
      return s;
    }
    if (node_.effective().process.config_srcdir.empty()) return {};
    return steps.run(
        "following the node's label", [&] { return start_choosing(); }, [&] { named_.reset(); });
  };
  if (Status started = start(); !started) {
    log::error("agent", "error starting plugins", started.error());
    return 1;
  }
  source_.watch(loop_, node_.effective().process.config_file, [this] { reload(); });
  asio::steady_timer settled(loop_, kSettled);
  settled.async_wait([](std::error_code cancelled) {
    if (!cancelled) let_go_of_idle_code();
  });
  loop_.run();
  source_.stop();
  steps.tear_down();
  log::info("agent", "stopped", {{"status", exit_status_}});
  return exit_status_;
}

Status Agent::read_configuration() {
  Result<config::Effective> effective = source_.load();
  if (!effective) return fail(std::move(effective.error()).during("unable to load config"));
  const config::ProcessOptions& process = effective->process;
  Result<log::Level> level = log::parse_level(process.log_level);
  if (!level) return fail(std::move(level.error()));
  Result<log::Format> format = log::parse_format(process.log_format);
  if (!format) return fail(std::move(format.error()));
  log::set_level(*level);
  log::set_format(*format);
  for (const config::Diagnostic& finding : effective->findings) {
    log::warn("config", finding.message, {{"at", finding.where()}, {"hint", finding.hint}});
  }
  roots_ = Roots::below(process.root);
  std::string from = process.config_file.empty() ? "defaults" : process.config_file;
  log::info(
      "agent", "starting",
      {{"version", version_}, {"config", from}, {"components", join(process.components, ",")}});
  if (auto facts = host_facts(roots_, effective->config); !facts) {
    return fail(std::move(facts.error()));
  }
  if (process.config_srcdir.empty()) return node_.configure(*effective, from);
  if (!process.config_file.empty()) {
    log::warn("config", "--config-file (CONFIG_FILE) is ignored",
              {{"hint", "--config-file-srcdir (CONFIG_FILE_SRCDIR) goes before it"}});
    source_.use_file("");
    effective = source_.load();
    if (!effective) return fail(std::move(effective.error()).during("unable to load config"));
  }
  node_.prepare(*effective);
  return {};
}

// The configuration follows once the node's label is known.
Status Agent::start_choosing() {
  auto options = named_config_options(node_.effective().process, version_);
  if (!options) return fail(std::move(options.error()));
  auto chosen = [this](const std::string& path) {
    source_.use_file(path);
    reload();
    source_.watch(loop_, path, [this] { reload(); });
  };
  named_ = std::make_unique<NamedConfig>(
      loop_, std::move(*options),
      NamedConfigHandlers{chosen, [] {}, [this] { publish(); }, [](const Error&) {}});
  return {};
}

Status Agent::listen_for_signals() {
  sigset_t set = handled_signals();
  Fd fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return fail_errno("cannot receive signals", "signalfd", errno);
  signals_ = std::make_unique<asio::posix::stream_descriptor>(loop_, fd.release());
  auto wait = [this](auto& self) -> void {
    signals_->async_read_some(asio::buffer(&signal_, sizeof signal_),
                              [this, self](std::error_code error, std::size_t) mutable {
                                if (error) return;
                                on_signal(static_cast<int>(signal_.ssi_signo));
                                self(self);
                              });
  };
  wait(wait);
  return {};
}

Status Agent::start_watcher() {
  const config::Effective& effective = node_.effective();
  health::WatcherOptions options;
  options.library_candidates = nvml::library_candidates(effective.process.nvml_library,
                                                        effective.config.container_driver_root);
  options.roots = roots_;
  options.settings = health_settings(effective.config);
  if (has_component("devices")) {
    options.state_directory = state_directory(effective.process, roots_);
  }
  watcher_ = std::make_unique<health::Watcher>(std::move(options));
  return watcher_->start(
      [this](std::function<void()> work) { asio::post(loop_, std::move(work)); },
      [this](inventory::SnapshotPtr snapshot) { on_snapshot(std::move(snapshot)); });
}

Status Agent::start_service() {
  kubelet::Service::Options options;
  options.kubelet_socket = node_.effective().process.kubelet_socket;
  cdi_specs_ = std::make_unique<CdiSpecs>(loop_, roots_, [this](allocate::CdiFacts found) {
    allocate::HostFacts facts = *host_facts_->get();
    facts.cdi = std::move(found);
    host_facts_->set(std::move(facts));
    publish();
  });
  if (has_component("devices")) {
    mps_gate_ = std::make_unique<MpsGate>(loop_, node_, [this] { apply(); });
  }
  service_ = std::make_unique<kubelet::Service>(
      loop_, std::move(options),
      [this](const plan::PlanPtr& plan, std::size_t resource) { return answers(plan, resource); },
      observer());
  return {};
}

Status Agent::start_components() {
  auto pods = std::make_shared<SharedPods>(loop_, version_);
  surroundings_ = std::make_unique<Surroundings>(
      loop_, roots_, version_,
      [this](metrics::EventLevel level, std::string text) { node_.note(level, std::move(text)); },
      [this] { publish(); }, [this](int exit_status) { end(exit_status); },
      [this](std::span<const ContainerDevices> held, std::int64_t asked_ms) {
        node_.pod_resources(held, asked_ms);
      },
      pods, std::make_shared<UsageMeter>(loop_, roots_, pods));
  const config::Effective& effective = node_.effective();
  auto made = make_components(effective.process.components, effective, *surroundings_);
  if (!made) return fail(std::move(made.error()));
  components_ = std::move(*made);
  return {};
}

Status Agent::start_pages() {
  const std::string& address = node_.effective().process.listen;
  if (address == "none" || !has_component("http")) return {};
  auto site = http::make_site({[this] { return status(); }, [this] { return scrape(); }});
  Result<std::unique_ptr<http::Server>> server = http::Server::listen(loop_, address, site);
  if (!server) return fail(std::move(server.error()));
  server_ = std::move(*server);
  log::info("http", "listening", {{"address", server_->address()}});
  return {};
}

bool Agent::has_component(std::string_view name) const {
  for (const std::string& each : node_.effective().process.components) {
    if (each == name) return true;
  }
  return false;
}

void Agent::on_signal(int number) {
  if (number == SIGHUP) {
    log::info("agent", "reloading on SIGHUP");
    reload();
    watcher_->refresh();
    return;
  }
  if (ending_) return;
  end_on_next_signal();
  log::info("agent", "ending", {{"signal", number}});
  end(0);
}

void Agent::end(int exit_status) {
  ending_ = true;
  exit_status_ = exit_status;
  loop_.stop();
}

void Agent::on_snapshot(inventory::SnapshotPtr snapshot) {
  if (ending_) return;
  const inventory::Driver& driver = snapshot->driver;
  using enum inventory::DriverState;
  bool first = node_.configured() && node_.plan() == nullptr;
  if (first && gives_up(driver)) return;
  if (first && driver.state != kReady) {
    log::warn("agent",
              driver.state == kAbsent ? "no driver, waiting for one"
                                      : "the driver does not work, waiting until it does",
              {{"err", driver.detail}});
  } else if (first && snapshot->gpus.empty()) {
    log::info("agent", "No devices found. Waiting indefinitely.");
  }
  node_.observe(std::move(snapshot));
  apply();
}

bool Agent::gives_up(const inventory::Driver& driver) {
  using enum inventory::DriverState;
  bool broken = driver.state == kAbsent || driver.state == kFailed;
  if (!broken || !node_.effective().config.fail_on_init_error) return false;
  log::error(
      "agent", "error starting plugins: failed to initialize NVML",
      {{"err", driver.detail},
       {"hint", "set --fail-on-init-error=false (FAIL_ON_INIT_ERROR) to wait for a driver"}});
  end(1);
  return true;
}

void Agent::reload() {
  if (named_ && !named_->chosen()) return;  // SIGHUP before there is anything to load
  Result<config::Effective> effective = source_.load();
  if (!effective) return refuse(effective.error());
  for (const config::Diagnostic& finding : effective->findings) {
    log::warn("config", finding.message, {{"at", finding.where()}, {"hint", finding.hint}});
  }
  if (auto facts = host_facts(roots_, effective->config); !facts) return refuse(facts.error());
  bool other_library =
      effective->config.container_driver_root != node_.effective().config.container_driver_root;
  const std::string& file = effective->process.config_file;
  bool first = !node_.configured();
  bool other_health = effective->config.health != node_.effective().config.health;
  if (Status done = node_.configure(*effective, file.empty() ? "defaults" : file); !done) {
    log::error("config", "refused, the one before stays in force", done.error());
    tell_refused(done.error());
    publish();
    return;
  }
  if (first && node_.plan() && gives_up(node_.plan()->snapshot->driver)) return;
  log::info("config", "reloaded", {{"file", file}});
  if (other_library) {
    log::warn("config", "flags.plugin.containerDriverRoot takes effect at the next start");
  }
  if (other_health) watcher_->configure(health_settings(node_.effective().config));
  apply();
}

void Agent::refuse(const Error& error) {
  log::error("config", "refused, the one before stays in force", error);
  node_.refuse(error);
  tell_refused(error);
  publish();
}

void Agent::tell_refused(const Error& error) {
  for (auto& component : components_) component->configuration_refused(error.text());
}

void Agent::apply() {
  if (!node_.plan() || !service_) return;
  allocate::HostFacts known = *host_facts_->get();
  if (auto facts = host_facts(roots_, node_.effective().config)) {
    known = std::move(*facts);
  } else {
    log::error("agent", "what was found before is given out further", facts.error());
    node_.note(metrics::EventLevel::kError, facts.error().text());
  }
  if (has_component("devices")) known.cdi = cdi_specs_->apply(node_.plan(), known.imex_channels);
  host_facts_->set(std::move(known));
  if (has_component("devices")) service_->apply(node_.plan());
  if (mps_gate_) mps_gate_->follow(*node_.plan());
  for (auto& component : components_) {
    component->observe({node_.plan(), node_.effective(), node_.config_stats().last_success_ms});
  }
  publish();
}

void Agent::publish() {
  if (server_) server_->publish();
}

kubelet::Answers Agent::answers(const plan::PlanPtr& plan, std::size_t resource) const {
  auto index = std::make_shared<const allocate::Index>(plan, resource);
  return {[index, facts = host_facts_](std::span<const std::string_view> ids) {
            return allocate::allocate(*index, ids, *facts->get());
          },
          [index](std::span<const std::string_view> available,
                  std::span<const std::string_view> must_include, std::int32_t size) {
            return allocate::preferred(*index, available, must_include, size);
          }};
}

kubelet::Observer Agent::observer() {
  kubelet::Observer observer;
  observer.allocated = [this](const kubelet::Observer::Allocation& allocation) {
    node_.allocated(allocation.resource, allocation.ids, allocation.error);
    publish();
  };
  observer.available = [this](std::string_view resource,
                              std::span<const std::string_view> available) {
    node_.available(resource, available);
    publish();
  };
  observer.changed = [this](const std::string&) { publish(); };
  return observer;
}

metrics::NodeStatus Agent::status() const {
  metrics::NodeStatus out = node_.status();
  if (has_component("devices")) add_kubelet(service_->status(), out);
  if (cdi_specs_) std::ranges::copy(cdi_specs_->problems(), std::back_inserter(out.problems));
  if (std::optional<Error> problem = named_ ? named_->problem() : std::nullopt) {
    out.problems.push_back(
        {node_.configured() ? metrics::Severity::kDegraded : metrics::Severity::kWaiting,
         "the configuration that the node's label names is not in force: " + problem->what,
         problem->subject, problem->hint.empty() ? "" : problem->hint + "."});
  }
  for (const auto& component : components_) {
    component->describe(out);
    for (metrics::Problem& problem : component->problems()) {
      out.problems.push_back(std::move(problem));
    }
  }
  return out;
}

std::string Agent::scrape() const {
  metrics::AgentCounters counters;
  counters.compatibility = compatibility_;
  counters.advertises = has_component("devices");
  counters.config = node_.config_stats();
  counters.http = http_stats(server_->stats());
  add_kubelet(*service_, counters);
  add_driver(watcher_->stats(), counters);
  std::vector<metrics::Family> families = metrics::agent_metrics(
      status(), counters, metrics::read_process_stats(Roots::below("/").proc));
  if (cdi_specs_) std::ranges::move(cdi_specs_->families(), std::back_inserter(families));
  for (const auto& component : components_) {
    for (metrics::Family& family : component->families()) families.push_back(std::move(family));
  }
  return metrics::render(families);
}

}  // namespace

int serve(Launch launch) {
  // Before the first thread: they all inherit the mask, and the loop alone reads the signals.
  sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // An arena a thread would be memory that is never used again.
  mallopt(M_ARENA_MAX, 2);
  return Agent(std::move(launch)).run();
}

}  // namespace kerf::agent
