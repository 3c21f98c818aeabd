#include "agent/exporter_component.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <unistd.h>
#include <utility>

#include "agent/exporter_shares.h"
#include "agent/usage_meter.h"
#include "base/log.h"
#include "base/strings.h"
#include "exporter/attribution.h"
#include "exporter/exporter.h"
#include "exporter/selection.h"
#include "inventory/types.h"
#include "kube/client.h"
#include "nvml/library.h"
#include "pods/attribute.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

namespace kerf::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kConfigMapPause{60};
constexpr const char* kConfigMapKey = "metrics";
constexpr const char* kUntoldRemedy =
    "Set hostPID: true and mount /var/log/pods and /var/log/containers, so that it is known whose "
    "processes are; or set --shared-figures=device.";

std::string host_name(const config::ProcessOptions& process) {
  if (!process.node_name.empty()) return process.node_name;
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return {};
  return name;
}

exporter::SamplerOptions sampler_options(const config::Effective& effective) {
  const config::ProcessOptions& process = effective.process;
  const config::ExporterOptions& given = process.exporter;
  exporter::SamplerOptions out;
  out.library_candidates =
      nvml::library_candidates(process.nvml_library, effective.config.container_driver_root);
  out.interval = milliseconds(given.interval_ms);
  out.xid_window_ms = given.xid_window_ms;
  out.clock_window_ms = given.clock_window_ms;
  out.job_directory = given.job_directory;
  exporter::PageOptions& page = out.page;
  if (!given.no_hostname) page.host = host_name(process);
  page.host_label = given.hostname_label == "both"       ? exporter::HostLabel::kBoth
                    : given.hostname_label == "hostname" ? exporter::HostLabel::kLower
                                                         : exporter::HostLabel::kUpper;
  page.old_names = given.old_namespace;
  page.dashes_in_model = given.dashes_in_model;
  page.share_by_share = given.virtual_gpus;
  page.pod_uid = given.pod_uid;
  return out;
}

class ExporterComponent final : public Component {
 public:
  ExporterComponent(const config::Effective& effective, const Surroundings& surroundings,
                    exporter::Selection selection, std::unique_ptr<exporter::Exporter> exporter)
      : surroundings_(surroundings),
        process_(effective.process),
        given_(effective.process.exporter),
        selection_(std::move(selection)),
        exporter_(std::move(exporter)),
        map_timer_(surroundings.loop) {
    attribution_.pod_labels = given_.pod_labels;
    // They have been compiled once already, when the configuration was read.
    for (const std::string& pattern : given_.pod_label_patterns) {
      attribution_.patterns.emplace_back(pattern, std::regex::ECMAScript | std::regex::optimize);
    }
    const bool wants_map = given_.config_map != "none";
    if (wants_map || wants_facts()) connect(wants_map);
    if (given_.kubernetes) follow_pods(effective);
    if (wants_map) read_config_map();
  }

  void observe(const View& view) override {
    if (!view.plan) return;
    snapshot_ = view.plan->snapshot;
    if (membership_) surroundings_.usage->observe(view);
    using enum inventory::DriverState;
    const bool away = snapshot_->driver.state == kAbsent || snapshot_->driver.state == kFailed;
    // Handles of a driver that was away are worth nothing.
    if (away && !std::exchange(away_, true)) ++epoch_;
    if (!away) away_ = false;
    exporter_->set_node(exporter::select_entities(*snapshot_, selection_), !away, epoch_);
    attribute();
  }

  void stop() override {
    stopping_ = true;
    map_timer_.cancel();
    membership_.reset();
    interest_.reset();
    exporter_->stop();
  }

