// Loading NVIDIA's management library at run time: where it is looked for, what was wrong with what
// was found, and a table of its functions. Never linked, so a node without a driver starts all the
// same. Calls are made through session.h; this file only opens and closes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "nvml/abi.h"

namespace kerf::nvml {

namespace abi {
// One pointer a symbol, named like the symbol; null when this driver's library does not have it.
struct Functions {
#define KERF_NVML_MEMBER(name, result, parameters) result(*name) parameters = nullptr;
  KERF_NVML_SYMBOLS(KERF_NVML_MEMBER)
#undef KERF_NVML_MEMBER
};
}  // namespace abi

// Where to look, in order. `exact` (a path or soname) is the only candidate when it is not empty.
// Otherwise the usual library directories below `driver_root` and then the plain soname; with a
// driver root of "" or "/" the soname comes first, so that the loader's own search decides.
std::vector<std::string> library_candidates(std::string_view exact, std::string_view driver_root);

// A loaded library. Immutable, safe from any thread. Closed when the last owner lets go of it,
// which must not be while a call is still inside.
class Library {
 public:
  // The first candidate that loads and is an NVML library; links are followed first, so that a link
  // that was turned to a newer driver gives the newer library. The error lists every path that was
  // tried and what was wrong with it. May block on a slow file system: call it on a lane.
  static Result<std::shared_ptr<const Library>> open(std::span<const std::string> candidates);

  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library();

  const abi::Functions& functions() const { return functions_; }
  // The file that was loaded, as the dynamic loader names it.
  const std::string& path() const { return path_; }

 private:
  friend class LibraryCache;
  Library() = default;

  std::string candidate_;  // the one it was found by
  void* handle_ = nullptr;
  std::string path_;
  abi::Functions functions_;
};

// Keeps the last library open, so that a driver that is tried again and again is not loaded again
// and again. Any thread.
class LibraryCache {
 public:
  // The library from last time while its file is unchanged and no better candidate has appeared;
  // else Library::open.
  Result<std::shared_ptr<const Library>> open(std::span<const std::string> candidates);
  // The next open loads anew.
  void forget();

 private:
  // What tells one file from another under the same name.
  struct Identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Identity&) const = default;
  };
  static std::optional<Identity> identity(const std::string& path);
  bool still_best(std::span<const std::string> candidates) const;

  std::mutex mutex_;
  std::shared_ptr<const Library> kept_;
  std::optional<Identity> kept_identity_;
};

}  // namespace kerf::nvml
