// What is served: which path answers what. Knows nothing of sockets.
//
//   /             status page (HTML, server-rendered, live when the browser runs scripts)
//   /metrics      Prometheus text
//   /health       200, or 503 when a problem is "failed"; JSON that says what is wrong. With the
//                 header "Kerf-Probe: liveness" 200 as long as the process answers
//   /healthz      200 "ok" as long as the process answers
//   /readyz       200 when everything there is to advertise is registered, else 503 and why
//   /api/status   the node's status as JSON
//   /api/events   server-sent events: "status" with that JSON at every change;
//                 with ?as=page, "page" with the page's main part as HTML
#pragma once

#include <functional>
#include <string>

#include "http/server.h"
#include "metrics/node_status.h"

namespace kerf::http {

// Where answers come from. Called on the server's thread, once an answer.
struct Sources {
  std::function<metrics::NodeStatus()> status;
  std::function<std::string()> metrics;  // the text of a scrape
};

// The handler to give to Server::listen.
Handler make_site(Sources sources);

}  // namespace kerf::http
