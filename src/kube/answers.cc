#include "kube/answers.h"

#include <vector>

#include "base/strings.h"

#include <nlohmann/json.hpp>

namespace kerf::kube {
namespace {

constexpr std::size_t kMaxMessage = 400;

// `message` of a Status object; nothing of any other body, which may be a page of a proxy.
std::string message_of(std::string_view body) {
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains("message") || !json["message"].is_string()) return {};
  std::string text = json["message"].get<std::string>();
  if (text.size() > kMaxMessage) text.resize(kMaxMessage);
  return valid_utf8(text);
}

Kind kind_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return Kind::kDenied;
    case 404:
      return Kind::kNotFound;
    case 409:
      return Kind::kConflict;
    case 410:
      return Kind::kGone;
    case 429:
    case 503:
    case 504:
      return Kind::kBusy;
    default:
      break;
  }
  if (status >= 300 && status < 400) return Kind::kUnsupported;
  return status < 500 ? Kind::kInvalid : Kind::kInternal;
}

std::string hint_of(Verb verb, std::string_view path, int status) {
  switch (kind_of(status)) {
    case Kind::kDenied:
      return status == 401 ? "the token or client certificate is not accepted: is the service "
                             "account's token mounted and for this cluster?"
                           : "allow it in the ClusterRole: " + permission(verb, path);
    case Kind::kNotFound:
      return "check that the object's name is right and its kind is installed";
    case Kind::kConflict:
      return "somebody else has changed it; it will be read anew";
    case Kind::kUnsupported:
      return "give the API server's own address; redirects are not followed";
    case Kind::kBusy:
    case Kind::kInternal:
      return "see the API server's log if this lasts";
    default:
      return {};
  }
}

}  // namespace

std::string title(Verb verb, std::string_view path) {
  return std::string(to_string(verb)) + " " + std::string(path.substr(0, path.find('?')));
}

std::string permission(Verb verb, std::string_view path) {
  bool watches = path.find("watch=") != std::string_view::npos;
  std::vector<std::string> parts = split(path.substr(0, path.find('?')), '/');
  // "", "api", "v1", … or "", "apis", group, version, …
  bool core = parts.size() > 2 && parts[1] == "api";
  std::string group = !core && parts.size() > 3 ? parts[2] : "";
  std::size_t at = core ? 3 : 4;
  if (parts.size() > at + 2 && parts[at] == "namespaces") at += 2;
  if (parts.size() <= at) return std::string(path);
  std::string resource = parts[at];
  if (!group.empty()) resource += "." + group;
  bool named = parts.size() > at + 1;
  if (parts.size() > at + 2) resource += "/" + parts[at + 2];
  std::string_view word = verb == Verb::kPost  ? "create"
                          : verb == Verb::kPut ? "update"
                          : verb != Verb::kGet ? "patch"
                          : named              ? "get"
                          : watches            ? "watch"
                                               : "list";
  return std::string(word) + " on " + resource;
}

Error refusal(Verb verb, std::string_view path, const std::string& server, int status,
              std::string_view body) {
  std::string what = title(verb, path) + " was answered " + std::to_string(status);
  if (std::string message = message_of(body); !message.empty()) what += ": " + message;
  return {kind_of(status), std::move(what), server, hint_of(verb, path, status), status};
}

}  // namespace kerf::kube
