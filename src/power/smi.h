// What nvidia-smi prints, from our own calls: for images without it, and for people and scripts who
// know no other program. The forms are those of NVIDIA's program; what it shows beyond them, of
// graphics, vGPU or confidential computing, is left out. Asks the driver, so it belongs on a lane;
// decides and prints nothing itself.
// Source: nvidia-smi's manual (fields of --query-gpu), seed checklist S1-33, S1-34.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "nvml/session.h"
#include "nvml/telemetry.h"

namespace kerf::power {

// One GPU to be asked.
struct SmiGpu {
  const nvml::Telemetry& ask;
  nvml::abi::Device device = nullptr;
  unsigned index = 0;
  unsigned count = 0;  // GPUs in all
};

// A field of --query-gpu.
struct SmiField {
  std::string_view name;   // as the head of its column says
  std::string_view alias;  // another name to ask for it by; may be empty
  std::string_view unit;   // "W"; may be empty
  std::string (*value)(
      const SmiGpu& gpu);  // without unit; "[N/A]" and the like where there is none
};

// All fields that are known, in the order of the help.
std::span<const SmiField> smi_fields();

// "index,name,power.draw" as fields. kInvalid names the one that is not known.
Result<std::vector<const SmiField*>> parse_smi_fields(std::string_view list);

// "index, name, power.draw [W]"
std::string smi_head(std::span<const SmiField* const> fields, bool units);
// "0, NVIDIA GeForce RTX 3090, 22.33 W"
std::string smi_line(std::span<const SmiField* const> fields, const SmiGpu& gpu, bool units);

// "00000000:01:00.0", as nvidia-smi writes it; "[N/A]" when it cannot be told.
std::string smi_bus_id(const SmiGpu& gpu);

// The sections of -q that are known: "POWER", "MEMORY", "TEMPERATURE", "UTILIZATION", "CLOCK".
std::span<const std::string_view> smi_sections();
// One GPU's part of -q. `sections`: those asked for by -d; empty: all, with what the GPU is.
std::string smi_report(const SmiGpu& gpu, std::span<const std::string> sections);

// Head and one GPU of the table that nvidia-smi prints without arguments; processes are left out.
struct SmiDriver {
  std::string version;   // "580.126.09"
  int cuda_version = 0;  // 1000·major + 10·minor
};
std::string smi_table_head(const SmiDriver& driver);
std::string smi_table_row(const SmiGpu& gpu);

}  // namespace kerf::power
