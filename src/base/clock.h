// Time comes in from outside, so that tests can run in time of their own.
#pragma once

#include <cstdint>
#include <string>

namespace kerf {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since an arbitrary start; never goes back. Any thread.
  virtual std::int64_t mono_ms() const = 0;
  // Milliseconds since the Unix epoch; may jump. Any thread.
  virtual std::int64_t wall_ms() const = 0;
};

// The machine's clocks. Lives as long as the process.
const Clock& system_clock();

// A clock that stands still until told otherwise. Not for use from several threads.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t wall_ms = 1'700'000'000'000) : wall_(wall_ms) {}
  std::int64_t mono_ms() const override { return mono_; }
  std::int64_t wall_ms() const override { return wall_; }
  void advance(std::int64_t ms) {
    mono_ += ms;
    wall_ += ms;
  }

 private:
  std::int64_t mono_ = 0;
  std::int64_t wall_;
};

// "2026-01-02T03:04:05.678Z"
std::string rfc3339_ms(std::int64_t wall_ms);

}  // namespace kerf
