// Asks the driver for what a counter list wants of one GPU. Every call may block for as long as the
// driver likes, so a reader is made, used and destroyed on a lane alone. Conversions: metrics
// contract §1.3.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exporter/counters.h"
#include "exporter/health.h"
#include "exporter/types.h"
#include "nvml/telemetry.h"

namespace kerf::exporter {

// What is to be read of a GPU. Shared by readers, never changed.
struct Wanted {
  Counters counters;
  bool clock_reasons = false;  // for DCGM_EXP_CLOCK_EVENTS_COUNT
  bool health = false;         // for DCGM_EXP_GPU_HEALTH_STATUS
  bool peers = false;          // for DCGM_EXP_P2P_STATUS
};
Wanted wanted_by(Counters counters);

// What one GPU answered.
struct GpuAnswer {
  // abi::kSuccess, or why the GPU or the driver as a whole did not answer: then the rest is empty.
  std::uint32_t code = 0;
  struct Part {
    std::vector<Value> values;       // parallel to Counters::values; XIDs are left blank
    std::vector<std::string> texts;  // parallel to Counters::labels
  };
  std::vector<Part> parts;  // parallel to the entities asked for
  std::optional<std::uint64_t> clock_reasons;
  HealthFacts health;
  std::vector<std::pair<std::string, std::uint32_t>> peers;  // UUID, nvmlGpuP2PStatus_t
  bool gpm = true;  // false: this GPU has no performance monitoring
};

class GpuReader {
 public:
  using Steady = std::chrono::steady_clock;

  // `entities` are of one GPU; `peers` the UUIDs of the others.
  GpuReader(std::shared_ptr<const nvml::Telemetry> telemetry, std::shared_ptr<const Wanted> wanted,
            std::vector<Entity> entities, std::vector<std::string> peers);
  ~GpuReader();
  GpuReader(const GpuReader&) = delete;
  GpuReader& operator=(const GpuReader&) = delete;

  GpuAnswer read(Steady::time_point now);

 private:
  struct Round;    // answers that several fields share, kept for one reading
  struct Profile;  // the samples of performance monitoring of one entity
  struct Traffic {
    std::uint64_t kib = 0;
    Steady::time_point at;
  };

  bool find_handles(GpuAnswer& answer);
  Value of_gpu(const Field& field, Round& round);
  Value of_part(const Field& field, Round& round, std::size_t part);
  Value simple(const Field& field, Round& round);
  Value power_limit(const Field& field, Round& round);
  Value memory(const Field& field, Round& round, std::size_t part);
  Value bar1(const Field& field, Round& round, std::size_t part);
  Value errors(const Field& field, Round& round);
  Value nvlink_bandwidth(Round& round);
  Value profile(const Field& field, Round& round, std::size_t part);
  std::string text(const Field& field, Round& round);
  void ask_fields(Round& round);
  void ask_health(Round& round, HealthFacts& out);
  void take_profiles(Round& round);
  void note(Round& round, std::uint32_t code) const;

  std::shared_ptr<const nvml::Telemetry> telemetry_;
  std::shared_ptr<const Wanted> wanted_;
  std::vector<Entity> entities_;
  std::vector<std::string> peer_uuids_;

  nvml::abi::Device gpu_ = nullptr;
  std::vector<nvml::abi::Device> parts_;  // parallel to entities_: the GPU, or a MIG device
  std::vector<std::pair<std::string, nvml::abi::Device>> peers_;
  // Fields that this GPU will not answer however often it is asked, by position in values, texts.
  std::vector<bool> dead_values_;
  std::vector<bool> dead_texts_;
  std::vector<std::uint32_t> field_ids_;  // asked for in one call
  std::vector<std::uint32_t> gpm_ids_;
  std::vector<std::unique_ptr<Profile>> profiles_;  // parallel to entities_
  std::optional<bool> gpm_supported_;
  std::optional<Traffic> traffic_;
};

}  // namespace kerf::exporter
