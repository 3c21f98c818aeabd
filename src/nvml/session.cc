#include "nvml/session.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace kerf::nvml {

namespace {

// No machine has more; a greater answer is garbage and must not size a loop.
constexpr unsigned kMaxGpus = 1024;
constexpr unsigned kMaxMigSlots = 64;
// More room than is announced, for a driver that writes past the end of what it was given.
constexpr std::size_t kSlack = 256;

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

Result<unsigned> plausible(std::string_view function, unsigned count, unsigned limit) {
  if (count <= limit) return count;
  return fail(Kind::kCorrupt,
              std::string(function) + ": implausible count " + std::to_string(count));
}

Result<Pci> to_pci(std::string_view function, const abi::PciInfo& info) {
  if (info.bus > 0xFF || info.device > 0x1F) {
    return fail(Kind::kCorrupt, std::string(function) + ": implausible PCI address");
  }
  // The kernel writes at least four digits of domain, NVML always eight.
  char address[32];
  std::snprintf(address, sizeof address, "%04x:%02x:%02x.0", info.domain, info.bus, info.device);
  return Pci{address, info.pci_device_id};
}

}  // namespace

template <typename Function, typename... Arguments>
Status Session::call(std::string_view name, Function function, Arguments... arguments) const {
  abi::Return code = function == nullptr ? abi::kErrorFunctionNotFound : function(arguments...);
  counters_->count(code);
  if (code == abi::kSuccess) return {};
  return fail(error_for(code, name));
}

template <typename Function, typename... Before>
Result<std::string> Session::text(std::string_view name, Function function, std::uint32_t size,
                                  Before... before) const {
  std::string buffer(size + kSlack, '\0');
  if (Status got = call(name, function, before..., buffer.data(), size); !got) {
    return fail(std::move(got.error()));
  }
  std::size_t length = strnlen(buffer.data(), size);
  buffer.resize(length);
  if (length == size || length == 0 || !is_printable(buffer)) {
    return fail(Kind::kCorrupt, std::string(name) + ": answered something that is not text");
  }
  return buffer;
}

#define KERF_NVML_CALL(symbol, ...) call(#symbol, library_->functions().symbol, __VA_ARGS__)
#define KERF_NVML_TEXT(symbol, ...) text(#symbol, library_->functions().symbol, __VA_ARGS__)

Result<std::shared_ptr<const Session>> Session::open(std::shared_ptr<const Library> library,
                                                     std::shared_ptr<CallCounters> counters) {
  abi::Return code = library->functions().nvmlInit_v2();
  counters->count(code);
  if (code != abi::kSuccess) {
    return fail(error_for(code, "nvmlInit_v2", library->path()));
  }
  return std::shared_ptr<const Session>(new Session(std::move(library), std::move(counters)));
}

Session::~Session() {
  // Nobody is left to tell; the call is counted with its error like any other.
  auto shutdown = library_->functions().nvmlShutdown;
  if (shutdown != nullptr) counters_->count(shutdown());
}

Result<std::string> Session::driver_version() const {
  return KERF_NVML_TEXT(nvmlSystemGetDriverVersion, abi::kVersionSize);
}

Result<int> Session::cuda_version() const {
  int version = 0;
  if (Status got = KERF_NVML_CALL(nvmlSystemGetCudaDriverVersion_v2, &version); !got) {
    return fail(std::move(got.error()));
  }
  return version;
}

Result<unsigned> Session::gpu_count() const {
  unsigned count = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetCount_v2, &count); !got) {
    return fail(std::move(got.error()));
  }
  return plausible("nvmlDeviceGetCount_v2", count, kMaxGpus);
}

Result<abi::Device> Session::gpu_by_index(unsigned index) const {
  abi::Device device = nullptr;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetHandleByIndex_v2, index, &device); !got) {
    got.error().subject = "GPU " + std::to_string(index);
    return fail(std::move(got.error()));
  }
  return device;
}

Result<abi::Device> Session::gpu_by_uuid(const std::string& uuid) const {
  abi::Device device = nullptr;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetHandleByUUID, uuid.c_str(), &device); !got) {
    got.error().subject = uuid;
    return fail(std::move(got.error()));
  }
  return device;
}

Result<std::string> Session::uuid(abi::Device device) const {
  auto uuid = KERF_NVML_TEXT(nvmlDeviceGetUUID, abi::kUuidSize, device);
  // It becomes part of device ids, environments and paths.
  if (uuid && uuid->find_first_of(" ,/\\\"'") != std::string::npos && !uuid->starts_with("MIG-")) {
    return fail(Kind::kCorrupt, "nvmlDeviceGetUUID: answered something that is not a UUID", *uuid);
  }
  return uuid;
}

Result<std::string> Session::name(abi::Device device) const {
  return KERF_NVML_TEXT(nvmlDeviceGetName, abi::kNameSize, device);
}

