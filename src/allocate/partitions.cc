#include "allocate/partitions.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <numeric>

namespace kerf::allocate {
namespace {

using Mask = Partitions::Mask;

constexpr Mask bit(std::size_t gpu) { return Mask{1} << gpu; }
std::size_t lowest(Mask set) { return static_cast<std::size_t>(std::countr_zero(set)); }

// Without an instruction of the newest machines, and without the library call that stands for it.
std::size_t size_of(Mask set) {
  static constexpr auto kBits = [] {
    std::array<std::uint8_t, 256> bits{};
    for (std::size_t i = 1; i < bits.size(); ++i) {
      bits[i] = static_cast<std::uint8_t>(bits[i / 2] + (i & 1));
    }
    return bits;
  }();
  return std::size_t{kBits[set & 0xff]} + kBits[set >> 8];
}

constexpr std::size_t kFirstRoom = 1024;

// How many ways there are to choose k of n.
constexpr auto kChoices = [] {
  std::array<std::array<unsigned, Partitions::kMost + 1>, Partitions::kMost + 1> choices{};
  for (std::size_t n = 0; n <= Partitions::kMost; ++n) {
    choices[n][0] = 1;
    for (std::size_t k = 1; k <= n; ++k) choices[n][k] = choices[n - 1][k - 1] + choices[n - 1][k];
  }
  return choices;
}();
// Below that many sets it is quicker to look at them.
constexpr unsigned kWorthABound = 60;

}  // namespace

Partitions::Partitions(const Scores& scores, Mask required, std::size_t size)
    : count_(scores.count),
      required_(required),
      size_(size),
      all_(static_cast<Mask>((std::uint64_t{1} << scores.count) - 1)),
      symmetries_(scores, required),
      table_(kFirstRoom) {
  for (std::size_t a = 0; a < count_; ++a) {
    for (std::size_t b = 0; b < count_; ++b) scores_[a][b] = a == b ? 0 : scores.at(a, b);
    auto& order = by_score_[a];
    std::iota(order.begin(), order.end(), std::uint8_t{0});
    std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count_),
              [&row = scores_[a]](auto x, auto y) { return row[x] > row[y]; });
  }
  for (std::size_t gpu = 0; gpu < count_; ++gpu) {
    before_[gpu] = symmetries_.alike(gpu) & (bit(gpu) - 1);
    if ((required_ & bit(gpu)) != 0) before_[gpu] |= required_ & (bit(gpu) - 1);
  }
}

Mask Partitions::best_set() {
  int value = best(all_, value_to_beat());
  Mask chosen = 0;
  int most = kNever;
  for (Mask rest = all_; rest != 0;) {
    const Mask set = first_set(rest, value);
    if (set == 0) return 0;
    value -= score(set);
    const bool fits = size_of(set) == size_ && (set & required_) == required_;
    if (fits && score(set) > most) {
      most = score(set);
      chosen = set;
    }
    rest &= ~set;
  }
  return chosen;
}

int Partitions::score(Mask set) const {
  int sum = 0;
  for (Mask rest = set; rest != 0; rest &= rest - 1) {
    const Row& row = scores_[lowest(rest)];
    for (Mask others = rest & (rest - 1); others != 0; others &= others - 1) {
      sum += row[lowest(others)];
    }
  }
  return sum;
}

std::size_t Partitions::lacking(Mask rest) const {
  const std::size_t over = size_of(rest) % size_;
  return over == 0 ? 0 : size_ - over;
}

// The value of the best partition of `rest` if it reaches `need`; otherwise something below that.
int Partitions::best(Mask rest, int need) {
  if (size_of(rest) <= size_) return value_of_last(rest);
  const Mask kind = symmetries_.kind(rest);
  if (const Known& so_far = known(kind); so_far.kind != 0) {
    if (so_far.exact || so_far.value < need) return so_far.value;
  }
  Frame frame = frame_of(rest, need);
  const int bound = frame.enough = bound_of(frame) / 2;
  if (bound >= need) cut(frame);
  make_room();
  Known& entry = known(kind);
  if (entry.kind == 0) ++used_;
  const bool exact = frame.best != kNever;
  entry = {kind, exact ? frame.best : std::min(bound, need - 1), exact};
  return entry.value;
}

