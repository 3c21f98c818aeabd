#include "nvml/control.h"

#include <string_view>

#include "nvml/errors.h"

namespace kerf::nvml {
namespace {

template <typename Function, typename... Arguments>
Status call(const Session& session, std::string_view name, Function function,
            Arguments... arguments) {
  const abi::Return code =
      function == nullptr ? abi::kErrorFunctionNotFound : function(arguments...);
  session.count(code);
  if (code == abi::kSuccess) return {};
  return fail(error_for(code, name));
}

}  // namespace

#define KERF_NVML_SET(symbol, ...) \
  call(*session_, #symbol, session_->library().functions().symbol, __VA_ARGS__)

Status Control::set_power_limit(abi::Device gpu, std::uint32_t milliwatts) const {
  return KERF_NVML_SET(nvmlDeviceSetPowerManagementLimit, gpu, milliwatts);
}

Status Control::set_persistence(abi::Device gpu, bool on) const {
  const std::uint32_t mode = on ? abi::kEnabled : abi::kDisabled;
  return KERF_NVML_SET(nvmlDeviceSetPersistenceMode, gpu, mode);
}

Status Control::lock_clock(abi::Device gpu, Clock which, std::uint32_t min_mhz,
                           std::uint32_t max_mhz) const {
  if (which == Clock::kMemory) {
    return KERF_NVML_SET(nvmlDeviceSetMemoryLockedClocks, gpu, min_mhz, max_mhz);
  }
  return KERF_NVML_SET(nvmlDeviceSetGpuLockedClocks, gpu, min_mhz, max_mhz);
}

Status Control::unlock_clock(abi::Device gpu, Clock which) const {
  if (which == Clock::kMemory) return KERF_NVML_SET(nvmlDeviceResetMemoryLockedClocks, gpu);
  return KERF_NVML_SET(nvmlDeviceResetGpuLockedClocks, gpu);
}

#undef KERF_NVML_SET

}  // namespace kerf::nvml
