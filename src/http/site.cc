#include "http/site.h"

#include <sys/random.h>

#include "base/strings.h"
#include "http/page.h"
#include "http/status_json.h"
#include "metrics/exposition.h"

namespace kerf::http {
namespace {

constexpr std::string_view kHtml = "text/html; charset=utf-8";
constexpr std::string_view kJson = "application/json; charset=utf-8";

Response answer(int status, std::string_view type, std::string body) {
  Response out;
  out.status = status;
  out.content_type = type;
  out.body = std::move(body);
  out.headers = {{"Cache-Control", "no-store"}};
  return out;
}

// A value that scripts and styles of one page carry, so that the browser runs no others.
std::string make_nonce() {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char bytes[16] = {};
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return {};
  std::string out;
  for (unsigned char byte : bytes) {
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

Response page_response(const metrics::NodeStatus& node) {
  std::string nonce = make_nonce();
  Response out = answer(200, kHtml, render_page(node, nonce));
  std::string source = nonce.empty() ? "'none'" : "'nonce-" + nonce + "'";
  out.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; script-src " + source + "; style-src " + source +
          "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
          "frame-ancestors 'none'");
  out.headers.emplace_back("Referrer-Policy", "no-referrer");
  out.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
  return out;
}

// One server-sent event. A line break in the data would end its line, so each line gets its name.
std::string event_text(std::string_view name, const std::string& data) {
  std::string out = "event: ";
  out += name;
  out += '\n';
  for (const std::string& line : split(data, '\n')) {
    out += "data: ";
    for (char c : line) {
      if (c != '\r') out += c;  // a line end as well, in this format
    }
    out += '\n';
  }
  return out + '\n';
}

class Site {
 public:
  explicit Site(Sources sources) : sources_(std::move(sources)) {
    status_events_ = std::make_shared<EventSource>(EventSource{
        [status = sources_.status] { return event_text("status", status_json(status())); }});
    page_events_ = std::make_shared<EventSource>(EventSource{
        [status = sources_.status] { return event_text("page", render_main(status())); }});
  }

  Response operator()(const Request& request) const {
    const std::string& path = request.path;
    if (request.method != "GET" && request.method != "HEAD") return refuse(request);
    if (path == "/") return page_response(sources_.status());
    if (path == "/metrics") return answer(200, metrics::kContentType, sources_.metrics());
    if (path == "/health") return health(request.probe == "liveness");
    if (path == "/healthz") return answer(200, "text/plain; charset=utf-8", "ok\n");
    if (path == "/readyz") return ready();
    if (path == "/api/status") return answer(200, kJson, status_json(sources_.status()) + '\n');
    if (path == "/api/events") return events(request);
    if (path == "/favicon.ico") return answer(404, "text/plain; charset=utf-8", "none\n");
    return answer(404, "text/plain; charset=utf-8",
                  "not found; there are / /metrics /health /healthz /readyz /api/status "
                  "/api/events\n");
  }

 private:
  static Response refuse(const Request& request) {
    bool known = request.method == "POST" || request.method == "PUT" ||
                 request.method == "DELETE" || request.method == "PATCH" ||
                 request.method == "OPTIONS" || request.method == "TRACE" ||
                 request.method == "CONNECT";
    Response out = answer(known ? 405 : 501, "text/plain; charset=utf-8",
                          "only GET and HEAD: this server shows and changes nothing\n");
    if (known) out.headers.emplace_back("Allow", "GET, HEAD");
    return out;
  }

  // No restart mends a GPU or a driver: to the one who would restart us, all is well while we
  // answer. What is said is the same.
  Response health(bool only_liveness) const {
    auto node = sources_.status();
    bool failed = !only_liveness && metrics::has_failed(metrics::problems_of(node));
    return answer(failed ? 503 : 200, kJson, health_json(node) + '\n');
  }

  Response ready() const {
    std::string reason = metrics::not_ready_reason(sources_.status());
    return answer(reason.empty() ? 200 : 503, "text/plain; charset=utf-8",
                  reason.empty() ? "ready\n" : "not ready: " + valid_utf8(reason) + '\n');
  }

  Response events(const Request& request) const {
    Response out = answer(200, "text/event-stream; charset=utf-8", {});
    out.events = request.query == "as=page" ? page_events_ : status_events_;
    return out;
  }

  Sources sources_;
  std::shared_ptr<EventSource> status_events_;
  std::shared_ptr<EventSource> page_events_;
};

}  // namespace

Handler make_site(Sources sources) { return Site(std::move(sources)); }

}  // namespace kerf::http
