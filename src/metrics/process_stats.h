// What the process itself costs, read from procfs.
#pragma once

#include <optional>
#include <string>

namespace kerf::metrics {

// Each is absent when it could not be read.
struct ProcessStats {
  std::optional<double> cpu_seconds;  // user and system
  std::optional<double> resident_bytes;
  std::optional<double> virtual_bytes;
  std::optional<double> threads;
  std::optional<double> open_fds;
  std::optional<double> max_fds;
};

// `proc` is where the kernel's procfs is mounted (the real one: this is about ourselves, not about
// the host tree that --root may point to). Reads one small file and one small directory. Any
// thread.
ProcessStats read_process_stats(const std::string& proc);

}  // namespace kerf::metrics
