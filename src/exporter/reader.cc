#include "exporter/reader.h"

#include <algorithm>
#include <cmath>

#include "exporter/reader_round.h"

namespace kerf::exporter {

namespace abi = nvml::abi;
using nvml::Figure;

namespace {

constexpr std::uint64_t kMib = 1024ULL * 1024ULL;
constexpr std::uint32_t kAllLinks = 0xFFFFFFFFU;

// Above these a driver has answered nonsense.
constexpr std::uint32_t kMaxMegahertz = 20'000;
constexpr std::uint32_t kMaxPercent = 100;

Value number(const Figure<std::uint32_t>& figure, std::uint32_t most = 0xFFFFFFFEU) {
  if (!figure || figure.value > most) return {};
  return Value::integer(figure.value);
}

Value flag(const Figure<std::uint32_t>& figure) {
  return figure ? Value::integer(figure.value != 0 ? 1 : 0) : Value();
}

Value watts(const Figure<std::uint32_t>& milliwatts) {
  if (!milliwatts || milliwatts.value > kMaxMilliwatts) return {};
  return Value::real(milliwatts.value / 1000.0);
}

// DCGM cuts power limits to whole watts.
Value whole_watts(std::uint32_t milliwatts) {
  if (milliwatts > kMaxMilliwatts) return {};
  return Value::real(static_cast<double>(milliwatts / 1000));
}

Value mebibytes(std::uint64_t bytes) {
  return Value::integer(static_cast<std::int64_t>(bytes / kMib));
}

std::string_view brand_name(std::uint32_t brand) {
  constexpr std::string_view kNames[] = {
      "Unknown",   "Quadro",      "Tesla",     "NVS",        "Grid",      "GeForce",
      "Titan",     "NvidiaVApps", "NvidiaVPC", "NvidiaVCS",  "NvidiaVWS", "NvidiaCloudGaming",
      "QuadroRTX", "NvidiaRTX",   "Nvidia",    "GeForceRTX", "TitanRTX"};
  return brand < std::size(kNames) ? kNames[brand] : kNames[0];
}

// The GPU as a whole, or the driver, no longer answers: asking further is in vain.
bool is_fatal(std::uint32_t code) {
  return code == abi::kErrorGpuIsLost || code == abi::kErrorResetRequired ||
         nvml::is_driver_failure(static_cast<int>(code));
}

}  // namespace

Wanted wanted_by(Counters counters) {
  Wanted out;
  out.counters = std::move(counters);
  for (const Counter& counter : out.counters.computed) {
    const auto which = static_cast<Computed>(counter.field->argument);
    out.clock_reasons = out.clock_reasons || which == Computed::kClockEvents;
    out.health = out.health || which == Computed::kHealth;
    out.peers = out.peers || which == Computed::kP2p;
  }
  return out;
}

GpuReader::GpuReader(std::shared_ptr<const nvml::Telemetry> telemetry,
                     std::shared_ptr<const Wanted> wanted, std::vector<Entity> entities,
                     std::vector<std::string> peers)
    : telemetry_(std::move(telemetry)),
      wanted_(std::move(wanted)),
      entities_(std::move(entities)),
      peer_uuids_(std::move(peers)),
      dead_values_(wanted_->counters.values.size()),
      dead_texts_(wanted_->counters.labels.size()),
      profiles_(entities_.size()) {
  auto add = [](std::vector<std::uint32_t>& ids, std::uint32_t id) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  };
  for (const Counter& counter : wanted_->counters.values) {
    const Field& field = *counter.field;
    if (field.source == Source::kFieldValue) add(field_ids_, field.argument);
    if (field.source == Source::kMemoryTemperature) add(field_ids_, abi::kFieldMemoryTemperature);
    if (field.source == Source::kPowerInstant) add(field_ids_, abi::kFieldPowerInstant);
    // Policies 0 to 5 have a field each, in the same order; the driver announces to drop the call.
    if (field.source == Source::kViolation && field.argument < 6) {
      add(field_ids_, 74U + field.argument);
    }
    if (field.source == Source::kNvlinkBandwidth) {
      add(field_ids_, abi::kFieldNvLinkThroughputDataTx);
      add(field_ids_, abi::kFieldNvLinkThroughputDataRx);
    }
    if (field.source == Source::kGpm || field.source == Source::kGpmBytes) {
      add(gpm_ids_, field.argument);
    }
  }
  if (!wanted_->health) return;
  add(field_ids_, kRetiredPending);
  for (std::uint32_t id : kNvlinkErrorTotals) add(field_ids_, id);
}

GpuReader::~GpuReader() {
  for (const auto& profile : profiles_) {
    if (!profile) continue;
    if (profile->earlier != nullptr) telemetry_->gpm_free(profile->earlier);
    if (profile->later != nullptr) telemetry_->gpm_free(profile->later);
  }
}

