#include "host/vgpu.h"

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"

namespace kerf::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigSpace = 256;  // what every PCI device has
constexpr std::size_t kStatus = 0x06;
constexpr unsigned kHasCapabilities = 0x10;
constexpr std::size_t kFirstCapability = 0x34;
constexpr unsigned kVendorSpecific = 0x09;
constexpr std::size_t kRecords = 5;  // behind id, next, length, 'V', 'F'
constexpr unsigned kHostDriver = 0;
constexpr std::size_t kText = 10;

unsigned byte(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

std::string text(std::string_view bytes) {
  return std::string(bytes.substr(0, std::min(bytes.find('\0'), bytes.size())));
}

// The vendor-specific capability with all its bytes; empty when there is none.
std::string_view vendor_capability(std::string_view config) {
  if (config.size() < kConfigSpace || (byte(config, kStatus) & kHasCapabilities) == 0) return {};
  std::size_t at = byte(config, kFirstCapability);
  // A list that leads back to itself ends after as many steps as there is room for capabilities.
  for (int steps = 0; steps < 64 && at != 0; ++steps) {
    if (at + 2 >= config.size()) return {};
    if (byte(config, at) == kVendorSpecific) return config.substr(at, byte(config, at + 2));
    at = byte(config, at + 1);
  }
  return {};
}

void read_record(std::string_view record, Vgpu& vgpu) {
  if (byte(record, 0) != kHostDriver || record.size() < 2 + 2 * kText) return;
  vgpu.host_driver_version = text(record.substr(2, kText));
  vgpu.host_driver_branch = text(record.substr(2 + kText, kText));
}

}  // namespace

std::optional<Vgpu> parse_vgpu(std::string_view config_space) {
  std::string_view capability = vendor_capability(config_space);
  if (capability.size() < kRecords || capability.substr(3, 2) != "VF") return {};
  Vgpu vgpu;
  std::string_view rest = capability.substr(kRecords);
  while (rest.size() >= 2) {
    std::size_t length = byte(rest, 1);
    if (length < 2) break;
    read_record(rest.substr(0, length), vgpu);
    rest.remove_prefix(std::min(length, rest.size()));
  }
  return vgpu;
}

Result<std::vector<Vgpu>> vgpus(const Roots& roots) {
  std::vector<Vgpu> found;
  std::error_code error;
  fs::directory_iterator it(join_path(roots.sys, "bus/pci/devices"), error);
  for (fs::directory_iterator end; !error && it != end; it.increment(error)) {
    Result<std::string> vendor = read_file((it->path() / "vendor").string(), 4096);
    if (!vendor || trim(*vendor) != "0x10de") continue;
    std::string path = (it->path() / "config").string();
    Result<std::string> config = read_file(path, 1 << 16);
    if (!config) return fail(std::move(config.error()));
    if (config->size() < kConfigSpace) {
      return fail(Kind::kDenied, "the kernel shows only the beginning of the configuration space",
                  path, "run with CAP_SYS_ADMIN to have the vgpu labels");
    }
    std::optional<Vgpu> vgpu = parse_vgpu(*config);
    if (!vgpu) continue;
    vgpu->bus_id = it->path().filename().string();
    found.push_back(std::move(*vgpu));
  }
  std::ranges::sort(found, {}, &Vgpu::bus_id);
  return found;
}

}  // namespace kerf::host
