// Spreading and gathering replicas, and handing whole GPUs to the search by links.
//
// Replicas: every choice goes to the physical device with the fewest (distributed) or most (packed)
// of its devices given away; among equals to the one chosen least often in this call (both from
// device-plugin contract §6.2); then to the GPU with the fewest or most given away in all, which
// is what spreads or gathers plain MIG devices; then to the first in the resource's order. Within a
// physical device the first free replica is taken.
#include "allocate/preferred.h"

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "allocate/aligned.h"

namespace kerf::allocate {
namespace {

using Ids = std::span<const std::string_view>;
using Answer = Result<std::vector<std::string_view>>;

Unexpected refuse(Kind kind, std::string why) {
  return fail(kind, "error getting list of preferred allocation devices: " + std::move(why));
}

enum class Mark : std::uint8_t { kOther, kFree, kRequired };

// What the greedy choice knows of one physical device.
struct Standing {
  std::uint32_t free = 0;
  std::uint32_t given = 0;   // devices that are not free
  std::uint32_t chosen = 0;  // in this call
  std::uint32_t next = 0;    // where in Group::devices the search for a free one goes on
};

class Greedy {
 public:
  Greedy(const Index& index, bool packed)
      : index_(index),
        packed_(packed),
        marks_(index.resource().devices.size(), Mark::kOther),
        standings_(index.groups().size()),
        given_on_gpu_(index.gpu_count()) {}

  Answer run(Ids available, Ids must_include, std::int32_t size) {
    const std::size_t free = mark(available, must_include);
    std::vector<std::string_view> answer(must_include.begin(), must_include.end());
    if (size <= 0 || answer.size() >= static_cast<std::size_t>(size)) return answer;
    const std::size_t need = static_cast<std::size_t>(size) - answer.size();
    if (free < need) {
      return refuse(Kind::kConflict, "not enough available devices to satisfy allocation");
    }
    count_given();
    answer.reserve(answer.size() + need);
    for (std::size_t i = 0; i < need; ++i) answer.emplace_back(take(choose()));
    return answer;
  }

 private:
  std::size_t mark(Ids available, Ids must_include) {
    for (std::string_view id : must_include) {
      if (const auto device = index_.find(id)) marks_[*device] = Mark::kRequired;
    }
    std::size_t free = 0;
    for (std::string_view id : available) {
      const auto device = index_.find(id);
      if (!device || marks_[*device] != Mark::kOther) continue;
      marks_[*device] = Mark::kFree;
      ++standings_[index_.group_of(*device)].free;
      ++free;
    }
    return free;
  }

  void count_given() {
    for (std::size_t g = 0; g < standings_.size(); ++g) {
      const Group& group = index_.groups()[g];
      standings_[g].given = static_cast<std::uint32_t>(group.devices.size()) - standings_[g].free;
      given_on_gpu_[group.gpu] += standings_[g].given;
    }
  }

  // Smaller is better.
  auto rank(std::size_t group) const {
    const Standing& standing = standings_[group];
    const std::int64_t sign = packed_ ? -1 : 1;
    return std::tuple(sign * std::int64_t{standing.given}, standing.chosen,
                      sign * std::int64_t{given_on_gpu_[index_.groups()[group].gpu]});
  }

  // Only called while a device is free somewhere.
  std::size_t choose() const {
    std::size_t best = standings_.size();
    for (std::size_t g = 0; g < standings_.size(); ++g) {
      if (standings_[g].free == 0) continue;
      if (best == standings_.size() || rank(g) < rank(best)) best = g;
    }
    return best;
  }

  std::string_view take(std::size_t group) {
    const Group& members = index_.groups()[group];
    Standing& standing = standings_[group];
    while (marks_[members.devices[standing.next]] != Mark::kFree) ++standing.next;
    const std::uint32_t device = members.devices[standing.next++];
    --standing.free;
    ++standing.given;
    ++standing.chosen;
    ++given_on_gpu_[members.gpu];
    return index_.resource().devices[device].id;
  }

