// Which GPUs, and which groups of GPUs, could change places without any score telling: machines are
// built of equal boards with equal switches with equal GPUs. Works on plain numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "allocate/aligned.h"

namespace kerf::allocate {

class Symmetries {
 public:
  using Mask = std::uint32_t;  // one bit a GPU
  static constexpr std::size_t kMost = 16;

  // At most kMost GPUs. Required ones never change places with others.
  Symmetries(const Scores& scores, Mask required);

  // The GPUs that have equal scores to all others as `gpu` has, itself among them.
  Mask alike(std::size_t gpu) const { return alike_[gpu]; }

  // The same number for sets of GPUs that one becomes from the other by changing places. As many
  // bits are set as the set has members.
  Mask kind(Mask set) const;

 private:
  // A GPU, or groups of one shape that may change places with each other.
  struct Group {
    Mask gpus = 0;
    unsigned width = 0;  // how many GPUs
    unsigned shape = 0;
    std::vector<std::size_t> parts;  // empty: GPUs that are alike
  };
  Mask code(const Group& group, Mask set) const;
  void merge(const Scores& scores);

  std::array<Mask, kMost> alike_{};
  bool any_ = false;
  std::vector<Group> groups_;     // parts before what is made of them
  std::vector<std::size_t> top_;  // groups that are part of none
};

}  // namespace kerf::allocate
