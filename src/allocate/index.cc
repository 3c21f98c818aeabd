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

bool same(const char* a, const char* b, std::size_t size) {
  constexpr std::size_t kWord = 8;
  if (size < kWord) return std::memcmp(a, b, size) == 0;
  std::uint64_t different = 0;
  for (std::size_t at = 0; at + kWord < size; at += kWord) different |= load(a + at) ^ load(b + at);
  return (different | (load(a + size - kWord) ^ load(b + size - kWord))) == 0;
}

// The number if it is written as a replica number is: up to eight digits without a leading zero.
// All digits at once, because their count changes from id to id and a loop would be mispredicted.
std::optional<std::uint32_t> replica_number(std::string_view id, std::size_t from) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::size_t kMostDigits = 8;  // there are far fewer devices
  const std::string_view text = id.substr(from);
  if (text.empty() || text.size() > kMostDigits || (text.front() == '0' && text.size() > 1)) {
    return std::nullopt;
  }
  constexpr std::uint64_t kZeros = 0x3030303030303030u;
  char padded[kMostDigits] = {};
  const char* last = id.data() + id.size() - kMostDigits;
  if (id.size() < kMostDigits) {
    id.copy(padded + kMostDigits - id.size(), id.size());
    last = padded;
  }
  std::uint64_t word = load(last) ^ kZeros;
  word &= ~std::uint64_t{0} << (8 * (kMostDigits - text.size()));  // the last is the highest byte
  if (((word | (word + 0x0606060606060606u)) & 0xf0f0f0f0f0f0f0f0u) != 0) return std::nullopt;
  word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffu;    // pairs of digits
  word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffu;  // fours
  return static_cast<std::uint32_t>(word * 10000 + (word >> 32));
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
  if (at == 0) usual_size_ = device.physical_id.size();
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
    const std::string_view known = members_[candidate.group].physical_id;
    if (candidate.hash == hash && known.size() == physical_id.size() &&
        same(known.data(), physical_id.data(), known.size())) {
      return candidate.group;
    }
  }
  return kNone;
}

std::uint32_t Index::position(std::string_view id) const {
  // Nearly always ids are as long as the first; else the number is short and a physical id holds no
  // "::", so that looking from the end is the same as looking from the start.
  std::size_t colons = usual_size_;
  if (id.size() < colons + 2 || id[colons] != ':' || id[colons + 1] != ':') {
    colons = id.rfind(':');
    if (colons != std::string_view::npos) {
      colons = colons > 0 && id[colons - 1] == ':' ? colons - 1 : std::string_view::npos;
    }
  }
  const std::string_view physical_id = id.substr(0, colons);
  const std::uint32_t group = group_named(physical_id, hash_of(physical_id));
  if (group == kNone) return kNone;
  const Members& members = members_[group];
  std::uint32_t device = members.whole;
  if (colons != std::string_view::npos) {
    const auto replica = replica_number(id, colons + 2);
    if (!replica || *replica >= members.by_replica.size()) return kNone;
    device = members.by_replica[*replica];
  }
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
