// The fields of --query-gpu.
#include <array>
#include <ctime>

#include "base/clock.h"
#include "base/strings.h"
#include "config/diagnostic.h"
#include "power/smi.h"
#include "power/types.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

namespace abi = nvml::abi;
using Number = nvml::Telemetry::Number;

std::string absence(std::uint32_t code) {
  switch (code) {
    case abi::kErrorNotSupported:
    case abi::kErrorFunctionNotFound:
    case abi::kErrorNoData:
    case abi::kErrorArgumentVersionMismatch:
      return "[N/A]";
    case abi::kErrorGpuIsLost:
      return "[GPU is lost]";
    case abi::kErrorNoPermission:
      return "[Insufficient Permissions]";
    default:
      return "[Unknown Error]";
  }
}

std::string absence(const Error& error) {
  return absence(error.native > 0 ? static_cast<std::uint32_t>(error.native)
                                  : std::uint32_t{abi::kErrorUnknown});
}

std::string whole(const Number& n) { return n ? std::to_string(n.value) : absence(n.code); }

std::string in_watts(const Number& n) {
  constexpr std::uint32_t kMost = 20'000'000;  // the driver's words for "unknown" are above
  if (n && n.value > kMost) return absence(abi::kErrorUnknown);
  return n ? fmt::format("{:.2f}", n.value / 1000.0) : absence(n.code);
}

std::string enabled(const Number& n) {
  return n ? (n.value == abi::kEnabled ? "Enabled" : "Disabled") : absence(n.code);
}

std::string text(const nvml::Telemetry::Text& t) { return t ? t.value : absence(t.code); }

std::string mib(const SmiGpu& g, std::uint64_t nvml::Telemetry::Memory::* part) {
  const auto memory = g.ask.memory(g.device);
  return memory ? std::to_string(memory.value.*part >> 20) : absence(memory.code);
}

// A reading of nvmlDeviceGetFieldValues that is in milliwatts.
std::string field_watts(const SmiGpu& g, std::uint32_t id) {
  abi::FieldValue value{};
  value.field_id = id;
  const std::uint32_t code = g.ask.fields(g.device, std::span(&value, 1));
  if (code != abi::kSuccess) return absence(code);
  const auto number = nvml::field_number(value);
  if (!number) return absence(number.code);
  return fmt::format("{:.2f}", number.value / 1000);
}

std::string memory_temperature(const SmiGpu& g) {
  abi::FieldValue value{};
  value.field_id = abi::kFieldMemoryTemperature;
  const std::uint32_t code = g.ask.fields(g.device, std::span(&value, 1));
  if (code != abi::kSuccess) return absence(code);
  const auto number = nvml::field_number(value);
  return number ? fmt::format("{:.0f}", number.value) : absence(number.code);
}

std::string utilization(const SmiGpu& g, bool memory) {
  const auto use = g.ask.utilization(g.device);
  return use ? std::to_string(memory ? use.value.memory : use.value.gpu) : absence(use.code);
}

std::string range_end(const SmiGpu& g, bool high) {
  const auto range = g.ask.power_limits(g.device);
  if (!range) return absence(range.code);
  return in_watts(Number{abi::kSuccess, high ? range.value.high : range.value.low});
}

std::string timestamp() {
  const std::int64_t now = system_clock().wall_ms();
  const std::time_t seconds = now / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char out[32];
  std::strftime(out, sizeof out, "%Y/%m/%d %H:%M:%S", &local);
  return fmt::format("{}.{:03}", out, now % 1000);
}

std::string uuid(const SmiGpu& g) {
  auto uuid = g.ask.session().uuid(g.device);
  return uuid ? *uuid : absence(uuid.error());
}

std::string capability(const SmiGpu& g) {
  auto found = g.ask.session().compute_capability(g.device);
  return found ? fmt::format("{}.{}", found->major, found->minor) : absence(found.error());
}

std::string compute_mode(const SmiGpu& g) {
  static constexpr std::array<const char*, 4> kNames = {"Default", "Exclusive_Thread", "Prohibited",
                                                        "Exclusive_Process"};
  const Number mode = g.ask.compute_mode(g.device);
  if (!mode) return absence(mode.code);
  return mode.value < kNames.size() ? kNames[mode.value] : absence(abi::kErrorUnknown);
}

