// The status page as HTML. One renderer for everything: the page as first sent and the updates of
// its main part, so that it reads the same with and without scripts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metrics/node_status.h"

namespace kerf::http {

// The whole document, with styles and scripts inside, each marked with `nonce`.
std::string render_page(const metrics::NodeStatus& node, std::string_view nonce);

// The content of its <main> alone.
std::string render_main(const metrics::NodeStatus& node);

// Text made safe for HTML text and quoted attributes.
std::string html_escape(std::string_view text);

// "2 h 3 min", "5 min", "41 s"; negative counts as 0.
std::string duration_text(std::int64_t ms);

// "24 GiB", "140.4 GiB", "512 MiB".
std::string memory_text(std::uint64_t mib);

}  // namespace kerf::http
