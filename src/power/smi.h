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
#include "nvml/processes.h"
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

// A process on a GPU, with its program's name.
struct SmiProcess {
  nvml::RunningProcess running;
  std::string name;  // the first word of its command line; "[Not Found]" and the like
};

// Who runs on a GPU. Names are read below `proc` ("/proc"), as process ids are those of whoever
// asks. kUnsupported and kDenied where the driver lists none.
Result<std::vector<SmiProcess>> smi_processes(const SmiGpu& gpu, const std::string& proc);

// A field of --query-compute-apps.
struct SmiAppField {
  std::string_view name;
  std::string_view alias;
  std::string_view unit;
  std::string (*value)(const SmiGpu& gpu, const SmiProcess& process);
};
std::span<const SmiAppField> smi_app_fields();
Result<std::vector<const SmiAppField*>> parse_smi_app_fields(std::string_view list);
// "pid, process_name, used_gpu_memory [MiB]"
std::string smi_app_head(std::span<const SmiAppField* const> fields, bool units);
// A line for each process that computes; graphics has none.
std::string smi_app_lines(std::span<const SmiAppField* const> fields, const SmiGpu& gpu,
                          std::span<const SmiProcess> processes, bool units);

// Head and one GPU of the table that nvidia-smi prints without arguments.
struct SmiDriver {
  std::string version;   // "580.126.09"
  int cuda_version = 0;  // 1000·major + 10·minor
};
std::string smi_table_head(const SmiDriver& driver);
std::string smi_table_row(const SmiGpu& gpu);
// The table below it: a line for each process, by smi_process_rows of each GPU.
std::string smi_process_rows(unsigned index, std::span<const SmiProcess> processes);
std::string smi_process_table(std::string_view rows);

// nvidia-smi dmon. Groups of columns: p (power and temperatures), u (use), c (clocks).
bool is_smi_group(char group);
std::string smi_monitor_head(std::string_view groups);
std::string smi_monitor_line(const SmiGpu& gpu, std::string_view groups);

}  // namespace kerf::power
