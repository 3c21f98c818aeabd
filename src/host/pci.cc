#include "host/pci.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"

namespace kerf::host {

namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kNvidia = 0x10de;
constexpr std::uint32_t kDisplayClass = 0x03;

std::string devices_directory(const Roots& roots) {
  return join_path(roots.sys, "bus/pci/devices");
}

// sysfs writes ids as 0x10de.
std::optional<std::uint32_t> read_hex(const std::string& path) {
  auto content = read_file(path, 4096);
  if (!content) return std::nullopt;
  std::string_view text = trim(*content);
  if (!text.starts_with("0x")) return std::nullopt;
  text.remove_prefix(2);
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string bound_driver(const fs::path& device) {
  std::error_code error;
  fs::path target = fs::read_symlink(device / "driver", error);
  return error ? std::string() : target.filename().string();
}

std::optional<PciGpu> read_gpu(const Roots& roots, const fs::path& device) {
  auto vendor = read_hex(device / "vendor");
  auto class_code = read_hex(device / "class");
  auto id = read_hex(device / "device");
  if (!vendor || *vendor != kNvidia || !class_code || *class_code >> 16 != kDisplayClass || !id) {
    return std::nullopt;
  }
  PciGpu gpu;
  gpu.bus_id = device.filename();
  gpu.device_id = static_cast<std::uint16_t>(*id);
  gpu.class_code = *class_code;
  gpu.driver = bound_driver(device);
  gpu.numa_node = numa_node(roots, gpu.bus_id).value_or(std::nullopt);
  return gpu;
}

}  // namespace

std::vector<PciGpu> pci_gpus(const Roots& roots) {
  std::vector<PciGpu> gpus;
  std::error_code error;
  for (fs::directory_iterator it(devices_directory(roots), error), end; !error && it != end;
       it.increment(error)) {
    if (auto gpu = read_gpu(roots, it->path())) gpus.push_back(std::move(*gpu));
  }
  std::sort(gpus.begin(), gpus.end(),
            [](const PciGpu& a, const PciGpu& b) { return a.bus_id < b.bus_id; });
  return gpus;
}

Result<std::optional<int>> numa_node(const Roots& roots, std::string_view bus_id) {
  std::string path = join_path(join_path(devices_directory(roots), bus_id), "numa_node");
  auto content = read_file(path, 4096);
  if (!content) return std::optional<int>();
  std::string_view text = trim(*content);
  int node = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), node);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    return fail(Kind::kCorrupt, "NUMA node is not a number", path,
                "the GPU is offered without NUMA affinity");
  }
  return node < 0 ? std::optional<int>() : std::optional<int>(node);
}

}  // namespace kerf::host
