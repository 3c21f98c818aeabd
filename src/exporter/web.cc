#include "exporter/web.h"

#include <utility>

#include "metrics/exposition.h"

namespace kerf::exporter {
namespace {

constexpr std::string_view kIndex =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>GPU exporter</title></head>\n<body>\n"
    "<h1>GPU exporter</h1>\n<p><a href=\"./metrics\">Metrics</a></p>\n</body>\n</html>\n";

http::Response answer(int status, std::string_view type, std::string body) {
  http::Response out;
  out.status = status;
  out.content_type = type;
  out.body = std::move(body);
  return out;
}

}  // namespace

http::Handler make_pages(WebSources sources) {
  return [sources = std::move(sources)](const http::Request& request) -> http::Response {
    if (request.method != "GET" && request.method != "HEAD") {
      http::Response out = answer(405, "text/plain; charset=utf-8", "only GET and HEAD\n");
      out.headers = {{"Allow", "GET, HEAD"}};
      return out;
    }
    if (request.path == "/metrics") {
      std::string body;
      if (SheetPtr sheet = sources.sheet()) sheet->print(body);
      if (sources.more) body += sources.more();
      return answer(200, metrics::kContentType, std::move(body));
    }
    if (request.path == "/health") {
      http::Response out = answer(200, "text/plain; charset=utf-8", "OK");
      out.headers = {{"X-Registry-Available", sources.sheet() ? "true" : "false"},
                     {"X-Reload-In-Progress", sources.reload_in_progress() ? "true" : "false"}};
      return out;
    }
    if (request.path == "/") return answer(200, "text/html; charset=utf-8", std::string(kIndex));
    return answer(404, "text/plain; charset=utf-8", "not found; there are / /metrics /health\n");
  };
}

}  // namespace kerf::exporter