  const Index& index_;
  const bool packed_;
  std::vector<Mark> marks_;                  // by device
  std::vector<Standing> standings_;          // by group
  std::vector<std::uint32_t> given_on_gpu_;  // by position in Snapshot::gpus
};

Unexpected unknown(const char* list, std::string_view id) {
  return refuse(Kind::kInvalid, std::string("unable to retrieve list of ") + list +
                                    " devices: no device with uuid: " + std::string(id));
}

struct Known {
  std::vector<std::uint32_t> devices;       // positions, ascending, each once
  std::optional<std::string_view> unknown;  // the first id that is none of the resource's
};

Known known(const Index& index, Ids ids) {
  Known known;
  known.devices.reserve(ids.size());
  for (std::string_view id : ids) {
    if (const auto device = index.find(id)) {
      known.devices.push_back(*device);
    } else if (!known.unknown) {
      known.unknown = id;
    }
  }
  std::sort(known.devices.begin(), known.devices.end());
  const auto end = std::unique(known.devices.begin(), known.devices.end());
  known.devices.erase(end, known.devices.end());
  return known;
}

Scores scores_among(const Index& index, const std::vector<std::uint32_t>& devices) {
  Scores scores;
  scores.count = devices.size();
  scores.pairs.resize(scores.count * scores.count);
  std::vector<std::size_t> place(index.gpu_count(), scores.count);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    place[index.resource().devices[devices[i]].gpu] = i;
  }
  const std::vector<inventory::Gpu>& gpus = index.plan().snapshot->gpus;
  for (const inventory::Link& link : index.plan().snapshot->links) {
    if (link.from >= place.size() || link.to >= place.size()) continue;
    const std::size_t a = place[link.from], b = place[link.to];
    if (a == scores.count || b == scores.count) continue;
    inventory::Link through = link;
    // Links to switches are up before, and without, the GPU's having joined the others there.
    if (gpus[link.from].fabric != gpus[link.to].fabric) through.switched = 0;
    scores.pairs[a * scores.count + b] = scores.pairs[b * scores.count + a] = through.score();
  }
  return scores;
}

// Without knowledge of links the GPUs of the lowest index are as good as any.
std::vector<std::uint32_t> choose_lowest(std::size_t count,
                                         const std::vector<std::uint32_t>& required,
                                         std::size_t size) {
  if (size > count || required.size() > size) return {};
  std::vector<std::uint32_t> chosen = required;
  for (std::uint32_t i = 0; i < count && chosen.size() < size; ++i) {
    if (!std::binary_search(required.begin(), required.end(), i)) chosen.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Answer aligned(const Index& index, Ids available, Ids must_include, std::int32_t size) {
  const Known free = known(index, available);
  const Known wanted = known(index, must_include);
  const std::vector<std::uint32_t>& devices = free.devices;
  // The kubelet may still list a GPU that is gone; that matters only if it would be needed.
  if (free.unknown && size > 0 && devices.size() < static_cast<std::size_t>(size)) {
    return unknown("available", *free.unknown);
  }
  if (wanted.unknown) return unknown("required", *wanted.unknown);
  std::vector<std::uint32_t> required;  // places in `devices`
  for (std::uint32_t device : wanted.devices) {
    auto place = std::lower_bound(devices.begin(), devices.end(), device);
    if (place == devices.end() || *place != device) return std::vector<std::string_view>{};
    required.push_back(static_cast<std::uint32_t>(place - devices.begin()));
  }
  if (size <= 0) return std::vector<std::string_view>{};
  const auto count = static_cast<std::size_t>(size);
  const std::vector<std::uint32_t> chosen =
      index.plan().snapshot->links.empty()
          ? choose_lowest(devices.size(), required, count)
          : choose_aligned(scores_among(index, devices), required, count);
  std::vector<std::string_view> answer;
  answer.reserve(chosen.size());
  for (std::uint32_t place : chosen) {
    answer.emplace_back(index.resource().devices[devices[place]].id);
  }
  return answer;
}

bool names_replica(std::string_view id) { return id.find("::") != std::string_view::npos; }

}  // namespace

Answer preferred(const Index& index, Ids available, Ids must_include, std::int32_t size) {
  if (index.whole_gpus_only() && std::none_of(available.begin(), available.end(), names_replica)) {
    return aligned(index, available, must_include, size);
  }
  const bool packed = index.plan().config.allocation_policy == config::AllocationPolicy::kPacked;
  return Greedy(index, packed).run(available, must_include, size);
}

}  // namespace kerf::allocate