void GpuReader::note(Round& round, std::uint32_t code) const {
  round.last = code;
  if (code == abi::kSuccess) round.answered = true;
  if (code == abi::kErrorUnknown) round.failing = true;
  if (is_fatal(code) && round.fatal == abi::kSuccess) round.fatal = code;
}

bool GpuReader::find_handles(GpuAnswer& answer) {
  if (gpu_ != nullptr) return true;
  if (entities_.empty()) return false;
  auto gpu = telemetry_->session().gpu_by_uuid(entities_.front().uuid);
  if (!gpu) {
    answer.code = gpu.error().native != 0 ? static_cast<std::uint32_t>(gpu.error().native)
                                          : std::uint32_t{abi::kErrorUnknown};
    return false;
  }
  for (const Entity& entity : entities_) {
    abi::Device part = *gpu;
    if (entity.instance) {
      part = nullptr;
      for (const std::string& uuid : entity.instance->uuids) {
        auto mig = telemetry_->session().gpu_by_uuid(uuid);
        if (mig && part == nullptr) part = *mig;
      }
    }
    parts_.push_back(part);
  }
  for (const std::string& uuid : peer_uuids_) {
    if (!wanted_->peers) break;
    if (auto peer = telemetry_->session().gpu_by_uuid(uuid)) peers_.emplace_back(uuid, *peer);
  }
  gpu_ = *gpu;
  return true;
}

GpuAnswer GpuReader::read(Steady::time_point now) {
  GpuAnswer answer;
  if (!find_handles(answer)) return answer;
  Round round;
  round.now = now;
  ask_fields(round);
  take_profiles(round);
  answer.gpm = gpm_ids_.empty() || gpm_supported_.value_or(true);
  const std::vector<Counter>& counters = wanted_->counters.values;
  answer.parts.resize(entities_.size());
  for (GpuAnswer::Part& part : answer.parts) part.values.resize(counters.size());
  for (std::size_t i = 0; i < counters.size() && round.fatal == abi::kSuccess; ++i) {
    const Field& field = *counters[i].field;
    const bool own = field.source == Source::kMemory || field.source == Source::kBar1 ||
                     field.source == Source::kGpm || field.source == Source::kGpmBytes;
    if (dead_values_[i]) continue;
    if (!own) {
      round.last = abi::kSuccess;
      const Value value = of_gpu(field, round);
      if (nvml::is_lasting(round.last)) dead_values_[i] = true;
      for (GpuAnswer::Part& part : answer.parts) part.values[i] = value;
      continue;
    }
    for (std::size_t part = 0; part < entities_.size(); ++part) {
      answer.parts[part].values[i] = of_part(field, round, part);
    }
  }
  for (std::size_t i = 0; i < wanted_->counters.labels.size(); ++i) {
    std::string value;
    round.last = abi::kSuccess;
    if (!dead_texts_[i]) value = text(*wanted_->counters.labels[i].field, round);
    if (nvml::is_lasting(round.last)) dead_texts_[i] = true;
    for (GpuAnswer::Part& part : answer.parts) part.texts.push_back(value);
  }
  if (wanted_->clock_reasons) {
    const auto& reasons =
        round.once(round.reasons, [&] { return telemetry_->clock_reasons(gpu_); });
    note(round, reasons.code);
    if (reasons) answer.clock_reasons = reasons.value;
  }
  if (wanted_->health) ask_health(round, answer.health);
  for (const auto& [uuid, peer] : peers_) {
    const auto status = telemetry_->p2p_nvlink(gpu_, peer);
    if (status) answer.peers.emplace_back(uuid, status.value);
  }
  // A driver that was unloaded under us may answer nothing but "unknown".
  if (round.failing && !round.answered && round.fatal == abi::kSuccess) {
    round.fatal = abi::kErrorUnknown;
  }
  answer.code = round.fatal;
  if (round.fatal != abi::kSuccess) answer.parts.clear();
  return answer;
}

void GpuReader::ask_fields(Round& round) {
  if (field_ids_.empty()) return;
  for (std::uint32_t id : field_ids_) {
    abi::FieldValue value{};
    value.field_id = id;
    const bool traffic =
        id == abi::kFieldNvLinkThroughputDataTx || id == abi::kFieldNvLinkThroughputDataRx;
    if (traffic) value.scope_id = kAllLinks;
    round.fields.push_back(value);
  }
  const std::uint32_t code = telemetry_->fields(gpu_, round.fields);
  // That none of the fields exists on this GPU is no trouble.
  if (!nvml::is_lasting(code)) note(round, code);
}