// The set that the first partition of `rest` with its best value, `value`, begins with; 0 if none
// is as required.
Mask Partitions::first_set(Mask rest, int value) {
  if (size_of(rest) <= size_) return value_of_last(rest) == kNever ? 0 : rest;
  Frame frame = frame_of(rest, value);
  bound_of(frame);
  frame.enough = value;
  cut(frame);
  return frame.set;
}

void Partitions::cut(Frame& frame) {
  if (frame.last_two) weigh_last_two(frame);
  Growing nothing{0, 0, size_, 0, 0, {}};
  grow(frame, grown(nothing, frame, lowest(frame.rest)));
}

int Partitions::value_of_last(Mask rest) const {
  const Mask required_here = rest & required_;
  const bool fits = required_here == 0 || (required_here == required_ && size_of(rest) == size_);
  return fits ? score(rest) : kNever;
}

Partitions::Frame Partitions::frame_of(Mask rest, int need) const {
  Frame frame{};
  frame.rest = rest;
  frame.lacking = lacking(rest);
  frame.last_two = size_of(rest) <= 2 * size_;
  frame.need = need;
  return frame;
}

// With one cut left the value is known without looking at the other side: all pairs, less those
// that the cut parts.
void Partitions::weigh_last_two(Frame& frame) const {
  int twice = 0;
  for (Mask gpus = frame.rest; gpus != 0; gpus &= gpus - 1) {
    const std::size_t gpu = lowest(gpus);
    int sum = 0;
    for (Mask others = frame.rest; others != 0; others &= others - 1) {
      sum += scores_[gpu][lowest(others)];
    }
    frame.weight[gpu] = sum;
    twice += sum;
  }
  frame.base = frame.base_of_smaller = twice / 2;
  frame.goal = frame.need;
}

// Twice the bound of a partition: for every GPU its best neighbours in `rest`, as many as its set
// has room for; the smaller set is made of those that lose least by it.
int Partitions::bound_of(Frame& frame) const {
  std::array<int, kMost> losses{};
  std::size_t many = 0;
  int sum = 0;
  const std::size_t smaller = size_ - frame.lacking;
  for (Mask gpus = frame.rest; gpus != 0; gpus &= gpus - 1) {
    const std::size_t gpu = lowest(gpus);
    Row& tops = frame.tops[gpu];
    tops[0] = 0;
    std::size_t found = 0;
    for (auto at = by_score_[gpu].begin(); found + 1 < size_; ++at) {
      if ((frame.rest & bit(*at)) == 0 || *at == gpu) continue;
      tops[found + 1] = tops[found] + scores_[gpu][*at];
      ++found;
    }
    frame.weight[gpu] = tops[size_ - 1];
    losses[many++] = tops[size_ - 1] - tops[smaller - 1];
    sum += tops[size_ - 1];
  }
  frame.base = frame.base_of_smaller = sum;
  if (frame.lacking > 0) {
    const auto end = losses.begin() + static_cast<std::ptrdiff_t>(many);
    const auto middle = losses.begin() + static_cast<std::ptrdiff_t>(smaller);
    std::nth_element(losses.begin(), middle, end);
    frame.base -= std::accumulate(losses.begin(), middle, 0);
  }
  frame.goal = 2 * frame.need;
  return frame.base;
}

