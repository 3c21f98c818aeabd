// What nvidia-smi prints for people: -q, and the table without arguments.
#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "power/smi.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

constexpr std::string_view kSections[] = {"MEMORY", "UTILIZATION", "TEMPERATURE", "POWER", "CLOCK"};

std::string value_of(const SmiGpu& gpu, std::string_view name, bool unit = true) {
  for (const SmiField& field : smi_fields()) {
    if (field.name != name) continue;
    std::string value = field.value(gpu);
    // In running text nvidia-smi leaves out the brackets.
    if (value.starts_with('[')) return value.substr(1, value.size() - 2);
    return unit && !field.unit.empty() ? fmt::format("{} {}", value, field.unit) : value;
  }
  return "N/A";
}

class Lines {
 public:
  explicit Lines(const SmiGpu& gpu) : gpu_(gpu) {}
  void head(std::string_view text) { out_ += fmt::format("    {}\n", text); }
  void top(std::string_view key, std::string_view field) {
    out_ += fmt::format("    {:<51}: {}\n", key, value_of(gpu_, field));
  }
  void value(std::string_view key, std::string_view field, std::string_view unit = "") {
    const std::string value = value_of(gpu_, field);
    const bool bare = unit.empty() || value.find_first_of("0123456789") != 0;
    out_ += fmt::format("        {:<47}: {}{}{}\n", key, value, bare ? "" : " ", bare ? "" : unit);
  }
  std::string take() { return std::move(out_); }

 private:
  const SmiGpu& gpu_;
  std::string out_;
};

void power(Lines& out) {
  out.head("GPU Power Readings");
  out.value("Average Power Draw", "power.draw.average");
  out.value("Instantaneous Power Draw", "power.draw.instant");
  out.value("Power Draw", "power.draw");
  out.value("Current Power Limit", "enforced.power.limit");
  out.value("Requested Power Limit", "power.limit");
  out.value("Default Power Limit", "power.default_limit");
  out.value("Min Power Limit", "power.min_limit");
  out.value("Max Power Limit", "power.max_limit");
}

void section(Lines& out, std::string_view name) {
  if (name == "POWER") return power(out);
  if (name == "MEMORY") {
    out.head("FB Memory Usage");
    out.value("Total", "memory.total");
    out.value("Reserved", "memory.reserved");
    out.value("Used", "memory.used");
    out.value("Free", "memory.free");
  } else if (name == "UTILIZATION") {
    out.head("Utilization");
    out.value("GPU", "utilization.gpu");
    out.value("Memory", "utilization.memory");
    out.value("Encoder", "utilization.encoder");
    out.value("Decoder", "utilization.decoder");
  } else if (name == "TEMPERATURE") {
    out.head("Temperature");
    out.value("GPU Current Temp", "temperature.gpu", "C");
    out.value("Memory Current Temp", "temperature.memory", "C");
  } else if (name == "CLOCK") {
    out.head("Clocks");
    out.value("Graphics", "clocks.current.graphics");
    out.value("SM", "clocks.current.sm");
    out.value("Memory", "clocks.current.memory");
    out.value("Video", "clocks.current.video");
    out.head("Max Clocks");
    out.value("Graphics", "clocks.max.graphics");
    out.value("SM", "clocks.max.sm");
    out.value("Memory", "clocks.max.memory");
  }
}

constexpr std::string_view kWide =
    "+----------------------------------------------------------------------------------------"
    "-+\n";
constexpr std::string_view kColumns =
    "+-----------------------------------------+------------------------+--------------------"
    "--+\n";
constexpr std::string_view kHeavy =
    "|=========================================+========================+===================="
    "==|\n";

std::string with_unit(const std::string& value, std::string_view unit) {
  const bool number = !value.empty() && value[0] >= '0' && value[0] <= '9';
  return number ? fmt::format("{}{}", value, unit) : value;
}

std::string rounded_watts(const SmiGpu& gpu, std::string_view field) {
  const std::string value = value_of(gpu, field, false);
  return with_unit(value.substr(0, value.find('.')), "W");
}

}  // namespace

std::span<const std::string_view> smi_sections() { return kSections; }

std::string smi_report(const SmiGpu& gpu, std::span<const std::string> sections) {
  Lines out(gpu);
  if (sections.empty()) {
    out.top("Product Name", "name");
    out.top("Persistence Mode", "persistence_mode");
    out.top("Serial Number", "serial");
    out.top("GPU UUID", "uuid");
    out.top("VBIOS Version", "vbios_version");
    out.top("Compute Mode", "compute_mode");
    out.top("Performance State", "pstate");
    out.top("Fan Speed", "fan.speed");
  }
  for (std::string_view name : kSections) {
    if (sections.empty() || std::ranges::find(sections, name) != sections.end()) section(out, name);
  }
  return fmt::format("GPU {}\n{}\n", smi_bus_id(gpu), out.take());
}

std::string smi_table_head(const SmiDriver& driver) {
  const std::time_t now = system_clock().wall_ms() / 1000;
  std::tm local{};
  localtime_r(&now, &local);
  char stamp[64];
  std::strftime(stamp, sizeof stamp, "%a %b %e %H:%M:%S %Y", &local);
  const std::string cuda =
      fmt::format("{}.{}", driver.cuda_version / 1000, driver.cuda_version % 1000 / 10);
  std::string out = fmt::format("{:<31}\n{}", stamp, kWide);
  out += fmt::format("| NVIDIA-SMI {:<22} Driver Version: {:<14} CUDA Version: {:<8} |\n",
                     driver.version, driver.version, cuda);
  out += kColumns;
  out +=
      "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC "
      "|\n";
  out +=
      "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. "
      "|\n";
  out +=
      "|                                         |                        |               MIG M. "
      "|\n";
  out += kHeavy;
  return out;
}

std::string smi_table_row(const SmiGpu& gpu) {
  auto plain = [&](std::string_view field) { return value_of(gpu, field, false); };
  const std::string persistence = plain("persistence_mode");
  const std::string on_off = persistence == "Enabled"    ? "On"
                             : persistence == "Disabled" ? "Off"
                                                         : "N/A";
  const auto errors =
      gpu.ask.ecc_errors(gpu.device, nvml::abi::kErrorsUncorrected, nvml::abi::kEccVolatile);
  const std::string mig = plain("mig.mode.current");
  std::string mode = plain("compute_mode");
  if (mode == "Exclusive_Process") mode = "E. Process";
  std::string out = fmt::format("|{:>4}  {:<27.27}{:>7} | {:>18} {:>3} |{:>21} |\n", gpu.index,
                                plain("name"), on_off, plain("pci.bus_id"), "N/A",
                                errors ? std::to_string(errors.value) : "N/A");
  out += fmt::format(
      "|{:>4}{:>6}{:>6}{:>16} / {:>5} |{:>11} / {:>9} |{:>8}{:>13} |\n",
      with_unit(plain("fan.speed"), "%"), with_unit(plain("temperature.gpu"), "C"), plain("pstate"),
      rounded_watts(gpu, "power.draw"), rounded_watts(gpu, "enforced.power.limit"),
      with_unit(plain("memory.used"), "MiB"), with_unit(plain("memory.total"), "MiB"),
      with_unit(plain("utilization.gpu"), "%"), mode);
  out += fmt::format("|{:41}|{:24}|{:>21} |\n", "", "", mig);
  out += kColumns;
  return out;
}

}  // namespace kerf::power
