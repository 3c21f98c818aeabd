#include "kube/wire.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <utility>

#include "base/strings.h"
#include "kube/answers.h"

namespace kerf::kube {
namespace {

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string_view content_type(Verb verb) {
  if (verb == Verb::kMergePatch) return "application/merge-patch+json";
  if (verb == Verb::kStrategicPatch) return "application/strategic-merge-patch+json";
  return "application/json";
}

}  // namespace

std::string_view to_string(Verb verb) {
  switch (verb) {
    case Verb::kGet:
      return "GET";
    case Verb::kPost:
      return "POST";
    case Verb::kPut:
      return "PUT";
    case Verb::kMergePatch:
    case Verb::kStrategicPatch:
      return "PATCH";
  }
  return "GET";
}

std::string escape(std::string_view text) {
  constexpr std::string_view kKept = "-._~";
  std::string out;
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 kKept.find(c) != std::string_view::npos;
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += plain ? std::string(1, c) : std::string(code);
  }
  return out;
}

Result<std::string> TokenSource::get() {
  auto now = std::chrono::steady_clock::now();
  if (known_ && (material_.file.empty() || now - read_at_ < max_age_)) return cached_;
  Result<std::string> text = material_.read();
  if (!text && known_) return cached_;
  if (!text) return fail(std::move(text.error()).during("cannot read the token"));
  std::string_view token = trim(*text);
  if (!is_visible(token)) {
    return fail(Kind::kInvalid, "the token has characters that no token has",
                material_.file.empty() ? "kubeconfig" : material_.file, "write the token alone");
  }
  cached_ = token;
  known_ = true;
  read_at_ = now;
  return cached_;
}

bool TokenSource::renew() {
  if (material_.file.empty()) return false;
  read_at_ = std::chrono::steady_clock::now() - max_age_;
  return true;
}

Result<std::string> render_request(const Access& access, const ClientOptions& options,
                                   TokenSource& token, const Request& request) {
  if (!request.path.starts_with('/') || !is_visible(request.path)) {
    return fail(Kind::kInvalid, title(request.verb, valid_utf8(request.path)) + " is no request",
                access.url(), "begin the path with / and escape what is special");
  }
  Result<std::string> bearer = token.get();
  if (!bearer) return fail(std::move(bearer.error()));
  bool ipv6 = access.host.find(':') != std::string::npos;
  std::string out = std::string(to_string(request.verb)) + " " + access.base_path + request.path +
                    " HTTP/1.1\r\nHost: " + (ipv6 ? "[" + access.host + "]" : access.host) + ":" +
                    std::to_string(access.port) + "\r\nUser-Agent: " + options.user_agent +
                    "\r\nAccept: application/json\r\n";
  if (!bearer->empty()) out += "Authorization: Bearer " + *bearer + "\r\n";
  if (request.verb != Verb::kGet) {
    out += "Content-Type: " + std::string(content_type(request.verb)) +
           "\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  out += "\r\n";
  if (request.verb != Verb::kGet) out += request.body;
  return out;
}

std::chrono::milliseconds backoff(unsigned attempt, std::chrono::milliseconds first,
                                  std::chrono::milliseconds last) {
  auto full = first;
  for (unsigned i = 0; i < attempt && full < last; ++i) full *= 2;
  full = std::min(full, last);
  static std::minstd_rand random(std::random_device{}());
  std::uniform_int_distribution<std::int64_t> among(full.count() / 2, full.count());
  return std::chrono::milliseconds(among(random));
}

}  // namespace kerf::kube
