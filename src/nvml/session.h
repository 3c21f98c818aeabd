// An initialised driver: nvmlInit on construction, nvmlShutdown on destruction, and in between one
// typed method a query. Answers are checked before they are believed: text must end inside its
// buffer and be printable, counts must be plausible. Every method may block for as long as the
// driver likes, the destructor too, so a Session lives and dies on the threads of a lane or of the
// event pump. What each call means: NVML API reference.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "nvml/abi.h"
#include "nvml/errors.h"
#include "nvml/library.h"

namespace kerf::nvml {

// Where a device sits on the PCI bus.
struct Pci {
  std::string bus_id;               // sysfs spelling, lower case: "0000:3b:00.0"
  std::uint32_t pci_device_id = 0;  // device << 16 | vendor
};

// What an event set delivers.
struct RawEvent {
  abi::Device device = nullptr;
  std::uint64_t type = 0;  // one bit of abi::EventType
  std::uint64_t data = 0;  // the XID of an XID event
  std::uint32_t gpu_instance = abi::kNoInstance;
  std::uint32_t compute_instance = abi::kNoInstance;
};

// Thread-safe as NVML is; used from one lane and one event pump.
class Session {
 public:
  // Initialises the driver. `counters` counts every call of the session.
  static Result<std::shared_ptr<const Session>> open(std::shared_ptr<const Library> library,
                                                     std::shared_ptr<CallCounters> counters);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Library& library() const { return *library_; }
  // Counts a call that was made past this class, see telemetry.h.
  void count(std::uint32_t code) const { counters_->count(code); }

  Result<std::string> driver_version() const;
  Result<int> cuda_version() const;  // 1000·major + 10·minor

  Result<unsigned> gpu_count() const;
  Result<abi::Device> gpu_by_index(unsigned index) const;
  Result<abi::Device> gpu_by_uuid(const std::string& uuid) const;

  Result<std::string> uuid(abi::Device device) const;  // of a GPU or a MIG device
  Result<std::string> name(abi::Device device) const;
  Result<unsigned> minor(abi::Device device) const;
  Result<Pci> pci(abi::Device device) const;
  Result<std::uint64_t> memory_bytes(abi::Device device) const;
  struct ComputeCapability {
    int major = 0;
    int minor = 0;
  };
  Result<ComputeCapability> compute_capability(abi::Device device) const;
  Result<std::uint32_t> architecture(abi::Device device) const;  // abi::Architecture

  Result<bool> mig_enabled(abi::Device gpu) const;  // kUnsupported: not capable of MIG
  Result<unsigned> mig_slots(abi::Device gpu) const;
  Result<abi::Device> mig_device(abi::Device gpu, unsigned slot) const;  // kNotFound: a hole
  Result<unsigned> gpu_instance_id(abi::Device mig) const;
  Result<unsigned> compute_instance_id(abi::Device mig) const;
  Result<abi::DeviceAttributes> attributes(abi::Device mig) const;
  // The profile of a GPU instance as NVML enumerates profiles (abi::GpuInstanceProfile).
  Result<unsigned> gpu_instance_profile(abi::Device gpu, unsigned gpu_instance) const;

  // The fabric that a GPU has joined. kUnsupported: none to join; kNotFound: not joined (yet).
  struct Fabric {
    std::string cluster_uuid;  // 8-4-4-4-12 hexadecimal digits in lower case
    std::uint32_t clique = 0;
  };
  Result<Fabric> fabric(abi::Device gpu) const;

  Result<std::uint32_t> topology(abi::Device one, abi::Device two) const;  // abi::TopologyLevel
  Result<bool> nvlink_active(abi::Device gpu, unsigned link) const;
  Result<Pci> nvlink_remote(abi::Device gpu, unsigned link) const;
  // Whether the far end of an active link is an NVSwitch. kUnsupported: the driver cannot tell.
  Result<bool> nvlink_to_switch(abi::Device gpu, unsigned link) const;

  // Uncorrectable memory errors since the last reset or load of the driver. kUnsupported: no ECC.
  Result<std::uint64_t> uncorrectable_errors(abi::Device gpu) const;
  // Whether bad memory rows wait for a reset to be replaced, or could not be. kUnsupported: the GPU
  // replaces none.
  struct RemappedRows {
    bool pending = false;
    bool failed = false;
  };
  Result<RemappedRows> remapped_rows(abi::Device gpu) const;
  Result<std::uint64_t> clock_reasons(abi::Device gpu) const;  // bits of abi::ClockReason
  Result<unsigned> temperature(abi::Device gpu) const;         // degrees Celsius
  Result<unsigned> shutdown_temperature(abi::Device gpu) const;
  // What the driver asks for after an error: 0 nothing, 1 a reset of the GPU, 2 a reboot, 3 and 4 a
  // drain, more on newer drivers.
  Result<std::uint32_t> recovery_action(abi::Device gpu) const;

  Result<abi::EventSet> create_event_set() const;
  Status free_event_set(abi::EventSet set) const;
  Result<std::uint64_t> supported_events(abi::Device gpu) const;
  Status register_events(abi::Device gpu, std::uint64_t types, abi::EventSet set) const;
  // kTimeout when nothing came within `timeout_ms`. Waiting in vain is not counted as an error.
  Result<RawEvent> wait_for_event(abi::EventSet set, unsigned timeout_ms) const;

 private:
  Session(std::shared_ptr<const Library> library, std::shared_ptr<CallCounters> counters)
      : library_(std::move(library)), counters_(std::move(counters)) {}

  template <typename Function, typename... Arguments>
  Status call(std::string_view name, Function function, Arguments... arguments) const;
  template <typename Function, typename... Before>
  Result<std::string> text(std::string_view name, Function function, std::uint32_t size,
                           Before... before) const;

  std::shared_ptr<const Library> library_;
  std::shared_ptr<CallCounters> counters_;
};

}  // namespace kerf::nvml
