// Labels follow the plan: made anew when it changes, written when they differ from what was
// written. A driver that fails or hangs changes nothing, so that a hiccup moves no pod; neither
// does a GPU that is lost. From time to time (flags.gfd.sleepInterval) it is made sure that nobody
// else changed what was written.
#include "agent/labels_component.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <optional>
#include <unistd.h>
#include <utility>

#include "agent/api_client.h"
#include "base/log.h"
#include "config/duration.h"
#include "kube/client.h"
#include "labels/facts.h"
#include "labels/file.h"
#include "labels/publish.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1'000};
constexpr milliseconds kLastRetry{60'000};

// Where labels go.
struct Place {
  enum class Kind { kStdout, kFile, kNodeFeature, kNode };
  Kind kind = Kind::kStdout;
  std::string file;
  bool operator==(const Place&) const = default;

  bool needs_api() const { return kind == Kind::kNodeFeature || kind == Kind::kNode; }
};

Place place_of(const config::LabelOptions& options) {
  if (options.node_labels) return {Place::Kind::kNode, ""};
  if (options.use_node_feature_api) return {Place::Kind::kNodeFeature, ""};
  if (options.output_file.empty()) return {Place::Kind::kStdout, ""};
  return {Place::Kind::kFile, options.output_file};
}

Status check(const config::Effective& effective) {
  if (!place_of(effective.config.labels).needs_api() || !effective.process.node_name.empty()) {
    return {};
  }
  return fail(Kind::kInvalid, "required flag node-name not set", "--node-name",
              "set NODE_NAME from the field spec.nodeName, or useNodeFeatureAPI to false");
}

// The process has nothing to do but labels.
bool is_alone(const config::ProcessOptions& process) {
  return std::ranges::all_of(process.components, [](const std::string& name) {
    return name == "labels" || name == "http";
  });
}

Status print(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("cannot write to the standard output", "", errno);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

class LabelsComponent final : public Component {
 public:
  explicit LabelsComponent(const Surroundings& surroundings)
      : surroundings_(surroundings), timer_(surroundings.loop) {}

  void observe(const View& view) override {
    if (!view.plan) return;
    plan_ = view.plan;
    if (view.configured_ms != configured_ms_) configure(view);
    if (done_) return;
    relabel();
    put(false);
  }

  void stop() override {
    timer_.cancel();
    client_.reset();
    publisher_.reset();
    const config::LabelOptions& options = plan_ ? plan_->config.labels : config::LabelOptions();
    bool lasting = options.oneshot || options.interval_ns == config::kForever;
    if (plan_ && !lasting) leave(place_);
  }

  std::vector<metrics::Problem> problems() const override {
    std::vector<metrics::Problem> out;
    auto add = [&out](const char* what, const std::optional<Error>& error) {
      if (!error) return;
      std::string remedy = error->hint.empty() ? "It is tried again." : error->hint + ".";
      remedy.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(remedy.front())));
      out.push_back({metrics::Severity::kDegraded, std::string(what) + ": " + error->what,
                     error->subject, std::move(remedy)});
    };
    add("node labels cannot be made, the last ones stay", make_error_);
    add("node labels cannot be set", put_error_);
    return out;
  }

  std::vector<metrics::Family> families() const override {
    metrics::Family labels{"kerf_labels",
                           "Node labels that were set last.",
                           metrics::Type::kGauge,
                           {{{}, written_ ? static_cast<double>(written_->size()) : 0}},
                           {}};
    metrics::Family writes{"kerf_label_writes_total",
                           "Attempts to set the node's labels that wrote something or failed.",
                           metrics::Type::kCounter,
                           {{{{"result", "ok"}}, static_cast<double>(writes_)},
                            {{{"result", "failed"}}, static_cast<double>(failures_)}},
                           {}};
    return {labels, writes};
  }

 private:
  void configure(const View& view) {
    configured_ms_ = view.configured_ms;
    process_ = view.effective.process;
    // What is under way belongs to the configuration before.
    client_.reset();
    publisher_.reset();
    timer_.cancel();
    busy_ = again_ = done_ = false;
    Place next = place_of(plan_->config.labels);
    if (next != place_) {
      leave(place_);
      written_.reset();
    }
    place_ = std::move(next);
    retry_ = kFirstRetry;
    look();
  }

  void look() {
    labels::Found found =
        labels::read_facts(surroundings_.roots, plan_->config.labels.machine_type_file);
    facts_ = std::move(found.facts);
    // Expected without privileges: no more than a note.
    if (found.warnings != fact_warnings_) {
      for (const std::string& warning : found.warnings) log::info("labels", warning);
    }
    fact_warnings_ = std::move(found.warnings);
  }

  static void warn(std::vector<std::string> now, std::vector<std::string>& before) {
    if (now == before) return;
    for (const std::string& warning : now) log::warn("labels", warning);
    before = std::move(now);
  }

  // Makes the labels anew if what is known may be trusted.
  void relabel() {
    using enum inventory::DriverState;
    inventory::DriverState state = plan_->snapshot->driver.state;
    driver_seen_ |= state == kReady;
    if (state != kReady && (driver_seen_ || state != kAbsent)) return;
    Result<labels::Made> made = labels::make_labels(*plan_, facts_, configured_ms_ / 1000);
    if (!made) {
      if (!make_error_ || make_error_->text() != made.error().text()) {
        log::error("labels", "labels cannot be made, the last ones stay", made.error());
      }
      make_error_ = std::move(made.error());
      if (ends_after_once()) surroundings_.end(1);
      return;
    }
    make_error_.reset();
    labels_ = std::move(made->labels);
    made_ = true;
    warn(std::move(made->warnings), label_warnings_);
  }

  // `verify`: also when they were written before.
  void put(bool verify) {
    if (!made_) return;
    if (busy_) {
      again_ |= verify || labels_ != sent_;
      return;
    }
    if (!verify && labels_ == written_) return;
    sent_ = labels_;
    switch (place_.kind) {
      case Place::Kind::kStdout:
        return put_stdout();
      case Place::Kind::kFile:
        return settle(labels::put_file(place_.file, labels_));
      case Place::Kind::kNodeFeature:
      case Place::Kind::kNode:
        return put_object();
    }
  }

  void put_stdout() {
    if (labels_ == written_) return settle(false);
    Status printed = print(labels::to_text(labels_));
    printed ? settle(true) : settle(fail(std::move(printed.error())));
  }

  void put_object() {
    if (!publisher_) {
      if (Status ready = connect(); !ready) return settle(fail(std::move(ready.error())));
    }
    busy_ = true;
    publisher_->put(labels_, [this](Result<bool> wrote) {
      busy_ = false;
      settle(std::move(wrote));
      if (std::exchange(again_, false) && !done_) put(true);
    });
  }

  Status connect() {
    if (Status named = needs_node_name(process_); !named) return named;
    Result<kube::Access> access = find_api(process_);
    if (!access) return fail(std::move(access.error()));
    labels::Target target;
    target.node = process_.node_name;
    target.name_space = process_.name_space.empty() ? access->name_space : process_.name_space;
    target.pod = process_.pod_name;
    target.node_itself = place_.kind == Place::Kind::kNode;
    client_ = std::make_unique<kube::Client>(surroundings_.loop, std::move(*access),
                                             api_options(process_, surroundings_.version));
    publisher_ = std::make_unique<labels::Publisher>(
        [this](kube::Request request, kube::Answer done) {
          client_->request(std::move(request), std::move(done));
        },
        std::move(target));
    return {};
  }

  // What became of the labels sent.
  void settle(Result<bool> wrote) {
    if (!wrote) return settle_failed(std::move(wrote.error()));
    if (*wrote) {
      ++writes_;
      log::info("labels", "set", {{"labels", sent_.size()}, {"in", place_name()}});
      surroundings_.note(metrics::EventLevel::kInfo,
                         std::to_string(sent_.size()) + " node labels set");
    }
    written_ = sent_;
    put_error_.reset();
    retry_ = kFirstRetry;
    if (plan_->config.labels.oneshot) {
      done_ = true;
      timer_.cancel();
      if (ends_after_once()) surroundings_.end(0);
    } else if (std::int64_t interval = plan_->config.labels.interval_ns;
               interval != config::kForever) {
      milliseconds pause(interval / 1'000'000);
      wake_after(std::max(pause, milliseconds(1'000)));
    }
    surroundings_.changed();
  }

  void settle_failed(Error error) {
    ++failures_;
    written_.reset();
    if (!put_error_ || put_error_->text() != error.text()) {
      log::error("labels", "labels cannot be set", error);
    }
    put_error_ = std::move(error);
    if (ends_after_once()) return surroundings_.end(1);
    // What is not there will hardly come within seconds.
    bool slow = place_.needs_api() && put_error_->kind == Kind::kNotFound;
    wake_after(slow ? kLastRetry : retry_);
    retry_ = std::min(2 * retry_, kLastRetry);
    surroundings_.changed();
  }

  void wake_after(milliseconds pause) {
    timer_.expires_after(pause);
    timer_.async_wait([this](std::error_code cancelled) {
      if (cancelled) return;
      look();
      relabel();
      put(true);
    });
  }

  bool ends_after_once() const { return plan_->config.labels.oneshot && is_alone(process_); }

  std::string place_name() const {
    switch (place_.kind) {
      case Place::Kind::kStdout:
        return "standard output";
      case Place::Kind::kFile:
        return place_.file;
      case Place::Kind::kNodeFeature:
        return "NodeFeature";
      case Place::Kind::kNode:
        return "Node";
    }
    return "";
  }

  // A feature file outlives nobody; objects stay, so that a restart changes no label.
  static void leave(const Place& place) {
    if (place.kind != Place::Kind::kFile) return;
    if (Status removed = labels::remove_file(place.file); !removed) {
      log::warn("labels", "the feature file stays", {{"err", removed.error().text()}});
    }
  }

  const Surroundings& surroundings_;
  asio::steady_timer timer_;
  plan::PlanPtr plan_;
  config::ProcessOptions process_;
  std::int64_t configured_ms_ = -1;
  Place place_;
  labels::Facts facts_;
  bool driver_seen_ = false;
  bool done_ = false;                      // oneshot
  bool made_ = false;                      // labels_ is known
  labels::Labels labels_;                  // as they should be
  labels::Labels sent_;                    // by the last attempt
  std::optional<labels::Labels> written_;  // by the last attempt, if it succeeded
  std::optional<Error> make_error_;
  std::optional<Error> put_error_;
  std::vector<std::string> fact_warnings_;
  std::vector<std::string> label_warnings_;
  milliseconds retry_ = kFirstRetry;
  bool busy_ = false;
  bool again_ = false;
  std::uint64_t writes_ = 0;
  std::uint64_t failures_ = 0;
  std::unique_ptr<kube::Client> client_;  // before publisher_: nothing comes back once it is gone
  std::unique_ptr<labels::Publisher> publisher_;
};

}  // namespace

Result<std::unique_ptr<Component>> make_labels_component(const config::Effective& effective,
                                                         const Surroundings& surroundings) {
  if (Status ok = check(effective); !ok) return fail(std::move(ok.error()));
  return std::make_unique<LabelsComponent>(surroundings);
}

}  // namespace kerf::agent