  std::vector<metrics::Problem> problems() const override {
    std::vector<metrics::Problem> out;
    const exporter::ExporterStats stats = exporter_->stats();
    auto add = [&](std::string what, std::string subject, std::string remedy) {
      out.push_back(
          {metrics::Severity::kDegraded, std::move(what), std::move(subject), std::move(remedy)});
    };
    if (!stats.refused.empty()) {
      add("the counter list of the metrics exporter was refused: " + stats.refused,
          given_.collectors, "Correct the list; the one before stays in force.");
    }
    if (!away_ && !stats.sampler.trouble.empty()) {
      add("the metrics exporter cannot use the driver: " + stats.sampler.trouble, "",
          "See the kernel log.");
    }
    for (const std::string& gpu : stats.sampler.unread) {
      add("a GPU does not answer the metrics exporter", gpu,
          "Its figures are left out once they are too old. See the kernel log.");
    }
    for (const std::string& gpu : untold_) {
      add("it cannot be told what each pod uses of a GPU; lines of its pods have the GPU's figures",
          gpu, kUntoldRemedy);
    }
    if (map_error_) {
      add("the ConfigMap with the counter list cannot be read: " + map_error_->what,
          given_.config_map, "The file's list is in force. " + map_error_->hint);
    }
    return out;
  }

  std::vector<metrics::Family> families() const override {
    const exporter::ExporterStats stats = exporter_->stats();
    auto family = [](const char* name, const char* help, metrics::Type type, double value) {
      metrics::Family out{name, help, type, {}, {}};
      out.samples.push_back(metrics::Sample{{}, value});
      return out;
    };
    using enum metrics::Type;
    return {
        family("kerf_exporter_scrapes_total", "Scrapes of the metrics exporter.", kCounter,
               static_cast<double>(stats.scrapes)),
        family("kerf_exporter_rounds_total", "Readings of all GPUs for the metrics exporter.",
               kCounter, static_cast<double>(stats.sampler.rounds)),
        family("kerf_exporter_failed_reads_total", "Readings of one GPU that failed.", kCounter,
               static_cast<double>(stats.sampler.failures)),
        family("kerf_exporter_round_seconds", "How long the newest reading of all GPUs took.",
               kGauge, stats.sampler.last_round_seconds),
        family("kerf_exporter_counters", "Metrics in the counter list in force.", kGauge,
               static_cast<double>(stats.counters)),
    };
  }

 private:
  bool wants_facts() const { return given_.kubernetes && (given_.pod_labels || given_.pod_uid); }

  void connect(bool wants_map) {
    auto client = surroundings_.pods->client(process_);
    if (client) {
      client_ = std::move(*client);
      return;
    }
    log::warn("exporter", "no API server: pods keep their labels and UIDs to themselves",
              client.error());
    if (wants_map) map_error_ = std::move(client.error());
  }

  void follow_pods(const config::Effective& effective) {
    const milliseconds interval =
        std::clamp(milliseconds(given_.interval_ms), milliseconds(1'000), milliseconds(30'000));
    if (given_.virtual_gpus && given_.own_figures) {
      membership_ = surroundings_.usage->join(
          effective, {interval, [this](const UsageMeter::Round& /*round*/) { attribute(); }});
    }
    interest_ =
        surroundings_.pods->follow(process_, {interval, wants_facts(), [this] { attribute(); }});
  }

  void attribute() {
    if (stopping_ || !interest_ || !snapshot_) return;
    const pods::PodsPtr pods = surroundings_.pods->current();
    auto made = std::make_shared<exporter::Attribution>();
    if (pods->state == pods::State::kCurrent) {
      *made = exporter::attribution_of(pods::attribute(*pods, *snapshot_), attribution_);
      if (membership_) tell_apart(*made);
    }
    if (pods->state != told_) {
      told_ = pods->state;
      if (pods->state == pods::State::kAbsent || pods->state == pods::State::kStale) {
        log::warn("exporter", "metrics do not say which pod holds a GPU",
                  {{"err", pods->detail}, {"socket", process_.pod_resources_socket}});
      }
    }
    exporter_->set_attribution(std::move(made));
  }

