// The exporter's pages. Knows paths, passwords and text; nothing of sockets. Source: metrics
// contract §1.7.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "exporter/page.h"
#include "http/server.h"

namespace kerf::exporter {

struct WebSources {
  std::function<SheetPtr()> sheet;  // null before the first
  std::function<bool()> reload_in_progress;
  std::function<std::string()> more;  // further metrics, behind the sheet's; may be empty
};

// Answers / /metrics and /health; anything else is 404.
http::Handler make_pages(WebSources sources);

}  // namespace kerf::exporter
