// What the tracker knows of GPUs that the driver says only once, as values and as text, so that it
// can be put down and found again by the next agent. Pure; where it lies is memory_file.h's
// business.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kerf::health {

// The life of the driver in which something was learnt: in another one it does not hold.
struct Epoch {
  std::string boot;    // the kernel's id of this boot
  std::string driver;  // version: "535.154.05"
  std::string load;    // differs between two loads of the kernel module; "-" when it cannot be told

  bool operator==(const Epoch&) const = default;
};

struct Memory {
  // Why a GPU or MIG device must not be given out. `reason` is the tracker's name of it.
  struct Mark {
    std::string device;  // uuid
    std::string reason;
    std::int64_t since_ms = 0;  // wall clock, milliseconds since the epoch
    std::uint64_t xid = 0;      // 0: not by an XID
    std::string word;           // as in inventory::Unhealthy
    std::string detail;
    bool operator==(const Mark&) const = default;
  };
  // What a GPU said of itself, to which the next word on it is compared.
  struct Gpu {
    std::string uuid;
    std::optional<std::uint64_t> uncorrectable;
    bool wants_recovery = false;
    std::map<unsigned, std::string> links;  // that were up, and their other ends
    bool operator==(const Gpu&) const = default;
  };
  // When a GPU or MIG device was trusted again, and how long that took.
  struct Recovery {
    std::string device;
    std::int64_t at_ms = 0;
    std::int64_t quiet_ms = 0;
    unsigned losses = 0;
    bool operator==(const Recovery&) const = default;
  };

  Epoch epoch;
  std::vector<Mark> marks;
  std::vector<Gpu> gpus;
  std::vector<Recovery> recoveries;
  bool operator==(const Memory&) const = default;
};

// A line each, its fields parted by tabs, the last one "end". Control characters become blanks.
std::string to_text(const Memory& memory);

// The reverse. `path` is for the error, which names the line: kCorrupt when it is not such a text
// or not the whole of it, kUnsupported when another release wrote it in another format.
Result<Memory> memory_from_text(std::string_view text, const std::string& path);

}  // namespace kerf::health
