// Request heads from hostile clients, and the answers to those that are understood: no crash, no
// read beyond the input, and nothing consumed that was not there.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/page.h"
#include "http/request.h"
#include "http/site.h"
#include "http/status_json.h"
#include "page/sample_nodes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kerf;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static const http::Handler site =
      http::make_site({[] { return samples::healthy(); }, [] { return std::string("x 1\n"); }});
  http::Parsed parsed = http::parse_request(text);
  if (parsed.outcome == http::Parsed::Outcome::kRequest) {
    if (parsed.consumed == 0 || parsed.consumed > size) std::abort();
    if (!parsed.request.path.starts_with('/')) std::abort();
    http::Response response = site(parsed.request);
    if (response.status < 200 || response.status > 599) std::abort();
  } else if (parsed.outcome == http::Parsed::Outcome::kIncomplete && size >= http::kMaxHead) {
    std::abort();  // would wait for more than it is willing to hold
  }
  // What another server may answer to `kerf status`.
  if (auto status = http::parse_status(std::string(text))) {
    if (http::render_main(status->node).empty()) std::abort();
  }
  return 0;
}
