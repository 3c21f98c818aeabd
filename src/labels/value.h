// Text as the value of a Kubernetes label: at most 63 characters of A-Z a-z 0-9 - _ . that begin
// and end with a letter or digit. Pure. Source of the rules: Kubernetes "Labels and Selectors",
// device-plugin contract §8.2.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kerf::labels {

inline constexpr std::size_t kMaxValue = 63;

// Drops every other character but blanks, and joins what stands between blanks with '-'. As long as
// the text is.
std::string sanitise(std::string_view text);

// Sanitised, cut behind 63 characters, and without '-', '_' and '.' at either end. May be empty.
std::string label_value(std::string_view text);

// "<model><ending>"; when that is too long it is the model's end that is cut. `ending` is legal
// ("-MIG-1g.10gb-SHARED") and shorter than 63 characters, or empty.
std::string product_value(std::string_view model, std::string_view ending);

}  // namespace kerf::labels
