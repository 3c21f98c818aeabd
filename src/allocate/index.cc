// Building the index. Replica ids share their first forty characters, so that the hash has to see
// all of an id; it takes eight bytes at a time.
#include "allocate/index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace kerf::allocate {
namespace {

std::uint64_t load(const char* from, std::size_t bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

// Multiply and fold, the step common to the fast hashes of today; not meant against an attacker,
// the kubelet being the only caller.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint32_t hash_of(std::string_view id) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15u;
  std::uint64_t state = id.size() * kOdd;
  while (id.size() > 8) {
    state = mix(state ^ load(id.data(), 8), kOdd);
    id.remove_prefix(8);
  }
  state = mix(state ^ load(id.data(), id.size()), kOdd);
  return static_cast<std::uint32_t>(state ^ (state >> 32));
}

}  // namespace

Index::Index(plan::PlanPtr plan, std::size_t resource)
    : plan_(std::move(plan)), resource_(resource) {
  const std::vector<plan::Device>& devices = this->resource().devices;
  slots_.resize(std::bit_ceil(std::max<std::size_t>(2 * devices.size(), 2)));
  group_of_.reserve(devices.size());
  std::unordered_map<std::string_view, std::uint32_t> group_by_id;
  for (std::uint32_t at = 0; at < devices.size(); ++at) {
    const plan::Device& device = devices[at];
    const std::uint32_t hash = hash_of(device.id);
    std::size_t slot = hash & (slots_.size() - 1);
    while (slots_[slot].device != kFree) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = {hash, at};

    const auto next = static_cast<std::uint32_t>(groups_.size());
    auto [group, fresh] = group_by_id.emplace(device.physical_id, next);
    if (fresh) groups_.push_back({device.gpu, {}});
    groups_[group->second].devices.push_back(at);
    group_of_.push_back(group->second);

    whole_gpus_only_ = whole_gpus_only_ && !device.mig;
    gpu_count_ = std::max<std::size_t>(gpu_count_, device.gpu + std::size_t{1});
  }
}

std::optional<std::uint32_t> Index::find(std::string_view id) const {
  const std::vector<plan::Device>& devices = resource().devices;
  const std::uint32_t hash = hash_of(id);
  for (std::size_t slot = hash & (slots_.size() - 1); slots_[slot].device != kFree;
       slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].hash == hash && devices[slots_[slot].device].id == id) {
      return slots_[slot].device;
    }
  }
  return std::nullopt;
}

std::vector<IndexPtr> index_all(const plan::PlanPtr& plan) {
  std::vector<IndexPtr> indexes;
  indexes.reserve(plan->resources.size());
  for (std::size_t at = 0; at < plan->resources.size(); ++at) {
    indexes.push_back(std::make_shared<const Index>(plan, at));
  }
  return indexes;
}

}  // namespace kerf::allocate