std::string reasons(const SmiGpu& g) {
  const auto bits = g.ask.clock_reasons(g.device);
  return bits ? fmt::format("0x{:016X}", bits.value) : absence(bits.code);
}

std::string pstate(const SmiGpu& g) {
  const Number state = g.ask.performance_state(g.device);
  return state ? fmt::format("P{}", state.value) : absence(state.code);
}

std::string power_management(const SmiGpu& g) {
  const Number limit = g.ask.power_limit(g.device);
  return limit ? "Enabled" : absence(limit.code);
}

std::string driver(const SmiGpu& g) { return text(g.ask.driver_version()); }

using Memory = nvml::Telemetry::Memory;
constexpr auto kGr = abi::kClockGraphics;

constexpr SmiField kFields[] = {
    {"timestamp", "", "", [](const SmiGpu&) { return timestamp(); }},
    {"driver_version", "", "", driver},
    {"count", "", "", [](const SmiGpu& g) { return std::to_string(g.count); }},
    {"index", "", "", [](const SmiGpu& g) { return std::to_string(g.index); }},
    {"name", "gpu_name", "", [](const SmiGpu& g) { return text(g.ask.name(g.device)); }},
    {"uuid", "gpu_uuid", "", uuid},
    {"serial", "gpu_serial", "", [](const SmiGpu& g) { return text(g.ask.serial(g.device)); }},
    {"pci.bus_id", "gpu_bus_id", "", smi_bus_id},
    {"vbios_version", "", "", [](const SmiGpu& g) { return text(g.ask.vbios(g.device)); }},
    {"compute_cap", "", "", capability},
    {"compute_mode", "", "", compute_mode},
    {"persistence_mode", "", "",
     [](const SmiGpu& g) { return enabled(g.ask.persistence_mode(g.device)); }},
    {"mig.mode.current", "", "", [](const SmiGpu& g) { return enabled(g.ask.mig_mode(g.device)); }},
    {"pstate", "", "", pstate},
    {"fan.speed", "", "%", [](const SmiGpu& g) { return whole(g.ask.fan(g.device)); }},
    {"memory.total", "", "MiB", [](const SmiGpu& g) { return mib(g, &Memory::total); }},
    {"memory.reserved", "", "MiB", [](const SmiGpu& g) { return mib(g, &Memory::reserved); }},
    {"memory.used", "", "MiB", [](const SmiGpu& g) { return mib(g, &Memory::used); }},
    {"memory.free", "", "MiB", [](const SmiGpu& g) { return mib(g, &Memory::free); }},
    {"utilization.gpu", "", "%", [](const SmiGpu& g) { return utilization(g, false); }},
    {"utilization.memory", "", "%", [](const SmiGpu& g) { return utilization(g, true); }},
    {"utilization.encoder", "", "%",
     [](const SmiGpu& g) { return whole(g.ask.encoder(g.device)); }},
    {"utilization.decoder", "", "%",
     [](const SmiGpu& g) { return whole(g.ask.decoder(g.device)); }},
    {"temperature.gpu", "", "", [](const SmiGpu& g) { return whole(g.ask.temperature(g.device)); }},
    {"temperature.memory", "", "", memory_temperature},
    {"power.management", "", "", power_management},
    {"power.draw", "", "W", [](const SmiGpu& g) { return in_watts(g.ask.power(g.device)); }},
    {"power.draw.average", "", "W",
     [](const SmiGpu& g) { return field_watts(g, abi::kFieldPowerAverage); }},
    {"power.draw.instant", "", "W",
     [](const SmiGpu& g) { return field_watts(g, abi::kFieldPowerInstant); }},
    {"power.limit", "", "W", [](const SmiGpu& g) { return in_watts(g.ask.power_limit(g.device)); }},
    {"enforced.power.limit", "", "W",
     [](const SmiGpu& g) { return in_watts(g.ask.enforced_power_limit(g.device)); }},
    {"power.default_limit", "", "W",
     [](const SmiGpu& g) { return in_watts(g.ask.default_power_limit(g.device)); }},
    {"power.min_limit", "", "W", [](const SmiGpu& g) { return range_end(g, false); }},
    {"power.max_limit", "", "W", [](const SmiGpu& g) { return range_end(g, true); }},
    {"clocks.current.graphics", "clocks.gr", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.clock(g.device, kGr)); }},
    {"clocks.current.sm", "clocks.sm", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.clock(g.device, abi::kClockSm)); }},
    {"clocks.current.memory", "clocks.mem", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.clock(g.device, abi::kClockMem)); }},
    {"clocks.current.video", "clocks.video", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.clock(g.device, abi::kClockVideo)); }},
    {"clocks.max.graphics", "clocks.max.gr", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.max_clock(g.device, kGr)); }},
    {"clocks.max.sm", "", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.max_clock(g.device, abi::kClockSm)); }},
    {"clocks.max.memory", "clocks.max.mem", "MHz",
     [](const SmiGpu& g) { return whole(g.ask.max_clock(g.device, abi::kClockMem)); }},
    {"clocks_event_reasons.active", "clocks_throttle_reasons.active", "", reasons},
    {"pcie.link.gen.current", "", "",
     [](const SmiGpu& g) { return whole(g.ask.pcie_generation(g.device, false)); }},
    {"pcie.link.gen.max", "", "",
     [](const SmiGpu& g) { return whole(g.ask.pcie_generation(g.device, true)); }},
    {"pcie.link.width.current", "", "",
     [](const SmiGpu& g) { return whole(g.ask.pcie_width(g.device, false)); }},
    {"pcie.link.width.max", "", "",
     [](const SmiGpu& g) { return whole(g.ask.pcie_width(g.device, true)); }},
};

