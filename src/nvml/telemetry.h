// The figures of a GPU, one typed method a query, for readers that ask many of them again and
// again. As in session.h every method may block for as long as the driver likes and belongs on a
// lane; unlike there an answer that is not there is a code and no Error, because on most GPUs many
// figures are missing and nobody is to be told each time. What each call means: NVML API reference.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nvml/abi.h"
#include "nvml/session.h"

namespace kerf::nvml {

// A figure, or the driver's code (abi::Return) for its absence.
template <typename T>
struct Figure {
  std::uint32_t code = abi::kErrorUnknown;
  T value{};
  explicit operator bool() const { return code == abi::kSuccess; }
};

// Codes that will not change while driver and GPU stay as they are: asking again is a waste.
bool is_lasting(std::uint32_t code);

// Thread-safe as NVML is. Keeps the session alive.
class Telemetry {
 public:
  explicit Telemetry(std::shared_ptr<const Session> session) : session_(std::move(session)) {}

  const Session& session() const { return *session_; }
  const std::shared_ptr<const Session>& shared_session() const { return session_; }

  using Number = Figure<std::uint32_t>;
  using Big = Figure<std::uint64_t>;
  using Text = Figure<std::string>;

  Number clock(abi::Device gpu, abi::ClockType type) const;      // MHz
  Number max_clock(abi::Device gpu, abi::ClockType type) const;  // MHz
  Number application_clock(abi::Device gpu, abi::ClockType type) const;
  Big clock_reasons(abi::Device gpu) const;   // bits of abi::ClockReason
  Number temperature(abi::Device gpu) const;  // degrees Celsius
  Number threshold(abi::Device gpu, abi::TemperatureThreshold which) const;
  Number power(abi::Device gpu) const;        // mW
  Number power_limit(abi::Device gpu) const;  // mW, as asked for
  Number enforced_power_limit(abi::Device gpu) const;
  Number default_power_limit(abi::Device gpu) const;
  struct Range {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
  };
  Figure<Range> power_limits(abi::Device gpu) const;  // mW
  Big energy(abi::Device gpu) const;                  // mJ since the driver was loaded
  Number fan(abi::Device gpu) const;                  // percent
  Number performance_state(abi::Device gpu) const;    // 0 to 15
  Number compute_mode(abi::Device gpu) const;
  Number persistence_mode(abi::Device gpu) const;
  Figure<abi::Utilization> utilization(abi::Device gpu) const;  // percent
  Number encoder(abi::Device gpu) const;                        // percent
  Number decoder(abi::Device gpu) const;                        // percent

  // Bytes. `reserved` is 0 with drivers that do not tell it apart. Of a GPU or a MIG device.
  struct Memory {
    std::uint64_t total = 0;
    std::uint64_t reserved = 0;
    std::uint64_t free = 0;
    std::uint64_t used = 0;
    bool tells_reserved = false;
  };
  Figure<Memory> memory(abi::Device device) const;
  Figure<abi::Bar1Memory> bar1(abi::Device device) const;

  Number pcie_replays(abi::Device gpu) const;
  Number pcie_generation(abi::Device gpu, bool greatest) const;
  Number pcie_width(abi::Device gpu, bool greatest) const;
  // Nanoseconds that clocks were held down for a reason of nvmlPerfPolicyType_t.
  Big violation(abi::Device gpu, std::uint32_t policy) const;
  Big ecc_errors(abi::Device gpu, abi::MemoryErrorType type, abi::EccCounterType counter) const;
  struct EccMode {
    std::uint32_t current = 0;
    std::uint32_t pending = 0;
  };
  Figure<EccMode> ecc_mode(abi::Device gpu) const;
  struct RemappedRows {
    std::uint32_t corrected = 0;
    std::uint32_t uncorrected = 0;
    std::uint32_t pending = 0;
    std::uint32_t failed = 0;
  };
  Figure<RemappedRows> remapped_rows(abi::Device gpu) const;
  Number mig_mode(abi::Device gpu) const;
  // Whether a virtual GPU holds a licence; false on a GPU that needs none.
  Figure<bool> licensed(abi::Device gpu) const;
  Number p2p_nvlink(abi::Device one, abi::Device two) const;  // nvmlGpuP2PStatus_t

  Text driver_version() const;
  Text nvml_version() const;
  Text name(abi::Device gpu) const;
  Text serial(abi::Device gpu) const;
  Text vbios(abi::Device gpu) const;
  Text inforom_image(abi::Device gpu) const;
  Text inforom(abi::Device gpu, std::uint32_t object) const;  // 0 OEM, 1 ECC, 2 power
  Number brand(abi::Device gpu) const;                        // abi::Brand

  // Asks for the fields named in `values`, each of which gets its own code in nvml_return. The code
  // of the call itself says only that none was answered.
  std::uint32_t fields(abi::Device gpu, std::span<abi::FieldValue> values) const;

  // Performance monitoring (Hopper and later). Samples are the caller's to free before the session
  // ends.
  Figure<bool> gpm_supported(abi::Device gpu) const;
  Figure<abi::GpmSample> gpm_allocate() const;
  void gpm_free(abi::GpmSample sample) const;
  // With an instance: of that MIG GPU instance alone.
  std::uint32_t gpm_take(abi::Device gpu, const std::uint32_t* gpu_instance,
                         abi::GpmSample sample) const;
  // The metrics between two samples, in the order of `ids`; NaN for one that is not there.
  Figure<std::vector<double>> gpm_metrics(abi::GpmSample earlier, abi::GpmSample later,
                                          std::span<const std::uint32_t> ids) const;

 private:
  template <typename Function, typename... Arguments>
  std::uint32_t call(Function function, Arguments... arguments) const;
  template <typename Function, typename... Before>
  Number number(Function function, Before... before) const;
  template <typename Function, typename... Before>
  Text text(Function function, std::uint32_t size, Before... before) const;

  const abi::Functions& functions() const { return session_->library().functions(); }

  std::shared_ptr<const Session> session_;
};

// The number in a field value, whatever its type; nothing for a field that was not answered.
Figure<double> field_number(const abi::FieldValue& value);

}  // namespace kerf::nvml
