#include "agent/pod_actions.h"

#include <utility>

#include "base/log.h"
#include "base/strings.h"

namespace kerf::agent {
namespace {

constexpr std::size_t kMaxMessage = 1000;  // the API server takes 1024 bytes

std::string seconds(std::int64_t wall_ms) {
  const std::string text = rfc3339_ms(wall_ms);
  return text.substr(0, text.find('.')) + "Z";
}

std::string pods_of(const PodRef& pod) {
  return "/api/v1/namespaces/" + kube::escape(pod.name_space) + "/pods/" + kube::escape(pod.name);
}

}  // namespace

std::string pod_event_body(const PodRef& pod, const std::string& reason, const std::string& message,
                           bool warning, const std::string& node, const std::string& reporter,
                           std::int64_t now_ms) {
  auto q = [](std::string_view text) { return json_quote(text); };
  std::string text = message;
  if (text.size() > kMaxMessage) text = text.substr(0, kMaxMessage - 3) + "...";
  text = valid_utf8(text);
  std::string field;
  if (!pod.container.empty()) {
    field = R"(,"fieldPath":)" + q("spec.containers{" + pod.container + "}");
  }
  std::string uid = pod.uid.empty() ? "" : R"(,"uid":)" + q(pod.uid);
  return R"({"apiVersion":"v1","kind":"Event","metadata":{"generateName":)" + q(pod.name + ".") +
         R"(,"namespace":)" + q(pod.name_space) +
         R"(},"involvedObject":{"kind":"Pod","apiVersion":"v1","namespace":)" + q(pod.name_space) +
         R"(,"name":)" + q(pod.name) + uid + field + R"(},"reason":)" + q(reason) +
         R"(,"message":)" + q(text) + R"(,"type":)" + q(warning ? "Warning" : "Normal") +
         R"(,"count":1,"firstTimestamp":)" + q(seconds(now_ms)) + R"(,"lastTimestamp":)" +
         q(seconds(now_ms)) + R"(,"source":{"component":)" + q(reporter) + R"(,"host":)" + q(node) +
         R"(},"reportingComponent":)" + q(reporter) + R"(,"reportingInstance":)" + q(node) + "}";
}

std::string eviction_body(const PodRef& pod) {
  std::string uid;
  if (!pod.uid.empty()) {
    uid = R"(,"deleteOptions":{"preconditions":{"uid":)" + json_quote(pod.uid) + "}}";
  }
  return R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":)" +
         json_quote(pod.name) + R"(,"namespace":)" + json_quote(pod.name_space) + "}" + uid + "}";
}

PodActions::PodActions(kube::Client& client, const Clock& clock, std::string node,
                       std::string reporter)
    : client_(client), clock_(clock), node_(std::move(node)), reporter_(std::move(reporter)) {}

PodActions::~PodActions() { *alive_ = false; }

void PodActions::tell(const PodRef& pod, const std::string& reason, const std::string& message,
                      bool warning) {
  kube::Request request;
  request.verb = kube::Verb::kPost;
  request.path = "/api/v1/namespaces/" + kube::escape(pod.name_space) + "/events";
  request.body = pod_event_body(pod, reason, message, warning, node_, reporter_, clock_.wall_ms());
  client_.request(std::move(request), [this, alive = alive_](const Result<kube::Response>& answer) {
    if (!*alive) return;
    if (answer) {
      ++told_;
      error_.reset();
      return;
    }
    if (!error_) log::warn("usage", "an Event cannot be sent", answer.error());
    error_ = answer.error();
  });
}

void PodActions::evict(const PodRef& pod, Done done) {
  kube::Request request;
  request.verb = kube::Verb::kPost;
  request.path = pods_of(pod) + "/eviction";
  request.body = eviction_body(pod);
  client_.request(std::move(request),
                  [alive = alive_, done = std::move(done)](const Result<kube::Response>& answer) {
                    if (!*alive) return;
                    // Gone already, or a pod of that name with another uid.
                    const bool gone =
                        !answer && (answer.error().native == 404 || answer.error().native == 409);
                    done(answer || gone ? Status() : Status(fail(answer.error())));
                  });
}

}  // namespace kerf::agent
