// Found from below: GPUs that are alike make a group, groups of one shape with equal scores to all
// others make a larger one, and so on until nothing changes.
#include "allocate/symmetries.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <tuple>

namespace kerf::allocate {
namespace {

std::size_t lowest(Symmetries::Mask set) { return static_cast<std::size_t>(std::countr_zero(set)); }

}  // namespace

Symmetries::Symmetries(const Scores& scores, Mask required) {
  for (std::size_t gpu = 0; gpu < scores.count; ++gpu) {
    groups_.push_back({Mask{1} << gpu, 1, required >> gpu & 1, {}});
    top_.push_back(gpu);
  }
  merge(scores);
  for (std::size_t gpu = 0; gpu < scores.count; ++gpu) alike_[gpu] = Mask{1} << gpu;
  for (std::size_t at = scores.count; at < groups_.size(); ++at) {
    Group& group = groups_[at];
    const bool of_gpus = std::all_of(group.parts.begin(), group.parts.end(),
                                     [&](std::size_t part) { return part < scores.count; });
    if (!of_gpus) continue;
    for (Mask gpus = group.gpus; gpus != 0; gpus &= gpus - 1) alike_[lowest(gpus)] = group.gpus;
    group.parts.clear();
  }
}

void Symmetries::merge(const Scores& scores) {
  // All scores between two groups are equal, because that is how groups are made.
  auto score = [&](std::size_t a, std::size_t b) {
    return scores.at(lowest(groups_[a].gpus), lowest(groups_[b].gpus));
  };
  auto alike = [&](std::size_t a, std::size_t b) {
    if (groups_[a].shape != groups_[b].shape) return false;
    return std::all_of(top_.begin(), top_.end(), [&](std::size_t other) {
      return other == a || other == b || score(a, other) == score(b, other);
    });
  };
  std::map<std::tuple<unsigned, std::size_t, int>, unsigned> shapes;
  for (bool merged = true; merged;) {
    merged = false;
    std::vector<std::size_t> next;
    std::vector<bool> taken(groups_.size());
    for (std::size_t a : top_) {
      if (taken[a]) continue;
      Group group{groups_[a].gpus, groups_[a].width, 0, {a}};
      for (std::size_t b : top_) {
        if (b <= a || taken[b] || !alike(a, b)) continue;
        group.gpus |= groups_[b].gpus;
        group.width += groups_[b].width;
        group.parts.push_back(b);
        taken[b] = true;
      }
      if (group.parts.size() == 1) {
        next.push_back(a);
        continue;
      }
      const std::tuple key(groups_[a].shape, group.parts.size(),
                           score(group.parts[0], group.parts[1]));
      group.shape = shapes.emplace(key, static_cast<unsigned>(2 + shapes.size())).first->second;
      next.push_back(groups_.size());
      groups_.push_back(std::move(group));
      merged = any_ = true;
    }
    top_ = std::move(next);
  }
}

Symmetries::Mask Symmetries::kind(Mask set) const {
  if (!any_) return set;
  Mask kind = 0;
  for (std::size_t at : top_) {
    kind = kind << groups_[at].width | code(groups_[at], set & groups_[at].gpus);
  }
  return kind;
}

// As many bits as the group has GPUs: those of its parts, the greatest first.
Symmetries::Mask Symmetries::code(const Group& group, Mask set) const {
  if (set == 0 || set == group.gpus) return (Mask{1} << std::popcount(set)) - 1;
  if (group.parts.empty()) return (Mask{1} << std::popcount(set)) - 1;
  std::array<Mask, kMost> codes{};
  std::size_t many = 0;
  for (std::size_t part : group.parts) {
    codes[many++] = code(groups_[part], set & groups_[part].gpus);
  }
  const auto end = codes.begin() + static_cast<std::ptrdiff_t>(many);
  std::sort(codes.begin(), end, std::greater<>());
  const unsigned width = group.width / static_cast<unsigned>(many);
  Mask whole = 0;
  for (auto each = codes.begin(); each != end; ++each) whole = whole << width | *each;
  return whole;
}

}  // namespace kerf::allocate
