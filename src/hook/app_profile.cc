#include "hook/app_profile.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/roots.h"

namespace kerf::hook {
namespace {

constexpr std::string_view kPrefix = "nvidia";
constexpr std::string_view kProfile =
    "etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf";
constexpr mode_t kForReaders = 0444;
constexpr unsigned kBits = 64;

}  // namespace

bool is_gpu_node(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

std::string profile_of(std::uint64_t minors) {
  char mask[2 + 16 + 1];
  std::snprintf(mask, sizeof mask, "0x%llx", static_cast<unsigned long long>(minors));
  return std::string(R"({"profiles":[{"name":"_container_","settings":["EGLVisibleDGPUDevices",)") +
         mask + R"(]}],"rules":[{"pattern":[],"profile":"_container_"}]})";
}

Result<std::string> update_application_profile(const ContainerRoot& root) {
  std::uint64_t minors = 0;
  for (const std::string& name : root.names("dev")) {
    if (!is_gpu_node(name)) continue;
    auto node = root.find(join_path("dev", name), Reach::kAnyMount);
    struct stat about{};
    if (!node || fstat(node->get(), &about) != 0 || !S_ISCHR(about.st_mode)) continue;
    const unsigned number = minor(about.st_rdev);
    if (number < kBits) minors |= std::uint64_t{1} << number;
  }
  if (minors == 0) return std::string("the container has no GPU's node");
  auto put = root.put(kProfile, profile_of(minors), kForReaders);
  if (!put) return fail(std::move(put.error()));
  return "EGL and Vulkan see " + std::to_string(std::popcount(minors)) + " GPUs";
}

}  // namespace kerf::hook
