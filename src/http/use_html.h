// What a GPU does and who uses it, as the page shows it. Internal to the room.
#pragma once

#include <string>

#include "metrics/node_status.h"

namespace kerf::http {

// Three small charts of the last minutes, and a line for each container. Works without scripts.
std::string use_html(const metrics::GpuUse& use);

// "3.9 GiB", "512 MiB"
std::string bytes_text(std::uint64_t bytes);

}  // namespace kerf::http
