#include "base/clock.h"

#include <chrono>
#include <cstdio>
#include <ctime>

namespace kerf {
namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t mono_ms() const override { return count(std::chrono::steady_clock::now()); }
  std::int64_t wall_ms() const override { return count(std::chrono::system_clock::now()); }

 private:
  template <typename T>
  static std::int64_t count(T now) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

std::string rfc3339_ms(std::int64_t wall_ms) {
  std::time_t seconds = wall_ms / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
  char out[48];
  std::snprintf(out, sizeof out, "%s.%03dZ", date, static_cast<int>(wall_ms % 1000));
  return out;
}

}  // namespace kerf
