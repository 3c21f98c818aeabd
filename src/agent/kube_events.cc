#include "agent/kube_events.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/strings.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::agent {
namespace {

using std::chrono::milliseconds;

// Events about nodes, which have no namespace, are kept in this one.
constexpr const char* kOfNodes = "default";
constexpr std::size_t kMaxMessage = 1000;  // the API server takes 1024 bytes
constexpr std::size_t kMinWaiting = 32;
constexpr milliseconds kFirstRetry{2'000};
constexpr milliseconds kLastRetry{120'000};

std::string seconds(std::int64_t wall_ms) {
  std::string text = rfc3339_ms(wall_ms);
  return text.substr(0, text.find('.')) + "Z";
}

// Trying again can help: the server was not reached, or is busy.
bool is_passing(const Error& error) {
  return error.native == 0 || error.native == 429 || error.native >= 500;
}

std::string path_of(const KubeEvent& event) {
  return "/api/v1/namespaces/" + (event.pod ? kube::escape(event.pod->name_space) : kOfNodes) +
         "/events";
}

// The object that the Event is about. kubelet and kubectl take the node's name for the uid of a
// node in Events.
std::string involved(const KubeEvent& event, const std::string& node) {
  auto q = [](std::string_view text) { return json_quote(text); };
  if (!event.pod) {
    return R"({"kind":"Node","apiVersion":"v1","name":)" + q(node) + R"(,"uid":)" + q(node) + "}";
  }
  const PodRef& pod = *event.pod;
  std::string out = R"({"kind":"Pod","apiVersion":"v1","namespace":)" + q(pod.name_space) +
                    R"(,"name":)" + q(pod.name);
  if (!pod.uid.empty()) out += R"(,"uid":)" + q(pod.uid);
  if (!pod.container.empty()) {
    out += R"(,"fieldPath":)" + q("spec.containers{" + pod.container + "}");
  }
  return out + "}";
}

}  // namespace

struct KubeEvents::Timers {
  explicit Timers(asio::io_context& loop) : filter(loop), retry(loop) {}
  asio::steady_timer filter;
  asio::steady_timer retry;
  bool retrying = false;
};

std::string event_body(const KubeEvent& event, const std::string& node,
                       const std::string& reporter) {
  auto q = [](std::string_view text) { return json_quote(text); };
  const std::string& name = event.pod ? event.pod->name : node;
  const std::string name_space = event.pod ? event.pod->name_space : kOfNodes;
  return R"({"apiVersion":"v1","kind":"Event","metadata":{"generateName":)" + q(name + ".") +
         R"(,"namespace":)" + q(name_space) + R"(},"involvedObject":)" + involved(event, node) +
         R"(,"reason":)" + q(event.reason) + R"(,"message":)" + q(event.message) + R"(,"type":)" +
         q(event.warning ? "Warning" : "Normal") + R"(,"count":)" + std::to_string(event.count) +
         R"(,"firstTimestamp":)" + q(seconds(event.first_ms)) + R"(,"lastTimestamp":)" +
         q(seconds(event.last_ms)) + R"(,"source":{"component":)" + q(reporter) + R"(,"host":)" +
         q(node) + R"(},"reportingComponent":)" + q(reporter) + R"(,"reportingInstance":)" +
         q(node) + "}";
}

KubeEvents::KubeEvents(asio::io_context& loop, const Clock& clock, kube::Client& client,
                       std::string node, std::string reporter, std::function<void()> changed,
                       EventLimits limits)
    : clock_(clock),
      client_(client),
      node_(std::move(node)),
      reporter_(std::move(reporter)),
      changed_(std::move(changed)),
      timers_(std::make_unique<Timers>(loop)),
      filter_(limits),
      max_waiting_(std::max(kMinWaiting, limits.held)) {}

KubeEvents::~KubeEvents() { *alive_ = false; }

void KubeEvents::send(std::string reason, std::string message, bool warning,
                      std::optional<PodRef> pod) {
  if (message.size() > kMaxMessage) message = message.substr(0, kMaxMessage - 3) + "...";
  filter_.happened(std::move(reason), valid_utf8(message), warning, clock_.wall_ms(),
                   std::move(pod));
  pump();
}

void KubeEvents::pump() {
  for (KubeEvent& event : filter_.take(clock_.wall_ms())) {
    if (waiting_.size() == max_waiting_) {
      waiting_.erase(waiting_.begin() + (busy_ ? 1 : 0));  // the first is on its way
      ++dropped_;
    }
    waiting_.push_back(std::move(event));
  }
  wake_at_filter();
  if (!timers_->retrying) post();
}

void KubeEvents::wake_at_filter() {
  std::optional<std::int64_t> next = filter_.next_ms();
  if (!next) return;
  timers_->filter.expires_after(milliseconds(std::max<std::int64_t>(1, *next - clock_.wall_ms())));
  timers_->filter.async_wait([this, alive = alive_](std::error_code cancelled) {
    if (!cancelled && *alive) pump();
  });
}

void KubeEvents::post() {
  if (busy_ || waiting_.empty()) return;
  busy_ = true;
  const KubeEvent& next = waiting_.front();
  client_.request({kube::Verb::kPost, path_of(next), event_body(next, node_, reporter_)},
                  [this, alive = alive_](const Result<kube::Response>& answer) {
                    if (*alive) answered(answer);
                  });
}

void KubeEvents::answered(const Result<kube::Response>& answer) {
  busy_ = false;
  bool failed_before = error_.has_value();
  error_.reset();
  if (answer) {
    ++sent_;
    attempts_ = 0;
    waiting_.pop_front();
  } else {
    error_ = answer.error();
    if (!failed_before) log::warn("events", "Events cannot be sent", *error_);
    // What was refused for good would be refused again.
    if (!is_passing(*error_) && !waiting_.empty()) {
      waiting_.pop_front();
      ++dropped_;
    }
    milliseconds pause = std::min(kLastRetry, kFirstRetry * (1 << std::min(attempts_++, 6U)));
    timers_->retrying = true;
    timers_->retry.expires_after(pause);
    timers_->retry.async_wait([this, alive = alive_](std::error_code cancelled) {
      if (cancelled || !*alive) return;
      timers_->retrying = false;
      pump();
    });
  }
  if (failed_before != error_.has_value()) changed_();
  if (!timers_->retrying) post();
}

}  // namespace kerf::agent
