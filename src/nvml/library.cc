#include "nvml/library.h"

#include <cstdlib>
#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

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

// The file behind a path's links; a plain soname stays as it is, for the loader to search.
std::string resolved(const std::string& candidate) {
  if (candidate.find('/') == std::string::npos) return candidate;
  std::unique_ptr<char, decltype(&std::free)> path(realpath(candidate.c_str(), nullptr), std::free);
  return path ? path.get() : candidate;
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
    std::string file = resolved(candidate);
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      tried.push_back(candidate + ": " + loader_error(file));
      continue;
    }
    std::shared_ptr<Library> library(new Library());
    library->handle_ = handle;
    library->path_ = loaded_path(handle, file);
    library->candidate_ = candidate;
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

std::optional<LibraryCache::Identity> LibraryCache::identity(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino,
                  status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec};
}

bool LibraryCache::still_best(std::span<const std::string> candidates) const {
  for (const std::string& candidate : candidates) {
    if (candidate == kept_->candidate_) {
      std::string file = resolved(candidate);
      if (file.find('/') == std::string::npos) file = kept_->path();
      return kept_identity_ && identity(file) == kept_identity_;
    }
    if (identity(candidate)) return false;
  }
  return false;
}

Result<std::shared_ptr<const Library>> LibraryCache::open(std::span<const std::string> candidates) {
  std::lock_guard lock(mutex_);
  if (kept_ && still_best(candidates)) return kept_;
  kept_.reset();
  auto library = Library::open(candidates);
  if (library) {
    kept_ = *library;
    kept_identity_ = identity(kept_->path());
  }
  return library;
}

void LibraryCache::forget() {
  std::lock_guard lock(mutex_);
  kept_.reset();
}

}  // namespace kerf::nvml
