#include "agent/pod_actions.h"

#include <utility>

#include "agent/kube_events.h"
#include "base/log.h"
#include "base/strings.h"

namespace kerf::agent {
namespace {

constexpr std::size_t kMaxMessage = 1000;  // the API server takes 1024 bytes

std::string pods_of(const PodRef& pod) {
  return "/api/v1/namespaces/" + kube::escape(pod.name_space) + "/pods/" + kube::escape(pod.name);
}

}  // namespace

std::string pod_event_body(const PodRef& pod, const std::string& reason, const std::string& message,
                           bool warning, const std::string& node, const std::string& reporter,
                           std::int64_t now_ms) {
  std::string text = message;
  if (text.size() > kMaxMessage) text = text.substr(0, kMaxMessage - 3) + "...";
  return event_body({reason, valid_utf8(text), warning, 1, now_ms, now_ms, pod}, node, reporter);
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
