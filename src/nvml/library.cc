#include "nvml/library.h"

#include <dlfcn.h>
#include <link.h>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::nvml {

namespace {

constexpr std::string_view kSoname = "libnvidia-ml.so.1";
constexpr std::string_view kDirectories[] = {
    "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu",
    "lib64",     "lib/x86_64-linux-gnu",     "lib/aarch64-linux-gnu"};

// "<path>: reason" without the path that the caller already knows.
std::string loader_error(const std::string& candidate) {
  const char* text = dlerror();
  std::string reason = text == nullptr ? "unknown loader error" : text;
  if (reason.starts_with(candidate + ": ")) reason.erase(0, candidate.size() + 2);
  return reason;
}

std::string loaded_path(void* handle, const std::string& asked) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr || map->l_name == nullptr ||
      *map->l_name == '\0') {
    return asked;
  }
  return map->l_name;
}

}  // namespace

std::vector<std::string> library_candidates(std::string_view exact, std::string_view driver_root) {
  if (!exact.empty()) return {std::string(exact)};
  bool host_root = driver_root.empty() || driver_root == "/";
  std::vector<std::string> candidates;
  if (host_root) candidates.emplace_back(kSoname);
  for (std::string_view directory : kDirectories) {
    candidates.push_back(join_path(join_path(host_root ? "/" : driver_root, directory), kSoname));
  }
  if (!host_root) candidates.emplace_back(kSoname);
  return candidates;
}

Library::~Library() {
  if (handle_ != nullptr) dlclose(handle_);
}

Result<std::shared_ptr<const Library>> Library::open(std::span<const std::string> candidates) {
  std::vector<std::string> tried;
  for (const std::string& candidate : candidates) {
    // Bound at once: a library that lacks what it needs must fail here and not in the middle of a
    // call.
    void* handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      tried.push_back(candidate + ": " + loader_error(candidate));
      continue;
    }
    std::shared_ptr<Library> library(new Library());
    library->handle_ = handle;
    library->path_ = loaded_path(handle, candidate);
#define KERF_NVML_RESOLVE(name, result, parameters) \
  library->functions_.name = reinterpret_cast<result(*) parameters>(dlsym(handle, #name));
    using namespace abi;
    KERF_NVML_SYMBOLS(KERF_NVML_RESOLVE)
#undef KERF_NVML_RESOLVE
    if (library->functions_.nvmlInit_v2 == nullptr) {
      tried.push_back(candidate + ": not an NVIDIA management library (no nvmlInit_v2 in it)");
      continue;
    }
    return std::shared_ptr<const Library>(std::move(library));
  }
  return fail(
      Kind::kNotFound, "cannot load NVIDIA's management library",
      candidates.size() == 1 ? candidates.front() : std::string(kSoname),
      "is the NVIDIA driver installed, and visible in this container? tried " + join(tried, "; "));
}

}  // namespace kerf::nvml
