#include "inventory/mig.h"

#include <cmath>
#include <string_view>

#include "nvml/abi.h"

namespace kerf::inventory {

namespace {

std::string_view attribute(std::optional<unsigned> profile) {
  if (!profile) return "";
  switch (*profile) {
    case nvml::abi::kProfile1SliceMe:
    case nvml::abi::kProfile2SliceMe:
      return "+me";
    case nvml::abi::kProfile1SliceGfx:
    case nvml::abi::kProfile2SliceGfx:
    case nvml::abi::kProfile3SliceGfx:
    case nvml::abi::kProfile4SliceGfx:
      return "+gfx";
    case nvml::abi::kProfile1SliceNoMe:
    case nvml::abi::kProfile2SliceNoMe:
      return "-me";
    case nvml::abi::kProfile1SliceAllMe:
    case nvml::abi::kProfile2SliceAllMe:
      return "+me.all";
    default:
      return "";
  }
}

unsigned gigabytes(std::uint64_t mib, std::optional<std::uint64_t> total_bytes) {
  double own = static_cast<double>(mib) / 1024.0;
  if (!total_bytes || *total_bytes == 0) return static_cast<unsigned>(std::ceil(own));
  double total = static_cast<double>(*total_bytes) / (1024.0 * 1024.0 * 1024.0);
  double share = std::ceil(own / total * 8.0) / 8.0;
  return static_cast<unsigned>(std::round(share * std::ceil(total)));
}

}  // namespace

std::string mig_profile_name(const MigShape& shape, std::optional<std::uint64_t> gpu_memory_bytes) {
  std::string name;
  if (shape.compute_slices != shape.gpu_slices) name = std::to_string(shape.compute_slices) + "c.";
  name += std::to_string(shape.gpu_slices) + "g.";
  name += std::to_string(gigabytes(shape.memory_mib, gpu_memory_bytes)) + "gb";
  return name.append(attribute(shape.profile));
}

}  // namespace kerf::inventory