Value GpuReader::of_gpu(const Field& field, Round& round) {
  switch (field.source) {
    case Source::kPowerLimit:
      return power_limit(field, round);
    case Source::kNvlinkBandwidth:
      return nvlink_bandwidth(round);
    case Source::kViolation:
    case Source::kEccMode:
    case Source::kEccErrors:
    case Source::kRemappedRows:
    case Source::kFieldValue:
    case Source::kMemoryTemperature:
    case Source::kPowerInstant:
      return errors(field, round);
    default:
      return simple(field, round);
  }
}

Value GpuReader::of_part(const Field& field, Round& round, std::size_t part) {
  if (field.source == Source::kMemory) return memory(field, round, part);
  if (field.source == Source::kBar1) return bar1(field, round, part);
  return profile(field, round, part);
}

// Figures that are one call each.
Value GpuReader::simple(const Field& field, Round& round) {
  const nvml::Telemetry& ask = *telemetry_;
  auto noted = [&](auto figure) {
    note(round, figure.code);
    return figure;
  };
  switch (field.source) {
    case Source::kClock:
      return number(noted(ask.clock(gpu_, static_cast<abi::ClockType>(field.argument))),
                    kMaxMegahertz);
    case Source::kMaxClock:
      return number(noted(ask.max_clock(gpu_, static_cast<abi::ClockType>(field.argument))),
                    kMaxMegahertz);
    case Source::kApplicationClock:
      return number(noted(ask.application_clock(gpu_, static_cast<abi::ClockType>(field.argument))),
                    kMaxMegahertz);
    case Source::kClockReasons:
      return big(noted(round.once(round.reasons, [&] { return ask.clock_reasons(gpu_); })));
    case Source::kTemperature:
      return number(noted(ask.temperature(gpu_)), kMaxCelsius);
    case Source::kThreshold:
      return number(
          noted(ask.threshold(gpu_, static_cast<abi::TemperatureThreshold>(field.argument))),
          kMaxCelsius);
    case Source::kPower:
      return watts(noted(ask.power(gpu_)));
    case Source::kEnergy:
      return big(noted(ask.energy(gpu_)));
    case Source::kPerformanceState:
      return number(noted(ask.performance_state(gpu_)), 15);
    case Source::kFan:
      return number(noted(ask.fan(gpu_)), 2 * kMaxPercent);
    case Source::kPcieReplays:
      return number(noted(ask.pcie_replays(gpu_)));
    case Source::kPcieLink:
      return number(noted(field.argument % 2 == 0 ? ask.pcie_generation(gpu_, field.argument == 0)
                                                  : ask.pcie_width(gpu_, field.argument == 1)));
    case Source::kComputeMode:
      return number(noted(ask.compute_mode(gpu_)));
    case Source::kPersistence:
      return flag(noted(ask.persistence_mode(gpu_)));
    case Source::kMigMode:
      return flag(noted(ask.mig_mode(gpu_)));
    case Source::kLicense: {
      const auto licensed = noted(ask.licensed(gpu_));
      return licensed ? Value::integer(licensed.value ? 1 : 0) : Value();
    }
    case Source::kUtilization: {
      if (field.argument == 2) return number(noted(ask.encoder(gpu_)), kMaxPercent);
      if (field.argument == 3) return number(noted(ask.decoder(gpu_)), kMaxPercent);
      const auto rates =
          noted(round.once(round.utilization, [&] { return ask.utilization(gpu_); }));
      const std::uint32_t percent = field.argument == 0 ? rates.value.gpu : rates.value.memory;
      return rates && percent <= kMaxPercent ? Value::integer(percent) : Value();
    }
    default:
      return {};
  }
}

Value GpuReader::power_limit(const Field& field, Round& round) {
  if (field.argument == 1 || field.argument == 2) {
    const auto& range = round.once(round.limits, [&] { return telemetry_->power_limits(gpu_); });
    note(round, range.code);
    if (!range) return {};
    return whole_watts(field.argument == 1 ? range.value.low : range.value.high);
  }
  const auto limit = field.argument == 0   ? telemetry_->power_limit(gpu_)
                     : field.argument == 3 ? telemetry_->default_power_limit(gpu_)
                                           : telemetry_->enforced_power_limit(gpu_);
  note(round, limit.code);
  return limit ? whole_watts(limit.value) : Value();
}

Value GpuReader::memory(const Field& field, Round& round, std::size_t part) {
  if (parts_[part] == nullptr) return {};
  auto found = round.memory.find(part);
  if (found == round.memory.end()) {
    found = round.memory.emplace(part, telemetry_->memory(parts_[part])).first;
    // A MIG device may be gone while its GPU is well.
    if (!entities_[part].instance) note(round, found->second.code);
  }
  const auto& figure = found->second;
  const nvml::Telemetry::Memory& bytes = figure.value;
  // A GPU without memory of its own answers with zeros at best.
  if (!figure || bytes.total == 0) return {};
  switch (field.argument) {
    case 0:
      return mebibytes(bytes.total);
    case 1:
      return mebibytes(bytes.free);
    case 2:
      return mebibytes(bytes.used);
    case 3:
      return bytes.tells_reserved ? mebibytes(bytes.reserved) : Value();
    default:
      if (bytes.total <= bytes.reserved) return {};
      return Value::real(static_cast<double>(bytes.used) /
                         static_cast<double>(bytes.total - bytes.reserved));
  }
}

