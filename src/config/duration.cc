#include "config/duration.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "config/diagnostic.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {
    {"ns", 1},   {"us", 1e3}, {"µs", 1e3},     {"μs", 1e3},
    {"ms", 1e6}, {"s", 1e9},  {"m", 60 * 1e9}, {"h", 3600 * 1e9},
};

}  // namespace

Result<std::int64_t> parse_duration(std::string_view text) {
  if (text == "infinite") return kForever;
  if (text == "0") return 0;
  constexpr const char* kHint = "write it like 60s, 1m30s or infinite";
  auto invalid = [&] {
    return fail(Kind::kInvalid, fmt::format("time: invalid duration \"{}\"", printable(text)), {},
                kHint);
  };
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty()) return invalid();
  double total = 0;
  while (!rest.empty()) {
    std::size_t number = std::min(rest.find_first_not_of("0123456789."), rest.size());
    std::string_view digits = rest.substr(0, number);
    if (digits.find_first_not_of('.') == std::string_view::npos ||
        std::count(digits.begin(), digits.end(), '.') > 1) {
      return invalid();
    }
    rest.remove_prefix(number);
    std::string_view word = rest.substr(0, rest.find_first_of("0123456789."));
    if (word.empty()) {
      return fail(Kind::kInvalid,
                  fmt::format("time: missing unit in duration \"{}\"", printable(text)), {}, kHint);
    }
    auto unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                             [&](const Unit& each) { return each.name == word; });
    if (unit == std::end(kUnits)) {
      return fail(Kind::kInvalid,
                  fmt::format("time: unknown unit \"{}\" in duration \"{}\"", printable(word),
                              printable(text)),
                  {}, kHint);
    }
    rest.remove_prefix(word.size());
    double value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return invalid();
    total += value * unit->nanoseconds;
  }
  // The largest double below 2^63.
  if (total > 9223372036854774784.0) return invalid();
  auto whole = static_cast<std::int64_t>(total);
  return negative ? -whole : whole;
}

std::string duration_text(std::int64_t nanoseconds) {
  if (nanoseconds == kForever) return "infinite";
  if (nanoseconds % 1'000'000'000 == 0) return fmt::format("{}s", nanoseconds / 1'000'000'000);
  if (nanoseconds % 1'000'000 == 0) return fmt::format("{}ms", nanoseconds / 1'000'000);
  return fmt::format("{}ns", nanoseconds);
}

}  // namespace kerf::config