// No estimate of a set that continues the growing one by `members` exceeds this.
int Partitions::reachable(const Frame& frame, const Growing& growing, int base,
                          std::size_t members) const {
  const int so_far = base + 2 * growing.score - growing.weight;
  if (members == 0) return so_far;
  std::array<int, kMost> gains{};
  std::size_t many = 0;
  for (Mask more = frame.rest & ~(bit(growing.last + 1) - 1); more != 0; more &= more - 1) {
    const std::size_t gpu = lowest(more);
    gains[many++] = 2 * growing.gain[gpu] + frame.tops[gpu][members - 1] - frame.weight[gpu];
  }
  if (many < members) return std::numeric_limits<int>::min();
  const auto middle = gains.begin() + static_cast<std::ptrdiff_t>(members);
  if (many > members) {
    std::nth_element(gains.begin(), middle, gains.begin() + static_cast<std::ptrdiff_t>(many),
                     std::greater<>());
  }
  return so_far + std::accumulate(gains.begin(), middle, 0);
}

// Required GPUs stay together, and so may those that are alike: taking one means having taken those
// before it.
bool Partitions::fits(const Frame& frame, Mask set, std::size_t gpu) const {
  return (before_[gpu] & frame.rest & ~set) == 0;
}

Partitions::Growing Partitions::grown(const Growing& from, const Frame& frame,
                                      std::size_t gpu) const {
  Growing next{};
  next.set = from.set | bit(gpu);
  next.last = gpu;
  next.wanted = from.wanted - 1;
  next.score = from.score + from.gain[gpu];
  next.weight = from.weight + frame.weight[gpu];
  const Row& row = scores_[gpu];
  for (std::size_t other = 0; other < kMost; ++other)
    next.gain[other] = from.gain[other] + row[other];
  return next;
}

// Tries every set of the remainder that continues the growing one with GPUs above its last, in
// lexicographic order, the smaller set after all full ones with the same beginning.
void Partitions::grow(Frame& frame, const Growing& growing) {
  const std::size_t wanted = growing.wanted;
  const bool holds_required = (growing.set & required_) != 0;
  const bool may_be_smaller = frame.lacking > 0 && wanted >= frame.lacking && !holds_required;
  const Mask above = frame.rest & ~(bit(growing.last + 1) - 1);
  if (wanted == 1) {
    complete(frame, growing);
  } else {
    bool full = size_of(above) >= wanted, smaller = may_be_smaller;
    if (kChoices[size_of(above)][wanted] >= kWorthABound) {
      full = full && reachable(frame, growing, frame.base, wanted) >= frame.goal;
      smaller = smaller && reachable(frame, growing, frame.base_of_smaller,
                                     wanted - frame.lacking) >= frame.goal;
    }
    if (!full && !smaller) return;
    const std::size_t spare = smaller && wanted > frame.lacking ? frame.lacking : 0;
    for (Mask more = above; more != 0 && frame.best < frame.enough; more &= more - 1) {
      if (size_of(more) + spare < wanted) break;
      const std::size_t gpu = lowest(more);
      if (fits(frame, growing.set, gpu)) grow(frame, grown(growing, frame, gpu));
      if (holds_required && (required_ & bit(gpu)) != 0) break;  // it cannot be left out
    }
  }
  if (may_be_smaller && wanted == frame.lacking) {
    consider(frame, growing.set, growing.score,
             frame.base_of_smaller + 2 * growing.score - growing.weight);
  }
}

// The last member, without the cost of a step.
void Partitions::complete(Frame& frame, const Growing& growing) {
  const Mask required_left = required_ & ~growing.set;
  const bool holds_required = (growing.set & required_) != 0;
  if (holds_required && size_of(required_left) > 1) return;
  Mask more = frame.rest & ~(bit(growing.last + 1) - 1);
  if (holds_required && required_left != 0) {
    more &= required_left;
  } else if (!holds_required && size_of(required_) > 1) {
    more &= ~required_;
  }
  const int so_far = frame.base + 2 * growing.score - growing.weight;
  for (; more != 0 && frame.best < frame.enough; more &= more - 1) {
    const std::size_t gpu = lowest(more);
    ++looked_at_;
    const int estimate = so_far + 2 * growing.gain[gpu] - frame.weight[gpu];
    if (estimate < frame.goal || !fits(frame, growing.set, gpu)) continue;
    consider(frame, growing.set | bit(gpu), growing.score + growing.gain[gpu], estimate);
  }
}

