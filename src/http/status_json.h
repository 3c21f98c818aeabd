// NodeStatus as JSON, and back. The form of `/api/status`, of the "status" events, and of
// `kerf status --json`; described in docs/status-page.md.
#pragma once

#include <string>

#include "base/result.h"
#include "metrics/node_status.h"

namespace kerf::http {

// One line of JSON, valid UTF-8 whatever the strings hold. `status` and `problems` in it are
// computed (metrics::problems_of), so that readers need not repeat the rules.
std::string status_json(const metrics::NodeStatus& node);

// What `/health` says: {"status": "ok|waiting|degraded|failed", "ready": …, "problems": […]}.
std::string health_json(const metrics::NodeStatus& node);

// A status read back by `kerf status`. `problems` are those of the sender, computed ones included;
// `status` is its overall word. Fields that are missing keep their defaults, unknown ones are
// ignored, so that versions may differ. kCorrupt when it is not such JSON.
struct RemoteStatus {
  metrics::NodeStatus node;
  std::string status;
};
Result<RemoteStatus> parse_status(const std::string& text);

}  // namespace kerf::http