  // Gives shares the figures of their own.
  void tell_apart(exporter::Attribution& shares) {
    std::map<std::string, std::string> gpu_of;
    for (const inventory::Gpu& gpu : snapshot_->gpus) {
      for (const inventory::MigDevice& mig : gpu.mig_devices) gpu_of[mig.uuid] = gpu.uuid;
    }
    const usage::Account& account = surroundings_.usage->account();
    fill_own_figures(shares, account, gpu_of);
    std::set<std::string> untold;
    for (const auto& [uuid, gpu] : account.gpus()) {
      if (is_untold(gpu)) untold.insert(uuid);
    }
    for (const std::string& uuid : untold) {
      if (untold_.contains(uuid)) continue;
      log::warn("exporter", "lines of pods that share a GPU have the GPU's figures, not their own",
                {{"gpu", uuid}, {"hint", kUntoldRemedy}});
    }
    untold_ = std::move(untold);
  }

  void read_config_map() {
    if (!client_) return;
    const std::vector<std::string> parts = split(given_.config_map, ':');
    kube::Request request;
    request.path = "/api/v1/namespaces/" + kube::escape(parts.front()) + "/configmaps/" +
                   kube::escape(parts.back());
    client_->request(std::move(request), [this](Result<kube::Response> answer) {
      if (stopping_) return;
      take_config_map(std::move(answer));
      map_timer_.expires_after(kConfigMapPause);
      map_timer_.async_wait([this](const asio::error_code& error) {
        if (!error) read_config_map();
      });
    });
  }

  void take_config_map(Result<kube::Response> answer) {
    if (!answer) {
      if (!map_error_) log::warn("exporter", "the file's list is in force", answer.error());
      map_error_ = std::move(answer.error());
      return;
    }
    const nlohmann::json object = nlohmann::json::parse(answer->body, nullptr, false);
    const auto data = object.is_object() ? object.find("data") : object.end();
    const bool has = data != object.end() && data->is_object() && data->contains(kConfigMapKey) &&
                     data->at(kConfigMapKey).is_string();
    if (!has) {
      map_error_ =
          Error{Kind::kInvalid, "there is no text under the key metrics", given_.config_map, "", 0};
      return;
    }
    map_error_.reset();
    auto text = data->at(kConfigMapKey).get<std::string>();
    if (text == map_text_) return;
    map_text_ = text;
    exporter_->use_list(std::move(text), given_.config_map);
  }

  const Surroundings& surroundings_;
  const config::ProcessOptions process_;
  const config::ExporterOptions given_;
  const exporter::Selection selection_;
  std::unique_ptr<exporter::Exporter> exporter_;
  exporter::AttributionOptions attribution_;
  std::shared_ptr<kube::Client> client_;
  std::unique_ptr<SharedPods::Interest> interest_;
  std::unique_ptr<UsageMeter::Membership> membership_;  // where shares have figures of their own
  std::set<std::string> untold_;                        // GPUs whose shares have none
  asio::steady_timer map_timer_;
  std::optional<Error> map_error_;
  std::string map_text_;
  inventory::SnapshotPtr snapshot_;
  pods::State told_ = pods::State::kUnknown;
  bool away_ = false;
  bool stopping_ = false;
  std::uint64_t epoch_ = 0;
};

}  // namespace

Result<std::unique_ptr<Component>> make_exporter_component(const config::Effective& effective,
                                                           const Surroundings& surroundings) {
  const config::ExporterOptions& given = effective.process.exporter;
  auto selection = exporter::parse_selection(given.devices);
  if (!selection) return fail(std::move(selection.error()));
  exporter::ExporterOptions options;
  options.sampler = sampler_options(effective);
  options.address = given.address;
  options.collectors = given.collectors;
  options.ignore_unknown = given.ignore_unknown;
  options.web_config = given.web_config;
  auto started = exporter::Exporter::start(std::move(options));
  if (!started) return fail(std::move(started.error()));
  log::info("exporter", "serving metrics",
            {{"address", (*started)->address()}, {"tls", !given.web_config.empty()}});
  return std::make_unique<ExporterComponent>(effective, surroundings, std::move(*selection),
                                             std::move(*started));
}

}  // namespace kerf::agent
