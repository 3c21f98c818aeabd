#include "usage/layout.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "pods/facts.h"

namespace kerf::usage {
namespace {

std::optional<std::uint64_t> quota_of(const pods::PodDevice& device) {
  if (!device.facts) return std::nullopt;
  const auto& annotations = device.facts->annotations;
  auto found = annotations.find(std::string(pods::kMemoryQuota) + "." + device.owner.container);
  if (found == annotations.end()) found = annotations.find(std::string(pods::kMemoryQuota));
  if (found == annotations.end()) return std::nullopt;
  auto bytes = pods::parse_quantity(found->second);
  return bytes ? std::optional(*bytes) : std::nullopt;
}

Layout layout_of(const inventory::Gpu& gpu) {
  Layout out;
  out.uuid = gpu.uuid;
  out.mig = gpu.mig_enabled;
  if (!gpu.mig_enabled) {
    out.devices.push_back({gpu.uuid, gpu.memory_bytes, {}, {}, 0});
    return out;
  }
  unsigned cut = 0;
  for (const inventory::MigDevice& mig : gpu.mig_devices) {
    out.devices.push_back({mig.uuid, mig.memory_mib << 20, mig.gpu_instance, mig.compute_instance,
                           mig.compute_slices});
    cut += mig.compute_slices;
  }
  // Whatever the table says, there are not fewer than what it was cut into.
  out.slices = std::max(compute_slices(gpu.name), cut);
  return out;
}

// Models with fewer than 7, by a word of their name.
constexpr std::array<std::pair<std::string_view, unsigned>, 2> kFewerSlices{{
    {"A30", 4},
    {"RTX PRO 6000", 4},
}};
constexpr unsigned kSlices = 7;

bool is_word_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

}  // namespace

unsigned compute_slices(std::string_view model) {
  for (const auto& [word, slices] : kFewerSlices) {
    const std::size_t at = model.find(word);
    if (at == std::string_view::npos) continue;
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || !is_word_character(model[at - 1]);
    const bool ends = end == model.size() || !is_word_character(model[end]);
    if (begins && ends) return slices;
  }
  return kSlices;
}

std::map<std::string, Layout> layouts_of(const inventory::Snapshot& snapshot, const Shares& shares,
                                         std::span<const pods::PodDevice> held, bool quotas) {
  std::map<std::string, Layout> out;
  for (const inventory::Gpu& gpu : snapshot.gpus) out[gpu.uuid] = layout_of(gpu);
  for (const pods::PodDevice& device : held) {
    auto layout = out.find(device.gpu_uuid);
    if (layout == out.end()) continue;
    auto& holdings = layout->second.holdings;
    auto same = std::ranges::find_if(holdings, [&device](const Holding& each) {
      return each.owner == device.owner && each.uuid == device.uuid;
    });
    if (same != holdings.end()) {
      ++same->shares;
      continue;
    }
    Holding& holding = holdings.emplace_back();
    holding.owner = device.owner;
    holding.uuid = device.uuid;
    if (device.facts) holding.uid = device.facts->uid;
    auto cut = shares.find(device.uuid);
    // A share that outlives the plan it came from may be of a device that is whole by now.
    holding.of = cut != shares.end() ? cut->second : 1;
    if (quotas) holding.quota_bytes = quota_of(device);
  }
  for (auto& [uuid, layout] : out) {
    for (Holding& holding : layout.holdings) holding.of = std::max(holding.of, holding.shares);
  }
  return out;
}

}  // namespace kerf::usage
