// Any bytes as a configuration file: nothing may crash, hang or grow without bound, every finding
// must be printable, and what is accepted must survive being written out and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "config/load.h"
#include "config/render.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kerf::config;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Effective first = evaluate_file(text, "config.yaml");
  for (const Diagnostic& d : first.findings) {
    if (render(d).empty() || d.caret > d.excerpt.size()) std::abort();
  }
  render_json("config.yaml", first.findings);
  if (!first.ok()) return 0;
  std::string written = to_yaml(first);
  Effective second = evaluate_file(written, "config.yaml");
  if (!second.ok() || second.config != first.config) {
    std::cerr << written;
    for (const Diagnostic& d : second.findings) std::cerr << render(d) << '\n';
    std::abort();
  }
  return 0;
}