Result<unsigned> Session::minor(abi::Device device) const {
  unsigned minor = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetMinorNumber, device, &minor); !got) {
    return fail(std::move(got.error()));
  }
  return minor;
}

Result<Pci> Session::pci(abi::Device device) const {
  abi::PciInfo info{};
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetPciInfo_v3, device, &info); !got) {
    return fail(std::move(got.error()));
  }
  return to_pci("nvmlDeviceGetPciInfo_v3", info);
}

Result<std::uint64_t> Session::memory_bytes(abi::Device device) const {
  abi::Memory memory{};
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetMemoryInfo, device, &memory); !got) {
    return fail(std::move(got.error()));
  }
  return memory.total;
}

Result<Session::ComputeCapability> Session::compute_capability(abi::Device device) const {
  ComputeCapability capability;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetCudaComputeCapability, device, &capability.major,
                                  &capability.minor);
      !got) {
    return fail(std::move(got.error()));
  }
  return capability;
}

Result<std::uint32_t> Session::architecture(abi::Device device) const {
  std::uint32_t architecture = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetArchitecture, device, &architecture); !got) {
    return fail(std::move(got.error()));
  }
  return architecture;
}

Result<bool> Session::mig_enabled(abi::Device gpu) const {
  std::uint32_t current = 0;
  std::uint32_t pending = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetMigMode, gpu, &current, &pending); !got) {
    return fail(std::move(got.error()));
  }
  return current == abi::kEnabled;
}

Result<unsigned> Session::mig_slots(abi::Device gpu) const {
  unsigned count = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetMaxMigDeviceCount, gpu, &count); !got) {
    return fail(std::move(got.error()));
  }
  return plausible("nvmlDeviceGetMaxMigDeviceCount", count, kMaxMigSlots);
}

Result<abi::Device> Session::mig_device(abi::Device gpu, unsigned slot) const {
  abi::Device mig = nullptr;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetMigDeviceHandleByIndex, gpu, slot, &mig); !got) {
    return fail(std::move(got.error()));
  }
  return mig;
}

Result<unsigned> Session::gpu_instance_id(abi::Device mig) const {
  unsigned id = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetGpuInstanceId, mig, &id); !got) {
    return fail(std::move(got.error()));
  }
  return id;
}

Result<unsigned> Session::compute_instance_id(abi::Device mig) const {
  unsigned id = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetComputeInstanceId, mig, &id); !got) {
    return fail(std::move(got.error()));
  }
  return id;
}

Result<abi::DeviceAttributes> Session::attributes(abi::Device mig) const {
  abi::DeviceAttributes attributes{};
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetAttributes_v2, mig, &attributes); !got) {
    return fail(std::move(got.error()));
  }
  return attributes;
}

Result<unsigned> Session::gpu_instance_profile(abi::Device gpu, unsigned gpu_instance) const {
  abi::GpuInstance instance = nullptr;
  abi::GpuInstanceInfo info{};
  Status got = KERF_NVML_CALL(nvmlDeviceGetGpuInstanceById, gpu, gpu_instance, &instance);
  if (got) got = KERF_NVML_CALL(nvmlGpuInstanceGetInfo, instance, &info);
  if (!got) return fail(std::move(got.error()));
  // The instance carries the id that nvidia-smi prints; which profile of the enumeration that is,
  // only a walk through the profiles tells.
  for (unsigned profile = 0; profile < abi::kGpuInstanceProfileCount; ++profile) {
    abi::GpuInstanceProfileInfo candidate{};
    if (KERF_NVML_CALL(nvmlDeviceGetGpuInstanceProfileInfo, gpu, profile, &candidate) &&
        candidate.id == info.profile_id) {
      return profile;
    }
  }
  return fail(Kind::kNotFound, "no MIG profile of this GPU has the GPU instance's profile id " +
                                   std::to_string(info.profile_id));
}

Result<Session::Fabric> Session::fabric(abi::Device gpu) const {
  abi::GpuFabricInfo info{};
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetGpuFabricInfo, gpu, &info); !got) {
    return fail(std::move(got.error()));
  }
  auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  if (info.state != abi::kFabricCompleted || info.status != abi::kSuccess ||
      std::all_of(std::begin(info.cluster_uuid), std::end(info.cluster_uuid), is_zero)) {
    return fail(Kind::kNotFound, "the GPU has not joined a fabric");
  }
  Fabric fabric;
  for (std::size_t i = 0; i < std::size(info.cluster_uuid); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) fabric.cluster_uuid += '-';
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", info.cluster_uuid[i]);
    fabric.cluster_uuid += digits;
  }
  fabric.clique = info.clique_id;
  return fabric;
}

Result<std::uint32_t> Session::topology(abi::Device one, abi::Device two) const {
  std::uint32_t level = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetTopologyCommonAncestor, one, two, &level); !got) {
    return fail(std::move(got.error()));
  }
  return level;
}

