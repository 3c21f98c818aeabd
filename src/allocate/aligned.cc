// The easy cases, and the way beyond sixteen GPUs; partitions.cc searches.
#include "allocate/aligned.h"

#include <algorithm>
#include <bit>

#include "allocate/partitions.h"

namespace kerf::allocate {
namespace {

int sum_to(const Scores& scores, const std::vector<std::uint32_t>& chosen, std::size_t gpu) {
  int sum = 0;
  for (std::uint32_t other : chosen) sum += scores.at(other, gpu);
  return sum;
}

std::vector<std::uint32_t> best_pair(const Scores& scores) {
  std::vector<std::uint32_t> pair = {0, 1};
  for (std::uint32_t a = 0; a < scores.count; ++a) {
    for (std::uint32_t b = a + 1; b < scores.count; ++b) {
      if (scores.at(a, b) > scores.at(pair[0], pair[1])) pair = {a, b};
    }
  }
  return pair;
}

std::vector<std::uint32_t> grow_one_set(const Scores& scores,
                                        const std::vector<std::uint32_t>& required,
                                        std::size_t size) {
  std::vector<std::uint32_t> chosen = required;
  if (chosen.empty() && size >= 2) chosen = best_pair(scores);
  while (chosen.size() < size) {
    std::size_t best = scores.count;
    int most = 0;
    for (std::size_t gpu = 0; gpu < scores.count; ++gpu) {
      if (std::find(chosen.begin(), chosen.end(), gpu) != chosen.end()) continue;
      const int sum = sum_to(scores, chosen, gpu);
      if (best == scores.count || sum > most) {
        best = gpu;
        most = sum;
      }
    }
    chosen.push_back(static_cast<std::uint32_t>(best));
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

std::vector<std::uint32_t> choose_aligned(const Scores& scores,
                                          const std::vector<std::uint32_t>& required,
                                          std::size_t size, std::size_t* looked_at) {
  if (looked_at != nullptr) *looked_at = 0;
  if (size == 0 || size > scores.count || required.size() > size) return {};
  // Alone a GPU has no score, so that the first one is as good as any.
  if (size == 1) return required.empty() ? std::vector<std::uint32_t>{0} : required;
  if (scores.count > kExactGpus) return grow_one_set(scores, required, size);
  Partitions::Mask must = 0;
  for (std::uint32_t gpu : required) must |= Partitions::Mask{1} << gpu;
  Partitions partitions(scores, must, size);
  std::vector<std::uint32_t> chosen;
  chosen.reserve(size);
  for (auto set = partitions.best_set(); set != 0; set &= set - 1) {
    chosen.push_back(static_cast<std::uint32_t>(std::countr_zero(set)));
  }
  if (looked_at != nullptr) *looked_at = partitions.looked_at();
  return chosen;
}

}  // namespace kerf::allocate
