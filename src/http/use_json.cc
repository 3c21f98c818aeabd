#include "http/use_json.h"

#include <cmath>
#include <cstdint>
#include <string>

#include "http/json_read.h"

#include <nlohmann/json.hpp>

namespace kerf::http {
namespace {

using metrics::GpuUse;
using metrics::PodUse;
using metrics::Series;
using nlohmann::json;

// Three digits behind the point say more than any sensor knows, and keep the text short.
double rounded(double value) { return std::round(value * 1000) / 1000; }

void write_number(JsonWriter& out, std::string_view key, const std::optional<double>& value) {
  if (value && std::isfinite(*value)) {
    out.raw(key, format_number(rounded(*value)));
  } else {
    out.raw(key, "null");
  }
}

void write_series(JsonWriter& out, std::string_view key, const Series& series) {
  out.open('[', key);
  for (const std::optional<double>& value : series) write_number(out, {}, value);
  out.close(']');
}

void write_pod(JsonWriter& out, const PodUse& pod) {
  out.open('{')
      .field("namespace", pod.pod_namespace)
      .field("pod", pod.pod)
      .field("container", pod.container)
      .field("device", pod.device)
      .field("shares", pod.shares)
      .field("of", pod.of)
      .field("processes", pod.processes)
      .field("memory_bytes", pod.memory_bytes)
      .field("memory_limit_bytes", pod.limit_bytes)
      .field("over_limit", pod.over_limit);
  write_number(out, "utilization_ratio", pod.busy_ratio);
  write_number(out, "power_watts", pod.power_watts);
  write_number(out, "energy_joules", pod.energy_joules);
  out.close('}');
}

Series read_series(const json& from, const char* key) {
  Series out;
  auto found = from.find(key);
  if (found == from.end() || !found->is_array()) return out;
  for (const json& value : *found) {
    out.push_back(value.is_number() ? std::optional(value.get<double>()) : std::nullopt);
  }
  return out;
}

PodUse read_pod(const json& from) {
  PodUse out;
  get(from, "namespace", out.pod_namespace);
  get(from, "pod", out.pod);
  get(from, "container", out.container);
  get(from, "device", out.device);
  get(from, "shares", out.shares);
  get(from, "of", out.of);
  get(from, "processes", out.processes);
  get(from, "memory_bytes", out.memory_bytes);
  get(from, "memory_limit_bytes", out.limit_bytes);
  get(from, "over_limit", out.over_limit);
  get(from, "utilization_ratio", out.busy_ratio);
  get(from, "power_watts", out.power_watts);
  get(from, "energy_joules", out.energy_joules);
  return out;
}

}  // namespace

void write_use(JsonWriter& out, const std::optional<GpuUse>& use) {
  if (!use) {
    out.raw("use", "null");
    return;
  }
  out.open('{', "use").field("sampled_ms", use->sampled_ms);
  write_number(out, "utilization_ratio", use->busy_ratio);
  write_number(out, "power_watts", use->power_watts);
  write_number(out, "temperature_celsius", use->temperature_celsius);
  out.field("memory_used_bytes", use->memory_used_bytes)
      .field("memory_total_bytes", use->memory_total_bytes)
      .field("memory_host_bytes", use->memory_host_bytes)
      .field("memory_other_bytes", use->memory_other_bytes);
  out.open('[', "pods");
  for (const PodUse& pod : use->pods) write_pod(out, pod);
  out.close(']').open('{', "history").field("interval_ms", use->interval_ms);
  write_series(out, "utilization_ratio", use->busy);
  write_series(out, "power_watts", use->power);
  write_series(out, "temperature_celsius", use->temperature);
  out.close('}').close('}');
}

std::optional<GpuUse> read_use(const json& from) {
  if (!from.is_object()) return std::nullopt;
  GpuUse out;
  get(from, "sampled_ms", out.sampled_ms);
  get(from, "utilization_ratio", out.busy_ratio);
  get(from, "power_watts", out.power_watts);
  get(from, "temperature_celsius", out.temperature_celsius);
  get(from, "memory_used_bytes", out.memory_used_bytes);
  get(from, "memory_total_bytes", out.memory_total_bytes);
  get(from, "memory_host_bytes", out.memory_host_bytes);
  get(from, "memory_other_bytes", out.memory_other_bytes);
  if (auto pods = from.find("pods"); pods != from.end() && pods->is_array()) {
    for (const json& pod : *pods) {
      if (pod.is_object()) out.pods.push_back(read_pod(pod));
    }
  }
  if (auto history = from.find("history"); history != from.end() && history->is_object()) {
    get(*history, "interval_ms", out.interval_ms);
    out.busy = read_series(*history, "utilization_ratio");
    out.power = read_series(*history, "power_watts");
    out.temperature = read_series(*history, "temperature_celsius");
  }
  return out;
}

}  // namespace kerf::http
