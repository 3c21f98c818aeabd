// Naming CDI devices.
#include "allocate/cdi.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "edits/edits.h"

namespace kerf::allocate {
namespace {

using config::DeviceListStrategy;

constexpr char kVendor[] = "k8s.device-plugin.nvidia.com/";

Unexpected refuse(const std::string& why) {
  return fail(Kind::kNotFound,
              "failed to get allocate response: failed to get allocate response for CDI: " + why);
}

std::string why_not(const HostFacts& host, std::string_view device_class, const std::string& name) {
  auto trouble = host.cdi.trouble.find(device_class);
  std::string text = "no CDI specification offers " + name;
  return trouble == host.cdi.trouble.end() ? text : text + ": " + trouble->second;
}

// FNV-1a, 64 bits. `start` makes two of them differ.
std::uint64_t hash(std::uint64_t start, std::string_view text) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  for (char c : text) start = (start ^ static_cast<unsigned char>(c)) * kPrime;
  return start;
}

bool uses(const config::Config& config, DeviceListStrategy strategy) {
  return std::ranges::find(config.device_list_strategies, strategy) !=
         config.device_list_strategies.end();
}

}  // namespace

Result<std::vector<std::string>> cdi_devices(const config::Config& config,
                                             std::span<const std::string_view> names,
                                             const HostFacts& host) {
  std::vector<std::string> devices;
  std::optional<std::string> missing;
  auto name = [&](std::string_view device_class, std::string_view device, bool must) {
    std::string qualified = std::string(kVendor).append(device_class).append("=").append(device);
    if (host.cdi.devices.contains(qualified)) {
      devices.push_back(std::move(qualified));
    } else if (!missing && (must || host.cdi.trouble.contains(device_class))) {
      missing = why_not(host, device_class, qualified);
    }
  };
  for (std::string_view gpu : names) name("gpu", gpu, true);
  for (int channel : host.imex_channels) name("imex-channel", std::to_string(channel), true);
  // Where the machine has no such devices there is no specification, and nothing to name.
  if (config.gdrcopy_enabled) name("gdrcopy", "all", false);
  if (config.gds_enabled) name("gds", "all", false);
  if (config.mofed_enabled) name("mofed", "all", false);
  if (missing) return refuse(*missing);
  return devices;
}

std::string cdi_annotation_key(std::string_view prefix, std::string_view resource,
                               std::span<const std::string_view> ids) {
  std::vector<std::string_view> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  std::string text(resource);
  for (std::string_view id : sorted) text.append("\n").append(id);
  std::uint64_t high = hash(0xcbf29ce484222325, text);
  std::uint64_t low = hash(high ^ 0x9e3779b97f4a7c15, text);
  // Version 8 of RFC 9562: bits of the maker's choice.
  high = (high & ~0xf000ull) | 0x8000ull;
  low = (low & ~(3ull << 62)) | (2ull << 62);
  std::array<char, 37> uuid{};
  std::snprintf(uuid.data(), uuid.size(), "%08x-%04x-%04x-%04x-%012llx",
                static_cast<unsigned>(high >> 32), static_cast<unsigned>(high >> 16 & 0xffff),
                static_cast<unsigned>(high & 0xffff), static_cast<unsigned>(low >> 48),
                static_cast<unsigned long long>(low & 0xffffffffffff));
  return std::string(prefix).append("nvidia-device-plugin_").append(uuid.data());
}

edits::Edits cdi_edits(const config::Config& config, std::string key,
                       const std::vector<std::string>& devices) {
  edits::Edits edits;
  if (devices.empty()) return edits;
  if (uses(config, DeviceListStrategy::kCdiAnnotations)) {
    merge(edits, edits::annotation(std::move(key), join(devices, ",")));
  }
  if (uses(config, DeviceListStrategy::kCdiCri)) {
    for (const std::string& device : devices) merge(edits, edits::cdi_device(device));
  }
  return edits;
}

}  // namespace kerf::allocate
