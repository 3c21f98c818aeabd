// The half of the reader that asks for errors, NVLink traffic and health.
#include <chrono>
#include <utility>

#include "exporter/reader_round.h"

namespace kerf::exporter {

namespace abi = nvml::abi;

// Counters of what went wrong, and what else comes by field values.
Value GpuReader::errors(const Field& field, Round& round) {
  auto of_field = [&](std::uint32_t id) -> Value {
    const abi::FieldValue* answer = round.field(id);
    if (answer == nullptr) return {};
    const auto figure = nvml::field_number(*answer);
    return figure ? Value::integer(static_cast<std::int64_t>(figure.value)) : Value();
  };
  switch (field.source) {
    case Source::kFieldValue:
      return of_field(field.argument);
    case Source::kMemoryTemperature: {
      const Value celsius = of_field(abi::kFieldMemoryTemperature);
      return celsius.blank() || celsius.integer() > kMaxCelsius ? Value() : celsius;
    }
    case Source::kPowerInstant: {
      const Value milliwatts = of_field(abi::kFieldPowerInstant);
      if (milliwatts.blank() || milliwatts.integer() > kMaxMilliwatts) return {};
      return Value::real(static_cast<double>(milliwatts.integer()) / 1000.0);
    }
    case Source::kViolation: {
      const Value told = field.argument < 6 ? of_field(74U + field.argument) : Value();
      if (!told.blank()) return told;
      const auto figure = telemetry_->violation(gpu_, field.argument);
      note(round, figure.code);
      return big(figure);
    }
    case Source::kEccMode: {
      const auto& mode = round.once(round.ecc, [&] { return telemetry_->ecc_mode(gpu_); });
      note(round, mode.code);
      if (!mode) return {};
      return Value::integer(field.argument == 0 ? mode.value.current : mode.value.pending);
    }
    case Source::kEccErrors: {
      const auto figure = telemetry_->ecc_errors(
          gpu_, (field.argument & 1) != 0 ? abi::kErrorsUncorrected : abi::kErrorsCorrected,
          (field.argument & 2) != 0 ? abi::kEccAggregate : abi::kEccVolatile);
      note(round, figure.code);
      return big(figure);
    }
    default: {
      const auto& rows = round.once(round.rows, [&] { return telemetry_->remapped_rows(gpu_); });
      note(round, rows.code);
      if (!rows) return {};
      const std::uint32_t answers[] = {rows.value.uncorrected, rows.value.corrected,
                                       rows.value.failed, rows.value.pending};
      return Value::integer(answers[field.argument % 4]);
    }
  }
}

Value GpuReader::nvlink_bandwidth(Round& round) {
  const abi::FieldValue* sent = round.field(abi::kFieldNvLinkThroughputDataTx);
  const abi::FieldValue* received = round.field(abi::kFieldNvLinkThroughputDataRx);
  if (sent == nullptr || received == nullptr) return {};
  const auto tx = nvml::field_number(*sent);
  const auto rx = nvml::field_number(*received);
  if (!tx || !rx) return {};
  const Traffic now{static_cast<std::uint64_t>(tx.value + rx.value), round.now};
  const std::optional<Traffic> before = std::exchange(traffic_, now);
  // DCGM's figure: thousands of KiB a second, 0 the first time and after a counter began anew.
  if (!before || now.kib < before->kib) return Value::integer(0);
  const double seconds = std::chrono::duration<double>(now.at - before->at).count();
  if (seconds <= 0) return Value::integer(0);
  return Value::integer(
      static_cast<std::int64_t>(static_cast<double>(now.kib - before->kib) / seconds / 1000));
}

void GpuReader::ask_health(Round& round, HealthFacts& out) {
  const nvml::Telemetry& ask = *telemetry_;
  const auto& reasons = round.once(round.reasons, [&] { return ask.clock_reasons(gpu_); });
  if (reasons) out.clock_reasons = reasons.value;
  const auto errors = ask.ecc_errors(gpu_, abi::kErrorsUncorrected, abi::kEccVolatile);
  if (errors) out.double_bit_errors = errors.value;
  const auto& rows = round.once(round.rows, [&] { return ask.remapped_rows(gpu_); });
  if (rows) {
    out.remap_failed = rows.value.failed != 0;
    out.remap_pending = rows.value.pending != 0;
  }
  if (const auto replays = ask.pcie_replays(gpu_)) out.pcie_replays = replays.value;
  const auto power = ask.power(gpu_);
  out.power_unreadable = !power && !nvml::is_lasting(power.code);
  out.inforom_corrupt = ask.inforom_image(gpu_).code == abi::kErrorCorruptedInforom;
  auto of_field = [&](std::uint32_t id) -> std::optional<std::uint64_t> {
    const abi::FieldValue* answer = round.field(id);
    if (answer == nullptr) return {};
    const auto figure = nvml::field_number(*answer);
    if (!figure) return {};
    return static_cast<std::uint64_t>(figure.value);
  };
  if (const auto pending = of_field(kRetiredPending)) out.retirement_pending = *pending != 0;
  for (std::uint32_t id : kNvlinkErrorTotals) {
    if (const auto count = of_field(id)) out.nvlink_errors = out.nvlink_errors.value_or(0) + *count;
  }
}

}  // namespace kerf::exporter
