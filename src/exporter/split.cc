#include "exporter/split.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace kerf::exporter {
namespace {

bool is_memory(const Field& field) {
  return field.source == Source::kMemory && field.argument == 2;
}

bool is_activity(const Field& field) {
  return field.source == Source::kUtilization && field.argument == 0;
}

bool is_power(const Field& field) {
  return field.source == Source::kPower || field.source == Source::kPowerInstant;
}

// What a share has of the figure, as a number in any unit.
std::optional<double> weight(const Field& field, const Share* share) {
  if (share == nullptr || !share->own) return std::nullopt;
  const Share::Own& own = *share->own;
  if (is_activity(field)) return own.busy;
  if (is_power(field)) return own.power;
  if (own.memory_mib) return static_cast<double>(*own.memory_mib);
  return std::nullopt;
}

std::vector<Value> energies(std::span<const Share* const> shares) {
  std::vector<Value> out;
  for (const Share* share : shares) {
    const bool known = share != nullptr && share->own && share->own->energy_mj;
    out.push_back(known ? Value::integer(share->own->energy_mj.value_or(0)) : Value());
  }
  return out;
}

}  // namespace

bool can_be_split(const Field& field, bool mig) {
  if (mig) return is_memory(field);
  return is_memory(field) || is_activity(field) || is_power(field) ||
         field.source == Source::kEnergy;
}

std::vector<Value> split(const Field& field, const Value& whole,
                         std::span<const Share* const> shares) {
  if (whole.blank()) return std::vector<Value>(shares.size());
  if (field.source == Source::kEnergy) return energies(shares);
  const bool real = whole.kind() == Value::Kind::kReal;
  const double total = real ? whole.real() : static_cast<double>(whole.integer());
  double sum = 0;
  for (const Share* share : shares) sum += weight(field, share).value_or(0);
  // Parts of a whole, or megabytes, of which there can be more than the device said a while ago.
  double scale = is_memory(field) ? 1 : total;
  if (sum * scale > total) scale = total / sum;
  std::vector<Value> out;
  double before = 0;  // what those before it have, not rounded
  for (const Share* share : shares) {
    const std::optional<double> part = weight(field, share);
    if (!part) {
      out.emplace_back();
      continue;
    }
    const double after = before + *part * scale;
    if (real) {
      out.push_back(Value::real(*part * scale));
    } else {
      out.push_back(Value::integer(std::llround(after) - std::llround(before)));
    }
    before = after;
  }
  return out;
}

}  // namespace kerf::exporter
