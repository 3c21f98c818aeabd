// What plain scalars mean (YAML 1.1 with go-yaml v2's tables), and which bytes are text at all.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "config/parse.h"
#include "config/tree.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

template <std::size_t n>
bool contains(const std::array<std::string_view, n>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr std::array<std::string_view, 11> kTrueWords = {
    "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
constexpr std::array<std::string_view, 11> kFalseWords = {
    "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"};
constexpr std::array<std::string_view, 5> kNullWords = {"", "~", "null", "Null", "NULL"};

// Go's strconv.ParseInt with base 0, underscores already gone: 0x, 0o, 0b and a leading 0 (octal).
std::optional<std::int64_t> parse_integer(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    switch (text[1]) {
      case 'x':
      case 'X':
        base = 16;
        text.remove_prefix(2);
        break;
      case 'o':
      case 'O':
        base = 8;
        text.remove_prefix(2);
        break;
      case 'b':
      case 'B':
        base = 2;
        text.remove_prefix(2);
        break;
      default:
        base = 8;
        text.remove_prefix(1);
    }
  }
  std::uint64_t number = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (text.empty() || status != std::errc() || end != text.data() + text.size()) return {};
  if (number > static_cast<std::uint64_t>(INT64_MAX)) return {};
  auto value = static_cast<std::int64_t>(number);
  return negative ? -value : value;
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view text) {
  auto digits = [&text] {
    std::size_t n = 0;
    while (n < text.size() && text[n] >= '0' && text[n] <= '9') ++n;
    text.remove_prefix(n);
    return n;
  };
  auto sign = [&text] {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  };
  sign();
  std::size_t before = digits();
  std::size_t after = 0;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    after = digits();
  }
  if (before == 0 && after == 0) return false;
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    sign();
    if (digits() == 0) return false;
  }
  return text.empty();
}

Diagnostic at_byte(std::string_view text, std::size_t byte, std::string message) {
  std::string_view before = text.substr(0, byte);
  auto lines = std::count(before.begin(), before.end(), '\n');
  std::size_t line_start = before.rfind('\n');
  std::size_t column = line_start == std::string_view::npos ? byte : byte - line_start - 1;
  Diagnostic d;
  d.at = {static_cast<unsigned>(lines + 1), static_cast<unsigned>(column + 1)};
  d.message = std::move(message);
  d.hint = "the file must be YAML or JSON text in UTF-8";
  return d;
}

// Length of the UTF-8 sequence at `at`, 0 if it is not valid (overlong, surrogate, cut, stray).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = first < 0xc2   ? 0
                       : first < 0xe0 ? 2
                       : first < 0xf0 ? 3
                       : first < 0xf5 ? 4
                                      : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  bool outside = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || outside ? 0 : length;
}

}  // namespace

void resolve_plain(Node& node) {
  const std::string& text = node.text;
  if (contains(kNullWords, text)) {
    node.type = Node::Type::kNull;
    return;
  }
  if (contains(kTrueWords, text) || contains(kFalseWords, text)) {
    node.type = Node::Type::kBool;
    node.boolean = contains(kTrueWords, text);
    return;
  }
  node.type = Node::Type::kString;
  char first = text[0];
  if (!(first >= '0' && first <= '9') && first != '-' && first != '+' && first != '.') return;
  std::string digits = text;
  std::erase(digits, '_');
  if (std::optional<std::int64_t> number = parse_integer(digits)) {
    node.type = Node::Type::kInt;
    node.integer = *number;
    node.whole = true;
  } else if (looks_like_float(digits)) {
    node.type = Node::Type::kFloat;
    double number_value = std::strtod(digits.c_str(), nullptr);
    node.whole = std::isfinite(number_value) && number_value == std::floor(number_value) &&
                 std::fabs(number_value) <= 9007199254740992.0;
    if (node.whole) node.integer = static_cast<std::int64_t>(number_value);
  }
}

std::vector<Diagnostic> check_bytes(std::string_view text) {
  if (text.size() > kMaxFileBytes) {
    Diagnostic d;
    d.message =
        fmt::format("the file has {} bytes; more than {} are not read", text.size(), kMaxFileBytes);
    d.hint = "is this the right file? a configuration takes a few hundred bytes";
    return {d};
  }
  for (std::size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
      return {at_byte(text, i, fmt::format("control character 0x{:02x} is not allowed", c))};
    }
    std::size_t length = sequence_length(text, i);
    if (length == 0) return {at_byte(text, i, fmt::format("invalid UTF-8 byte 0x{:02x}", c))};
    i += length;
  }
  return {};
}

}  // namespace kerf::config