void Partitions::consider(Frame& frame, Mask set, int score, int estimate) {
  if (estimate < frame.goal) return;
  const Mask others = frame.rest & ~set;
  int value = estimate;
  if (frame.last_two) {
    if (value_of_last(others) == kNever) return;
  } else {
    const int rest = best(others, frame.need - score);
    if (rest == kNever) return;
    value = rest + score;
  }
  if (value < frame.need) return;
  frame.best = value;
  frame.set = set;
  frame.need = value + 1;
  frame.goal = frame.last_two ? frame.need : 2 * frame.need;
}

// --- the first value to beat ------------------------------------------------------------------

int Partitions::value_to_beat() const {
  if (size_of(all_) <= 2 * size_) return 0;  // every cut is looked at anyway
  int most = 0;
  for (std::size_t first = 0; first < count_; first += 5) {
    most = std::max(most, local_search(first));
  }
  return most;
}

// Fills one set after the other by greatest gain, the required GPUs into the first, and then
// exchanges pairs of GPUs while that helps. The value of the partition found.
int Partitions::local_search(std::size_t first) const {
  std::array<std::size_t, kMost> set_of{};
  std::array<Row, kMost> ties{};  // by set and GPU
  auto put = [&](std::size_t gpu, std::size_t set, int sign) {
    if (sign > 0) set_of[gpu] = set;
    for (std::size_t other = 0; other < kMost; ++other) {
      ties[set][other] += sign * scores_[gpu][other];
    }
  };
  Mask rest = all_;
  for (std::size_t set = 0; rest != 0; ++set) {
    Mask members = set == 0 ? required_ : 0;
    for (Mask gpus = members; gpus != 0; gpus &= gpus - 1) put(lowest(gpus), set, 1);
    rest &= ~members;
    while (rest != 0 && size_of(members) < size_) {
      std::size_t gpu = lowest(rest);
      if (members == 0) {
        if (const Mask later = rest & ~(bit(first) - 1)) gpu = lowest(later);
      }
      for (Mask gpus = members == 0 ? 0 : rest; gpus != 0; gpus &= gpus - 1) {
        if (ties[set][lowest(gpus)] > ties[set][gpu]) gpu = lowest(gpus);
      }
      put(gpu, set, 1);
      members |= bit(gpu);
      rest &= ~bit(gpu);
    }
  }
  for (bool better = true; better;) {
    better = false;
    for (std::size_t a = 0; a < count_; ++a) {
      for (std::size_t b = a + 1; b < count_; ++b) {
        const std::size_t here = set_of[a], there = set_of[b];
        if (here == there || ((bit(a) | bit(b)) & required_) != 0) continue;
        const int change =
            ties[there][a] - ties[here][a] + ties[here][b] - ties[there][b] - 2 * scores_[a][b];
        if (change <= 0) continue;
        put(a, here, -1);
        put(b, there, -1);
        put(a, there, 1);
        put(b, here, 1);
        better = true;
      }
    }
  }
  int twice = 0;
  for (std::size_t gpu = 0; gpu < count_; ++gpu) twice += ties[set_of[gpu]][gpu];
  return twice / 2;
}

// --- memory -----------------------------------------------------------------------------------

Partitions::Known& Partitions::known(Mask kind) {
  std::size_t at = (kind * 0x9e3779b9u >> 16 ^ kind) & (table_.size() - 1);
  while (table_[at].kind != 0 && table_[at].kind != kind) at = (at + 1) & (table_.size() - 1);
  return table_[at];
}

void Partitions::make_room() {
  if (2 * (used_ + 1) <= table_.size()) return;
  std::vector<Known> old(2 * table_.size());
  old.swap(table_);
  for (const Known& entry : old) {
    if (entry.kind != 0) known(entry.kind) = entry;
  }
}

}  // namespace kerf::allocate
