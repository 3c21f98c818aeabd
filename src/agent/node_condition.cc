#include "agent/node_condition.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "inventory/differ.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

namespace kerf::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::size_t kMaxMessage = 1000;
// Of a GPU that flaps, one state a second is written at most.
constexpr milliseconds kPause{1'000};
constexpr milliseconds kFirstRetry{2'000};
constexpr milliseconds kLastRetry{120'000};

std::string cut(std::string text) {
  if (text.size() > kMaxMessage) text = text.substr(0, kMaxMessage - 3) + "...";
  return valid_utf8(text);
}

std::string plural(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " GPU" : " GPUs");
}

std::string text_of(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Why this GPU or one of its MIG devices is unhealthy; "" when none is.
std::string trouble_of(const inventory::Gpu& gpu) {
  if (gpu.unhealthy) return gpu.uuid + ": " + gpu.unhealthy->detail;
  std::vector<std::string> parts;
  for (const inventory::MigDevice& device : gpu.mig_devices) {
    if (device.unhealthy) parts.push_back(device.uuid + ": " + device.unhealthy->detail);
  }
  return join(parts, "; ");
}

std::string path_of(const std::string& node) { return "/api/v1/nodes/" + kube::escape(node); }

}  // namespace

Condition condition_of(const inventory::Snapshot& snapshot, bool driver_was_ready) {
  using enum inventory::DriverState;
  const inventory::Driver& driver = snapshot.driver;
  std::string why = std::string("the driver is ") + inventory::to_string(driver.state) +
                    (driver.detail.empty() ? "" : ": " + driver.detail);
  if (driver.state == kFailed || driver.state == kStuck ||
      (driver.state == kAbsent && driver_was_ready)) {
    return {"False", "DriverLost", cut(why)};
  }
  if (driver.state == kAbsent) return {"Unknown", "NoDriver", cut(why)};
  if (snapshot.gpus.empty()) return {"Unknown", "NoGPU", "the driver shows no GPU"};
  std::vector<std::string> troubles;
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    if (std::string trouble = trouble_of(gpu); !trouble.empty()) troubles.push_back(trouble);
  }
  if (troubles.empty()) {
    return {"True", "AllGPUsHealthy", plural(snapshot.gpus.size()) + " healthy"};
  }
  return {"False", "GPUUnhealthy",
          cut(std::to_string(troubles.size()) + " of " + plural(snapshot.gpus.size()) +
              " unhealthy: " + join(troubles, "; "))};
}

std::optional<Stated> stated_condition(std::string_view node) {
  json object = json::parse(node, nullptr, false);
  if (!object.is_object()) return {};
  auto status = object.find("status");
  if (status == object.end() || !status->is_object()) return {};
  auto conditions = status->find("conditions");
  if (conditions == status->end() || !conditions->is_array()) return {};
  for (const json& each : *conditions) {
    if (!each.is_object() || text_of(each, "type") != kConditionType) continue;
    return Stated{{text_of(each, "status"), text_of(each, "reason"), text_of(each, "message")},
                  text_of(each, "lastTransitionTime")};
  }
  return {};
}

std::string condition_patch(const Condition& condition, const std::string& since,
                            const std::string& now) {
  return R"({"status":{"conditions":[{"type":)" + json_quote(kConditionType) + R"(,"status":)" +
         json_quote(condition.status) + R"(,"reason":)" + json_quote(condition.reason) +
         R"(,"message":)" + json_quote(condition.message) + R"(,"lastTransitionTime":)" +
         json_quote(since) + R"(,"lastHeartbeatTime":)" + json_quote(now) + "}]}}";
}

struct ConditionWriter::Timer {
  explicit Timer(asio::io_context& loop) : timer(loop) {}
  asio::steady_timer timer;
  bool running = false;  // nothing may be asked before it ends
};

ConditionWriter::ConditionWriter(asio::io_context& loop, const Clock& clock, Send send,
                                 std::string node, std::function<void()> changed, milliseconds look)
    : clock_(clock),
      send_(std::move(send)),
      node_(std::move(node)),
      changed_(std::move(changed)),
      look_(look),
      timer_(std::make_unique<Timer>(loop)) {}

ConditionWriter::~ConditionWriter() { *alive_ = false; }

void ConditionWriter::set(Condition condition) {
  wanted_ = std::move(condition);
  pump();
}

void ConditionWriter::pump() {
  if (busy_ || timer_->running || !wanted_) return;
  if (!known_) return read();
  if (!stated_ || stated_->condition != *wanted_) return write(*wanted_);
  look_later();
}

void ConditionWriter::pause_for(milliseconds pause) {
  timer_->running = true;
  timer_->timer.expires_after(pause);
  timer_->timer.async_wait([this, alive = alive_](std::error_code cancelled) {
    if (cancelled || !*alive) return;
    timer_->running = false;
    pump();
  });
}

// What is set meanwhile does not wait for it.
void ConditionWriter::look_later() {
  timer_->timer.expires_after(look_);
  timer_->timer.async_wait([this, alive = alive_](std::error_code cancelled) {
    if (cancelled || !*alive || busy_) return;
    known_ = false;
    pump();
  });
}

// Since when it holds must survive our restart, and nothing is written that is there already.
void ConditionWriter::read() {
  busy_ = true;
  send_({kube::Verb::kGet, path_of(node_), {}},
        [this, alive = alive_](const Result<kube::Response>& node) {
          if (!*alive) return;
          busy_ = false;
          if (!node) return failed(node.error());
          known_ = true;
          stated_ = stated_condition(node->body);
          succeeded();
        });
}

void ConditionWriter::write(const Condition& wanted) {
  busy_ = true;
  std::string now = rfc3339_ms(clock_.wall_ms());
  now = now.substr(0, now.find('.')) + "Z";
  bool same_status = stated_ && stated_->condition.status == wanted.status;
  Stated next{wanted, same_status && !stated_->since.empty() ? stated_->since : now};
  std::string patch = condition_patch(next.condition, next.since, now);
  send_({kube::Verb::kStrategicPatch, path_of(node_) + "/status", std::move(patch)},
        [this, alive = alive_, next](const Result<kube::Response>& answer) {
          if (!*alive) return;
          busy_ = false;
          if (!answer) return failed(answer.error());
          ++writes_;
          stated_ = next;
          log::info("events", "node condition set",
                    {{"type", kConditionType},
                     {"status", next.condition.status},
                     {"reason", next.condition.reason}});
          succeeded();
        });
}

void ConditionWriter::succeeded() {
  attempts_ = 0;
  if (std::exchange(error_, std::nullopt)) changed_();
  if (writes_ == 0) return pump();
  pause_for(kPause);
}

void ConditionWriter::failed(const Error& error) {
  bool news = !error_ || error_->text() != error.text();
  error_ = error;
  if (news) {
    log::warn("events", "the node condition cannot be set", error);
    changed_();
  }
  // A Node that was made anew has lost its conditions.
  if (error.kind == Kind::kNotFound) known_ = false;
  pause_for(std::min(kLastRetry, kFirstRetry * (1 << std::min(attempts_++, 6U))));
}

}  // namespace kerf::agent
