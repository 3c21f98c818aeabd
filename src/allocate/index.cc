// Building and reading the index.
#include "allocate/index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

namespace kerf::allocate {
namespace {

std::uint64_t load(const char* from) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Of the last sixteen characters alone: that is where UUIDs differ. Ids that differ only before are
// told apart by comparison. Multiply and fold, as the fast hashes of today do; not meant against
// an attacker, the kubelet being the only caller.
std::uint32_t hash_of(std::string_view text) {
  constexpr std::size_t kSeen = 16;
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15u;
  char padded[kSeen] = {};
  if (text.size() < kSeen) {
    text.copy(padded, kSeen);
    text = std::string_view(padded, kSeen);
  }
  const char* last = text.data() + text.size() - kSeen;
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(load(last) ^ kOdd) * (load(last + 8) ^ ~kOdd);
  return static_cast<std::uint32_t>((product >> 96) ^ (product >> 32));
}

// The number if it is written as a replica number is: digits without a leading zero.
std::optional<std::uint32_t> replica_number(std::string_view text) {
  constexpr std::size_t kMostDigits = 9;  // so that it cannot overflow; there are far fewer devices
  if (text.empty() || text.size() > kMostDigits || (text.size() > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  std::uint32_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = 10 * number + static_cast<std::uint32_t>(digit - '0');
  }
  return number;
}

}  // namespace

Index::Index(plan::PlanPtr plan, std::size_t resource)
    : plan_(std::move(plan)), resource_(resource) {
  const std::vector<plan::Device>& devices = this->resource().devices;
  slots_.resize(std::bit_ceil(std::max<std::size_t>(2 * devices.size(), 2)));
  group_of_.reserve(devices.size());
  for (std::uint32_t at = 0; at < devices.size(); ++at) add_device(at);
}

void Index::add_device(std::uint32_t at) {
  const plan::Device& device = resource().devices[at];
  std::uint32_t group = group_named(device.physical_id, hash_of(device.physical_id));
  if (group == kNone) group = add_group(device);
  groups_[group].devices.push_back(at);
  group_of_.push_back(group);
  whole_gpus_only_ = whole_gpus_only_ && !device.mig;
  gpu_count_ = std::max<std::size_t>(gpu_count_, device.gpu + std::size_t{1});

  Members& members = members_[group];
  if (!device.replica) {
    if (device.id == device.physical_id) members.whole = at;
    return;
  }
  // Replicas are numbered without gaps, so that a number beyond all devices is none of ours.
  const std::uint32_t replica = *device.replica;
  const bool spelled = device.id == device.physical_id + "::" + std::to_string(replica);
  if (!spelled || replica >= resource().devices.size()) return;
  if (members.by_replica.size() <= replica) members.by_replica.resize(replica + 1, kNone);
  members.by_replica[replica] = at;
}

std::uint32_t Index::add_group(const plan::Device& device) {
  const std::uint32_t hash = hash_of(device.physical_id);
  std::size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].group != kNone) slot = (slot + 1) & (slots_.size() - 1);
  const auto group = static_cast<std::uint32_t>(groups_.size());
  slots_[slot] = {hash, group};
  groups_.push_back({device.gpu, {}});
  members_.push_back({device.physical_id, kNone, {}});
  return group;
}

std::uint32_t Index::group_named(std::string_view physical_id, std::uint32_t hash) const {
  for (std::size_t slot = hash & (slots_.size() - 1); slots_[slot].group != kNone;
       slot = (slot + 1) & (slots_.size() - 1)) {
    const Slot& candidate = slots_[slot];
    if (candidate.hash == hash && members_[candidate.group].physical_id == physical_id) {
      return candidate.group;
    }
  }
  return kNone;
}

std::optional<std::uint32_t> Index::find(std::string_view id) const {
  // The number is short and a physical id holds no "::", so that looking from the end is the same.
  std::size_t colons = id.rfind(':');
  if (colons != std::string_view::npos) {
    colons = colons > 0 && id[colons - 1] == ':' ? colons - 1 : std::string_view::npos;
  }
  const std::string_view physical_id = id.substr(0, colons);
  const std::uint32_t group = group_named(physical_id, hash_of(physical_id));
  if (group == kNone) return std::nullopt;
  const Members& members = members_[group];
  std::uint32_t device = members.whole;
  if (colons != std::string_view::npos) {
    const auto replica = replica_number(id.substr(colons + 2));
    if (!replica || *replica >= members.by_replica.size()) return std::nullopt;
    device = members.by_replica[*replica];
  }
  if (device == kNone) return std::nullopt;
  return device;
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
