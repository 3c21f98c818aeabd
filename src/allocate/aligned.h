// Choosing whole GPUs that lie close together, and leaving sets behind that do too. Works on plain
// numbers; knows nothing of ids. Device-plugin contract §6.4.
#pragma once

#include <cstdint>
#include <vector>

namespace kerf::allocate {

// Up to this many GPUs the best choice is found exactly.
inline constexpr std::size_t kExactGpus = 16;

// Pair scores of n GPUs, symmetric, row by row; the diagonal is not read.
struct Scores {
  std::size_t count = 0;
  std::vector<int> pairs;  // count × count
  int at(std::size_t a, std::size_t b) const { return pairs[a * count + b]; }
};

// Chooses `size` of the GPUs 0 … count-1 so that all `required` are among them. Considered are the
// ways to cut all GPUs into sets of `size` (one may be smaller) in which one full set holds every
// required GPU; of those the way with the greatest sum of pair scores, and in it the fitting set
// with the greatest score. Equals go to the lowest numbers. Returned in ascending order; empty when
// size is 0 or more than count, or required are more than size.
//
// Beyond kExactGpus one set is grown instead from the required GPUs (or from the best pair), each
// time by the GPU with the greatest sum of scores to those chosen.
//
// `looked_at`, if given, is told how many sets the search looked at.
std::vector<std::uint32_t> choose_aligned(const Scores& scores,
                                          const std::vector<std::uint32_t>& required,
                                          std::size_t size, std::size_t* looked_at = nullptr);

}  // namespace kerf::allocate
