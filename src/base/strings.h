// Small text helpers that several rooms need. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kerf {

// Pieces between separators; "a,,b" gives three, "" gives one empty piece.
std::vector<std::string> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string join(std::span<const std::string_view> parts, std::string_view separator);
// Without leading and trailing spaces, tabs, CR and LF.
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);

// A whole unsigned decimal number, nothing else around it; nullopt when it is not or overflows.
std::optional<std::uint64_t> parse_u64(std::string_view text);

// A JSON string literal with its quotes; control characters and invalid UTF-8 are escaped.
std::string json_quote(std::string_view text);

// The text with every byte that is not part of valid UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

// Shortest decimal form that reads back as the same value; "NaN", "+Inf", "-Inf" as Prometheus
// writes them.
std::string format_number(double value);

// '*' matches any run of characters, everything else itself; anchored at both ends.
bool matches_glob(std::string_view pattern, std::string_view text);

// The candidate with the least edit distance to `word`, if it is near enough to be a likely slip.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> among);

}  // namespace kerf
