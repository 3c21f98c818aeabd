// `kerf top`: who uses the GPUs of this node, in a terminal, again and again.
#pragma once

#include <span>
#include <string>

#include "http/status_json.h"

namespace kerf::cli {

// Exit status: 0, or 2 when the agent cannot be reached, does not say who uses the GPUs, or the
// usage is wrong. Without a terminal, and with --once or --json, it looks once.
int run_top(std::span<const std::string> args);

// One screen: a line for each GPU, then one for each container on it, the greatest user of memory
// first, cut to `width` columns. `colour` adds ANSI colours. Pure.
std::string top_text(const http::RemoteStatus& status, bool colour, std::size_t width);

// The same figures as a JSON array, one element a GPU, from the text of /api/status. "" when that
// is none.
std::string top_json(const std::string& status);

}  // namespace kerf::cli
