// The best way to cut up to sixteen GPUs into sets of one size: exact, and quick enough to be asked
// while a pod waits. Works on plain numbers. For aligned.cc alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "allocate/aligned.h"
#include "allocate/symmetries.h"

namespace kerf::allocate {

// Branch and bound over "remainders", the GPUs that are not in a set yet. The set that holds the
// lowest GPU of a remainder is cut first, sets being tried in lexicographic order, so that the
// first best partition is found as device-plugin contract §6.4 defines it. What keeps it short:
//
// - What is known of a remainder (its best value, or that it is below some value) is remembered,
//   once for all remainders that symmetries.h finds to be of one kind.
// - A remainder, and a set half grown, is only looked into if a bound allows it to beat what is
//   known: every GPU with the best neighbours it could still get. A quick local search gives the
//   first value to beat.
// - GPUs with equal scores to all others are taken in order only, because exchanging them changes
//   nothing; where all GPUs are alike, one partition is left.
class Partitions {
 public:
  using Mask = Symmetries::Mask;
  static constexpr std::size_t kMost = Symmetries::kMost;

  // `size` ≥ 2 and ≤ scores.count ≤ kMost; at most `size` GPUs are `required`. Scores are ≥ 0.
  Partitions(const Scores& scores, Mask required, std::size_t size);

  // The fitting set of the best partition; see choose_aligned.
  Mask best_set();
  // Sets looked at so far: a measure of work that is the same on every machine.
  std::size_t looked_at() const { return looked_at_; }

 private:
  static constexpr int kNever = -1;  // the value of what cannot be cut as required
  using Row = std::array<int, kMost>;

  // What is known of all remainders of one kind.
  struct Known {
    Mask kind = 0;  // 0: the entry is free
    int value = 0;  // of the best partition, or what it does not exceed
    bool exact = false;
  };
  // A remainder being cut.
  struct Frame {
    Mask rest;
    std::size_t lacking;  // how many the smaller set lacks while it is in `rest`
    bool last_two;        // one cut is left, so the estimate is the value
    int need;             // what a partition must reach to be of interest
    int enough;           // no partition exceeds this, or none needs to
    int base;             // estimate of a set = base + 2·score − Σ weight; it must reach `goal`
    int base_of_smaller;  // the same for the smaller set
    int goal;
    Row weight;
    std::array<Row, kMost> tops;  // by GPU and n: the sum of its n best scores in `rest`
    int best = kNever;
    Mask set = 0;
  };
  // A set that is being grown.
  struct Growing {
    Mask set;
    std::size_t last;
    std::size_t wanted;  // members that it still lacks
    int score;
    int weight;
    Row gain;  // by GPU: what it would add to the score
  };

  int score(Mask set) const;
  std::size_t lacking(Mask rest) const;
  Growing grown(const Growing& from, const Frame& frame, std::size_t gpu) const;

  int best(Mask rest, int need);
  Mask first_set(Mask rest, int value);
  void cut(Frame& frame);
  int value_of_last(Mask rest) const;
  Frame frame_of(Mask rest, int need) const;
  void weigh_last_two(Frame& frame) const;
  int bound_of(Frame& frame) const;
  int reachable(const Frame& frame, const Growing& growing, int base, std::size_t members) const;
  bool fits(const Frame& frame, Mask set, std::size_t gpu) const;
  void grow(Frame& frame, const Growing& growing);
  void complete(Frame& frame, const Growing& growing);
  void consider(Frame& frame, Mask set, int score, int estimate);

  int value_to_beat() const;
  int local_search(std::size_t first) const;

  Known& known(Mask kind);
  void make_room();

  std::size_t count_;
  Mask required_;
  std::size_t size_;
  Mask all_;
  Symmetries symmetries_;
  std::array<Row, kMost> scores_{};                                // the diagonal is 0
  std::array<std::array<std::uint8_t, kMost>, kMost> by_score_{};  // neighbours, best first
  std::array<Mask, kMost> before_{};  // those that must be taken before a GPU is
  std::vector<Known> table_;          // open addressing, a power of two, at most half full
  std::size_t used_ = 0;
  std::size_t looked_at_ = 0;
};

}  // namespace kerf::allocate