Result<bool> Session::nvlink_active(abi::Device gpu, unsigned link) const {
  std::uint32_t active = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetNvLinkState, gpu, link, &active); !got) {
    return fail(std::move(got.error()));
  }
  return active == abi::kEnabled;
}

Result<Pci> Session::nvlink_remote(abi::Device gpu, unsigned link) const {
  abi::PciInfo info{};
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetNvLinkRemotePciInfo_v2, gpu, link, &info); !got) {
    return fail(std::move(got.error()));
  }
  return to_pci("nvmlDeviceGetNvLinkRemotePciInfo_v2", info);
}

Result<bool> Session::nvlink_to_switch(abi::Device gpu, unsigned link) const {
  std::uint32_t type = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetNvLinkRemoteDeviceType, gpu, link, &type); !got) {
    return fail(std::move(got.error()));
  }
  return type == abi::kNvLinkToSwitch;
}

Result<std::uint64_t> Session::uncorrectable_errors(abi::Device gpu) const {
  std::uint64_t count = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetTotalEccErrors, gpu, abi::kErrorsUncorrected,
                                  abi::kEccVolatile, &count);
      !got) {
    return fail(std::move(got.error()));
  }
  return count;
}

Result<Session::RemappedRows> Session::remapped_rows(abi::Device gpu) const {
  std::uint32_t corrected = 0;
  std::uint32_t uncorrected = 0;
  std::uint32_t pending = 0;
  std::uint32_t failed = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetRemappedRows, gpu, &corrected, &uncorrected,
                                  &pending, &failed);
      !got) {
    return fail(std::move(got.error()));
  }
  return RemappedRows{pending != 0, failed != 0};
}

Result<std::uint64_t> Session::clock_reasons(abi::Device gpu) const {
  std::uint64_t reasons = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetCurrentClocksThrottleReasons, gpu, &reasons); !got) {
    return fail(std::move(got.error()));
  }
  return reasons;
}

Result<unsigned> Session::temperature(abi::Device gpu) const {
  unsigned celsius = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetTemperature, gpu, abi::kTemperatureGpu, &celsius);
      !got) {
    return fail(std::move(got.error()));
  }
  return celsius;
}

Result<unsigned> Session::shutdown_temperature(abi::Device gpu) const {
  unsigned celsius = 0;
  if (Status got =
          KERF_NVML_CALL(nvmlDeviceGetTemperatureThreshold, gpu, abi::kThresholdShutdown, &celsius);
      !got) {
    return fail(std::move(got.error()));
  }
  return celsius;
}

Result<std::uint32_t> Session::recovery_action(abi::Device gpu) const {
  abi::FieldValue field{};
  field.field_id = abi::kFieldRecoveryAction;
  Status got = KERF_NVML_CALL(nvmlDeviceGetFieldValues, gpu, 1, &field);
  if (got && field.nvml_return != abi::kSuccess) {
    got = fail(error_for(field.nvml_return, "nvmlDeviceGetFieldValues"));
  }
  if (!got) return fail(std::move(got.error()));
  return field.value.uint32;
}

Result<abi::EventSet> Session::create_event_set() const {
  abi::EventSet set = nullptr;
  if (Status got = KERF_NVML_CALL(nvmlEventSetCreate, &set); !got) {
    return fail(std::move(got.error()));
  }
  return set;
}

Status Session::free_event_set(abi::EventSet set) const {
  return KERF_NVML_CALL(nvmlEventSetFree, set);
}

Result<std::uint64_t> Session::supported_events(abi::Device gpu) const {
  std::uint64_t types = 0;
  if (Status got = KERF_NVML_CALL(nvmlDeviceGetSupportedEventTypes, gpu, &types); !got) {
    return fail(std::move(got.error()));
  }
  return types;
}

Status Session::register_events(abi::Device gpu, std::uint64_t types, abi::EventSet set) const {
  return KERF_NVML_CALL(nvmlDeviceRegisterEvents, gpu, types, set);
}

Result<RawEvent> Session::wait_for_event(abi::EventSet set, unsigned timeout_ms) const {
  auto wait = library_->functions().nvmlEventSetWait_v2;
  abi::EventData data{};
  data.gpu_instance_id = abi::kNoInstance;
  data.compute_instance_id = abi::kNoInstance;
  abi::Return code = wait == nullptr ? abi::kErrorFunctionNotFound : wait(set, &data, timeout_ms);
  counters_->count(code == abi::kErrorTimeout ? abi::kSuccess : code);
  if (code != abi::kSuccess) return fail(error_for(code, "nvmlEventSetWait_v2"));
  return RawEvent{data.device, data.event_type, data.event_data, data.gpu_instance_id,
                  data.compute_instance_id};
}

#undef KERF_NVML_CALL
#undef KERF_NVML_TEXT

}  // namespace kerf::nvml
