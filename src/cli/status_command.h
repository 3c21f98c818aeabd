// `kerf status`: what the agent on this node is doing, in a terminal.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/status_json.h"

namespace kerf::cli {

// Exit status: 0 all well (or waiting for a driver), 1 degraded or failed, 2 the agent cannot be
// reached or the usage is wrong.
int run_status(std::span<const std::string> args);

// What is printed without --json: node, problems with remedies, a bar of slices for each GPU,
// resources, last events. `colour` adds ANSI colours; without them the bars still tell the states
// apart. Control characters in the agent's texts are made harmless. Pure.
std::string status_text(const http::RemoteStatus& status, bool colour);

// The text without what could steer a terminal: control characters, and bytes that are no UTF-8.
std::string harmless(std::string_view text);

// Gets `path` from an HTTP server and returns the body of a 200 answer. `address` is "host:port" or
// ":port" (this machine). Gives up after `timeout_ms` without an answer. kGone when nobody listens,
// kTimeout, kCorrupt when the answer is no HTTP or another status.
Result<std::string> http_get(const std::string& address, const std::string& path, int timeout_ms);

}  // namespace kerf::cli