Value GpuReader::bar1(const Field& field, Round& round, std::size_t part) {
  if (parts_[part] == nullptr) return {};
  auto found = round.bar1.find(part);
  if (found == round.bar1.end()) {
    found = round.bar1.emplace(part, telemetry_->bar1(parts_[part])).first;
  }
  const auto& figure = found->second;
  if (!figure || figure.value.total == 0) return {};
  return mebibytes(field.argument == 0   ? figure.value.total
                   : field.argument == 1 ? figure.value.used
                                         : figure.value.free);
}

void GpuReader::take_profiles(Round& round) {
  if (gpm_ids_.empty()) return;
  if (!gpm_supported_) {
    const auto supported = telemetry_->gpm_supported(gpu_);
    if (!supported && !nvml::is_lasting(supported.code)) return note(round, supported.code);
    gpm_supported_ = supported && supported.value;
  }
  if (!*gpm_supported_) return;
  for (std::size_t i = 0; i < entities_.size(); ++i) {
    if (!profiles_[i]) profiles_[i] = std::make_unique<Profile>();
    Profile& profile = *profiles_[i];
    profile.metrics.clear();
    if (profile.later == nullptr) profile.later = telemetry_->gpm_allocate().value;
    if (profile.later == nullptr) continue;
    const std::optional<Entity::Instance>& instance = entities_[i].instance;
    const std::uint32_t id = instance ? instance->id : 0;
    const std::uint32_t taken = telemetry_->gpm_take(gpu_, instance ? &id : nullptr, profile.later);
    if (taken != abi::kSuccess) {
      profile.has_earlier = false;
      continue;
    }
    if (profile.has_earlier) {
      auto metrics = telemetry_->gpm_metrics(profile.earlier, profile.later, gpm_ids_);
      if (metrics) profile.metrics = std::move(metrics.value);
    }
    std::swap(profile.earlier, profile.later);
    profile.has_earlier = true;
  }
}

Value GpuReader::profile(const Field& field, Round& /*round*/, std::size_t part) {
  if (!profiles_[part] || profiles_[part]->metrics.empty()) return {};
  const auto at = std::ranges::find(gpm_ids_, std::uint32_t{field.argument}) - gpm_ids_.begin();
  const double metric = profiles_[part]->metrics[static_cast<std::size_t>(at)];
  if (!std::isfinite(metric) || metric < 0) return {};
  if (field.source == Source::kGpm) return Value::real(metric / 100);
  return Value::integer(static_cast<std::int64_t>(metric * static_cast<double>(kMib)));
}

std::string GpuReader::text(const Field& field, Round& round) {
  const nvml::Telemetry& ask = *telemetry_;
  auto taken = [&](nvml::Telemetry::Text answer) {
    note(round, answer.code);
    return std::move(answer.value);
  };
  if (field.source != Source::kText) {
    // A number as a label. DCGM's exporter allows it.
    const bool own = field.source == Source::kMemory || field.source == Source::kBar1;
    const Value value = own || field.source == Source::kGpm ? Value() : of_gpu(field, round);
    return value.blank() || value.kind() == Value::Kind::kReal ? std::string()
                                                               : std::to_string(value.integer());
  }
  switch (static_cast<Text>(field.argument)) {
    case Text::kDriverVersion:
      return taken(ask.driver_version());
    case Text::kNvmlVersion:
      return taken(ask.nvml_version());
    case Text::kName:
      return taken(ask.name(gpu_));
    case Text::kBrand: {
      const auto brand = ask.brand(gpu_);
      note(round, brand.code);
      return brand ? std::string(brand_name(brand.value)) : std::string();
    }
    case Text::kSerial:
      return taken(ask.serial(gpu_));
    case Text::kUuid:
      return entities_.front().uuid;
    case Text::kOemInforom:
      return taken(ask.inforom(gpu_, 0));
    case Text::kEccInforom:
      return taken(ask.inforom(gpu_, 1));
    case Text::kPowerInforom:
      return taken(ask.inforom(gpu_, 2));
    case Text::kInforomImage:
      return taken(ask.inforom_image(gpu_));
    case Text::kVbios:
      return taken(ask.vbios(gpu_));
  }
  return {};
}

}  // namespace kerf::exporter
