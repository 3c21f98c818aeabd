// What NVML's return codes mean to us and to the person reading, and how often each was seen. Codes
// and their meaning: NVML API reference, nvmlReturn_t.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "nvml/abi.h"

namespace kerf::nvml {

// "gpu_is_lost"; codes we do not know are "code_<n>". Usable as a metric label.
std::string return_name(std::uint32_t code);

// The error for a return code other than success: kind, text, what to do. `native` is the code,
// `what` names the function, `subject` is the GPU or empty.
Error error_for(std::uint32_t code, std::string_view function, std::string subject = {});

// Codes that say that the driver as a whole, not one GPU, has stopped answering.
bool is_driver_failure(int native);

// How many calls were made and which errors came back. All zero at first; never goes down.
struct CallStats {
  std::uint64_t calls = 0;
  std::map<std::string, std::uint64_t> errors;  // by return_name, only those seen
};

// The counters behind CallStats. Any thread, without locks; outlives libraries and sessions.
class CallCounters {
 public:
  void count(std::uint32_t code);
  CallStats read() const;

 private:
  static constexpr std::size_t kUnknown = 31;
  static constexpr std::size_t kOther = 32;
  std::atomic<std::uint64_t> calls_{0};
  std::array<std::atomic<std::uint64_t>, 33> codes_{};
};

}  // namespace kerf::nvml
