// The words of the power section.
#include "config/power.h"

#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "config/diagnostic.h"
#include "config/duration.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

constexpr const char* kAmountHint =
    "write watts as 300W, a share of the board's default as 85%, 90% of max, default, max or "
    "unmanaged";
// No board takes more, and a slip of the keyboard must not become one that overflows.
constexpr double kMostWatts = 100'000;
constexpr double kMostPercent = 1000;
constexpr std::uint64_t kMostMhz = 100'000;
constexpr std::int64_t kSecond = 1'000'000'000;

// A decimal number, not negative, and what stands behind it.
std::optional<std::pair<double, std::string_view>> leading_number(std::string_view text) {
  double number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || text.starts_with('-')) return {};
  return std::pair(number, trim(text.substr(static_cast<std::size_t>(end - text.data()))));
}

std::uint32_t thousandths(double number) {
  return static_cast<std::uint32_t>(std::llround(number * 1000));
}

std::string in_thousands(std::uint32_t value) { return format_number(value / 1000.0); }

}  // namespace

Result<PowerAmount> parse_power_amount(std::string_view text) {
  using Unit = PowerAmount::Unit;
  constexpr std::uint32_t kWhole = 100'000;
  std::string lower = to_lower(trim(text));
  if (lower == "unmanaged") return PowerAmount{Unit::kUnmanaged, 0};
  if (lower == "default") return PowerAmount{Unit::kPercentOfDefault, kWhole};
  if (lower == "max") return PowerAmount{Unit::kPercentOfMax, kWhole};
  auto wrong = [&] {
    return fail(Kind::kInvalid, fmt::format("'{}' is no power limit", printable(text)), {},
                kAmountHint);
  };
  auto number = leading_number(lower);
  if (!number) return wrong();
  auto [value, unit] = *number;
  bool watts = unit.empty() || unit == "w" || unit == "watt" || unit == "watts";
  bool of_default = unit == "%" || unit == "% of default";
  if (!watts && !of_default && unit != "% of max") return wrong();
  double most = watts ? kMostWatts : kMostPercent;
  if (value <= 0 || value > most) {
    return fail(Kind::kInvalid, fmt::format("'{}' is out of range", printable(text)), {},
                kAmountHint);
  }
  return PowerAmount{watts        ? Unit::kWatts
                     : of_default ? Unit::kPercentOfDefault
                                  : Unit::kPercentOfMax,
                     thousandths(value)};
}

std::string to_string(const PowerAmount& amount) {
  constexpr std::uint32_t kWhole = 100'000;
  switch (amount.unit) {
    case PowerAmount::Unit::kUnmanaged:
      return "unmanaged";
    case PowerAmount::Unit::kWatts:
      return in_thousands(amount.value) + "W";
    case PowerAmount::Unit::kPercentOfDefault:
      return amount.value == kWhole ? "default" : in_thousands(amount.value) + "%";
    case PowerAmount::Unit::kPercentOfMax:
      return amount.value == kWhole ? "max" : in_thousands(amount.value) + "% of max";
  }
  return "unmanaged";
}

Result<ClockRange> parse_clock_range(std::string_view text) {
  std::string_view plain = trim(text);
  if (plain.ends_with("MHz")) plain = trim(plain.substr(0, plain.size() - 3));
  std::size_t dash = plain.find('-');
  auto low = parse_u64(trim(plain.substr(0, dash)));
  auto high = dash == std::string_view::npos ? low : parse_u64(trim(plain.substr(dash + 1)));
  if (!low || !high || *low > *high || *high == 0 || *high > kMostMhz) {
    return fail(Kind::kInvalid, fmt::format("'{}' is no range of clocks", printable(text)), {},
                "write the lowest and the highest clock in MHz, 210-1800, or one number for both");
  }
  return ClockRange{static_cast<std::uint32_t>(*low), static_cast<std::uint32_t>(*high)};
}

std::string to_string(const ClockRange& range) {
  if (range.min_mhz == range.max_mhz) return std::to_string(range.max_mhz);
  return fmt::format("{}-{}", range.min_mhz, range.max_mhz);
}

std::string_view to_string(TimeSlice slice) {
  return kTimeSlices[static_cast<std::size_t>(slice)].first;
}

Result<std::int64_t> parse_reapply(std::string_view text) {
  constexpr const char* kHint = "write seconds as 1800, or 30m, or infinite";
  constexpr std::uint64_t kMostSeconds = 10ull * 365 * 24 * 3600;
  std::string_view plain = trim(text);
  Result<std::int64_t> given = fail(Kind::kInvalid, "");
  if (auto seconds = parse_u64(plain)) {
    given = *seconds <= kMostSeconds ? static_cast<std::int64_t>(*seconds) * kSecond : kForever;
  } else {
    given = parse_duration(plain);
  }
  if (!given) {
    return fail(Kind::kInvalid, fmt::format("'{}' is no time", printable(text)), {}, kHint);
  }
  if (*given < kSecond) {
    return fail(Kind::kInvalid, fmt::format("'{}' is less than a second", printable(text)), {},
                kHint);
  }
  return given;
}

}  // namespace kerf::config