const SmiField* find_field(std::string_view name) {
  for (const SmiField& field : kFields) {
    if (field.name == name || (!field.alias.empty() && field.alias == name)) return &field;
  }
  return nullptr;
}

}  // namespace

std::span<const SmiField> smi_fields() { return kFields; }

std::string smi_bus_id(const SmiGpu& gpu) {
  constexpr std::size_t kLength = 16;  // eight digits of domain, where the kernel has four
  auto pci = gpu.ask.session().pci(gpu.device);
  if (!pci) return absence(pci.error());
  std::string id = pci->bus_id;
  for (char& c : id) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  return std::string(id.size() < kLength ? kLength - id.size() : 0, '0') + id;
}

Result<std::vector<const SmiField*>> parse_smi_fields(std::string_view list) {
  std::vector<const SmiField*> out;
  for (const std::string& name : split(list, ',')) {
    const SmiField* field = find_field(trim(name));
    if (field == nullptr) {
      std::vector<std::string_view> names;
      for (const SmiField& each : kFields) names.push_back(each.name);
      auto meant = nearest(trim(name), names);
      return fail(
          Kind::kInvalid,
          fmt::format("Field \"{}\" is not a valid field to query.", config::printable(trim(name))),
          {}, meant ? "did you mean " + *meant + "?" : "--help-query-gpu lists those there are");
    }
    out.push_back(field);
  }
  return out;
}

std::string smi_head(std::span<const SmiField* const> fields, bool units) {
  std::string out;
  for (const SmiField* field : fields) {
    out += fmt::format("{}{}", out.empty() ? "" : ", ", field->name);
    if (units && !field->unit.empty()) out += fmt::format(" [{}]", field->unit);
  }
  return out;
}

std::string smi_line(std::span<const SmiField* const> fields, const SmiGpu& gpu, bool units) {
  std::string out;
  bool first = true;
  for (const SmiField* field : fields) {
    const std::string value = field->value(gpu);
    const bool has_unit = units && !field->unit.empty() && !value.starts_with('[');
    out += fmt::format("{}{}{}{}", first ? "" : ", ", value, has_unit ? " " : "",
                       has_unit ? field->unit : "");
    first = false;
  }
  return out;
}

}  // namespace kerf::power
