#include "power/types.h"

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

// No board draws or takes more, nor will one soon; the driver's way to say "unknown" is far above.
constexpr std::uint32_t kMostMw = 20'000'000;
constexpr std::uint32_t kMostMhz = 20'000;
constexpr std::uint32_t kMostCelsius = 200;
// For a moment a board may draw more than its limit, but not so much.
constexpr std::uint32_t kSurge = 3;

class Sieve {
 public:
  explicit Sieve(Reading& reading) : reading_(reading) {}

  void most(std::optional<std::uint32_t>& value, std::uint32_t limit, const char* what,
            const char* unit, double scale) {
    if (!value || *value <= limit) return;
    drop(value, what, fmt::format("{} {}", format_number(*value / scale), unit));
  }

  void drop(std::optional<std::uint32_t>& value, const char* what, const std::string& text) {
    reading_.oddities.push_back(fmt::format("{} of {}", what, text));
    value.reset();
  }

 private:
  Reading& reading_;
};

}  // namespace

void drop_absurd(Reading& r) {
  Sieve sieve(r);
  sieve.most(r.draw_mw, kMostMw, "power draw", "W", 1000);
  sieve.most(r.limit_mw, kMostMw, "power limit", "W", 1000);
  sieve.most(r.enforced_mw, kMostMw, "enforced power limit", "W", 1000);
  sieve.most(r.default_mw, kMostMw, "default power limit", "W", 1000);
  sieve.most(r.utilization, 100, "utilisation", "%", 1);
  sieve.most(r.memory_utilization, 100, "memory utilisation", "%", 1);
  sieve.most(r.graphics_mhz, kMostMhz, "graphics clock", "MHz", 1);
  sieve.most(r.memory_mhz, kMostMhz, "memory clock", "MHz", 1);
  sieve.most(r.temperature, kMostCelsius, "temperature", "C", 1);
  const std::uint32_t low = r.min_mw.value_or(0);
  const std::uint32_t high = r.max_mw.value_or(0);
  if (r.max_mw && (high == 0 || high > kMostMw || low > high)) {
    r.oddities.push_back(fmt::format("power limits from {} to {}", watts(low), watts(high)));
    r.min_mw.reset();
    r.max_mw.reset();
  }
  auto zero = [&](std::optional<std::uint32_t>& value, const char* what) {
    if (value && *value == 0) sieve.drop(value, what, "0 W");
  };
  zero(r.limit_mw, "power limit");
  zero(r.enforced_mw, "enforced power limit");
  zero(r.default_mw, "default power limit");
  if (r.default_mw && r.max_mw && (*r.default_mw < low || *r.default_mw > high)) {
    sieve.drop(r.default_mw, "default power limit", watts(*r.default_mw));
  }
  if (r.draw_mw && r.max_mw && *r.draw_mw / kSurge > high) {
    sieve.drop(r.draw_mw, "power draw", watts(*r.draw_mw));
  }
}

std::string_view subject_of(Command::What what) {
  switch (what) {
    case Command::What::kPersistence:
      return "persistence mode";
    case Command::What::kLimit:
      return "power limit";
    case Command::What::kGraphicsClock:
      return "graphics clock";
    case Command::What::kMemoryClock:
      return "memory clock";
    case Command::What::kTimeSlice:
      return "time slice";
  }
  return "";
}

std::string value_of(const Command& command) {
  switch (command.what) {
    case Command::What::kPersistence:
      return "on";
    case Command::What::kLimit:
      return watts(command.limit_mw);
    case Command::What::kGraphicsClock:
    case Command::What::kMemoryClock:
      return command.clocks ? config::to_string(*command.clocks) + " MHz" : "unlocked";
    case Command::What::kTimeSlice:
      return std::string(config::to_string(command.time_slice));
  }
  return "";
}

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::kUnmanaged:
      return "unmanaged";
    case Standing::kHeld:
      return "held";
    case Standing::kDrifted:
      return "drifted";
    case Standing::kRefused:
      return "refused";
    case Standing::kUnsupported:
      return "unsupported";
    case Standing::kUnreadable:
      return "unreadable";
  }
  return "";
}

std::string drawn(std::uint32_t milliwatts) { return fmt::format("{:.1f} W", milliwatts / 1000.0); }

std::string watts(std::uint32_t milliwatts) { return format_number(milliwatts / 1000.0) + " W"; }

}  // namespace kerf::power
