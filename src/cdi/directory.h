// The directory in which container runtimes look for specifications, as far as it is ours. Files of
// other names are never touched.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cdi/types.h"

namespace kerf::cdi {

// "k8s.device-plugin.nvidia.com-gpu.json"
std::string file_name(std::string_view device_class);

// Not thread-safe; small enough to be called from the loop.
class Directory {
 public:
  // `path` is made when something is first written.
  explicit Directory(std::string path) : path_(std::move(path)) {}

  // Writes the file anew unless it holds this already: whole or not at all, mode 0644. True when it
  // was written. Errors carry the path and a remedy; the file that was there stays.
  Result<bool> write(const Spec& spec);

  // Removes the class's file. True when there was one.
  Result<bool> remove(std::string_view device_class);

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kerf::cdi
