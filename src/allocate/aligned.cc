// The search over partitions, exact by remembering the best way to cut each remainder: at most
// 2^16 remainders instead of the 10^8 partitions of sixteen GPUs.
#include "allocate/aligned.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace kerf::allocate {
namespace {

using Mask = std::uint32_t;  // one bit a GPU

Mask bit(std::size_t gpu) { return Mask{1} << gpu; }

class Partitions {
 public:
  Partitions(const Scores& scores, Mask required, std::size_t size)
      : scores_(scores), required_(required), size_(size), memo_(std::size_t{1} << scores.count) {}

  // The fitting set of the best partition of all GPUs.
  Mask best_set() {
    Mask rest = static_cast<Mask>((std::uint64_t{1} << scores_.count) - 1);
    best(rest);
    Mask chosen = 0;
    int most = std::numeric_limits<int>::min();
    while (rest != 0) {
      const Mask set = memo_[rest].set;
      if (set == 0) return 0;
      const bool fits = is_full(set) && (set & required_) == required_;
      if (fits && score(set) > most) {
        most = score(set);
        chosen = set;
      }
      rest &= ~set;
    }
    return chosen;
  }

 private:
  enum class State : std::uint8_t { kUnknown, kKnown, kImpossible };
  struct Best {
    int score = 0;
    Mask set = 0;  // the set that holds the lowest GPU of the remainder
    State state = State::kUnknown;
  };

  bool is_full(Mask set) const { return static_cast<std::size_t>(std::popcount(set)) == size_; }

  int gain(Mask set, std::size_t gpu) const {
    int sum = 0;
    for (; set != 0; set &= set - 1) {
      sum += scores_.at(static_cast<std::size_t>(std::countr_zero(set)), gpu);
    }
    return sum;
  }

  int score(Mask set) const {
    int sum = 0;
    for (Mask rest = set; rest != 0; rest &= rest - 1) {
      sum += gain(rest & (rest - 1), static_cast<std::size_t>(std::countr_zero(rest)));
    }
    return sum;
  }

  // The best partition of `rest`, remembered. The returned reference stays valid.
  const Best& best(Mask rest) {
    Best& entry = memo_[rest];
    if (entry.state != State::kUnknown) return entry;
    if (rest == 0) {
      entry.state = State::kKnown;
      return entry;
    }
    entry.state = State::kImpossible;  // until a partition is found
    const auto lowest = static_cast<std::size_t>(std::countr_zero(rest));
    // How many the smaller set lacks, while it is still to be cut from `rest`.
    const std::size_t over = static_cast<std::size_t>(std::popcount(rest)) % size_;
    const std::size_t lacking = over == 0 ? 0 : size_ - over;
    grow(rest, lacking, bit(lowest), lowest, 0);
    return entry;
  }

  // Tries every set of `rest` that continues `set` with GPUs above `last`, in lexicographic order,
  // the smaller set after all full ones with the same beginning: the first of equals is kept.
  void grow(Mask rest, std::size_t lacking, Mask set, std::size_t last, int set_score) {
    if (is_full(set)) return consider(rest, set, set_score);
    const std::size_t wanted = size_ - static_cast<std::size_t>(std::popcount(set));
    for (Mask more = rest & ~(bit(last + 1) - 1); more != 0; more &= more - 1) {
      if (static_cast<std::size_t>(std::popcount(more)) + lacking < wanted) break;
      const auto gpu = static_cast<std::size_t>(std::countr_zero(more));
      grow(rest, lacking, set | bit(gpu), gpu, set_score + gain(set, gpu));
    }
    const bool is_remainder =
        lacking > 0 && static_cast<std::size_t>(std::popcount(set)) + lacking == size_;
    if (is_remainder && (set & required_) == 0) consider(rest, set, set_score);
  }

  void consider(Mask rest, Mask set, int set_score) {
    const Mask required_here = set & required_;
    if (required_here != 0 && required_here != required_) return;
    const Best& others = best(rest & ~set);
    if (others.state != State::kKnown) return;
    Best& entry = memo_[rest];
    if (entry.state == State::kKnown && others.score + set_score <= entry.score) return;
    entry = {others.score + set_score, set, State::kKnown};
  }

  const Scores& scores_;
  const Mask required_;
  const std::size_t size_;
  std::vector<Best> memo_;  // by remainder
};

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
                                          std::size_t size) {
  if (size == 0 || size > scores.count || required.size() > size) return {};
  if (scores.count > kExactGpus) return grow_one_set(scores, required, size);
  Mask must = 0;
  for (std::uint32_t gpu : required) must |= bit(gpu);
  std::vector<std::uint32_t> chosen;
  for (Mask set = Partitions(scores, must, size).best_set(); set != 0; set &= set - 1) {
    chosen.push_back(static_cast<std::uint32_t>(std::countr_zero(set)));
  }
  return chosen;
}

}  // namespace kerf::allocate
