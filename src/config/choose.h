// Which of several named configurations a node uses: by the value of its label, the default, or the
// fallbacks. Pure. Source: device-plugin contract §9.3.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kerf::config {

// Words of --fallback-strategies, in the order of the flag table.
inline constexpr std::string_view kFallbackNamed = "named";  // the file "default", if there is one
inline constexpr std::string_view kFallbackSingle = "single";  // the only file, if there is one
inline constexpr std::string_view kFallbackEmpty = "empty";    // a configuration that says nothing

struct Choices {
  std::string default_name;            // --default-config; may be empty
  std::vector<std::string> fallbacks;  // --fallback-strategies, in order
};

// The name of the file to use; "" for the empty configuration. `label` is the label's value, ""
// when it is not set; `available` are the files there are.
// Errors: kNotFound with `subject` = the name when a label or default names no file, kNotFound when
// there is nothing to choose, kInvalid for an unknown fallback.
Result<std::string> choose_config(std::string_view label, const Choices& choices,
                                  std::span<const std::string> available);

}  // namespace kerf::config
