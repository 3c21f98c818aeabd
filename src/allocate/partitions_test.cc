// Tests of the exact search: against an enumeration of every partition, on machines as they are
// built, and by the work it takes.
#include "allocate/partitions.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <rapidcheck.h>

#include "allocate/aligned.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kerf::allocate {
namespace {

using Gpus = std::vector<std::uint32_t>;

Scores scores_by(std::size_t count, const std::function<int(unsigned, unsigned)>& score) {
  Scores scores{count, std::vector<int>(count * count)};
  for (unsigned a = 0; a < count; ++a) {
    for (unsigned b = a + 1; b < count; ++b) {
      scores.pairs[a * count + b] = scores.pairs[b * count + a] = score(a, b);
    }
  }
  return scores;
}

// --- brute force ------------------------------------------------------------------------------

int score_of(const Scores& scores, const Gpus& set) {
  int sum = 0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    for (std::size_t j = i + 1; j < set.size(); ++j) {
      if (set[i] < scores.count && set[j] < scores.count) sum += scores.at(set[i], set[j]);
    }
  }
  return sum;
}

// Every partition in the order of the contract, padding written as numbers from `count` on.
void partitions(const Gpus& rest, std::size_t count, std::size_t size, std::vector<Gpus>& so_far,
                const std::function<void(const std::vector<Gpus>&)>& visit) {
  if (rest.empty()) return visit(so_far);
  std::vector<bool> picked(rest.size() - 1);
  std::fill(picked.begin(), picked.begin() + static_cast<std::ptrdiff_t>(size - 1), true);
  do {
    Gpus set = {rest[0]}, others;
    for (std::size_t i = 1; i < rest.size(); ++i) (picked[i - 1] ? set : others).push_back(rest[i]);
    auto is_padding = [&](std::uint32_t gpu) { return gpu >= count; };
    const auto in_set = std::count_if(set.begin(), set.end(), is_padding);
    const auto left = std::count_if(others.begin(), others.end(), is_padding);
    if (in_set > 0 && left > 0) continue;
    so_far.push_back(set);
    partitions(others, count, size, so_far, visit);
    so_far.pop_back();
  } while (std::prev_permutation(picked.begin(), picked.end()));
}

Gpus brute_force(const Scores& scores, const Gpus& required, std::size_t size) {
  Gpus all((scores.count + size - 1) / size * size);
  std::iota(all.begin(), all.end(), 0u);
  auto fits = [&](const Gpus& set) {
    return set.back() < scores.count &&
           std::includes(set.begin(), set.end(), required.begin(), required.end());
  };
  std::optional<int> most;
  std::vector<Gpus> best, so_far;
  partitions(all, scores.count, size, so_far, [&](const std::vector<Gpus>& partition) {
    if (std::none_of(partition.begin(), partition.end(), fits)) return;
    int sum = 0;
    for (const Gpus& set : partition) sum += score_of(scores, set);
    if (!most || sum > *most) {
      most = sum;
      best = partition;
    }
  });
  std::optional<Gpus> chosen;
  for (const Gpus& set : best) {
    if (fits(set) && (!chosen || score_of(scores, set) > score_of(scores, *chosen))) chosen = set;
  }
  return chosen.value_or(Gpus{});
}

Gpus some_required(std::size_t count, std::size_t size) {
  Gpus required;
  for (std::uint32_t gpu = 0; gpu < count && required.size() < size; ++gpu) {
    if (*rc::gen::inRange(0, 4) == 0) required.push_back(gpu);
  }
  return required;
}

void check(const Scores& scores) {
  const auto size = *rc::gen::inRange<std::size_t>(1, scores.count + 1);
  const Gpus required = some_required(scores.count, size);
  RC_ASSERT(choose_aligned(scores, required, size) == brute_force(scores, required, size));
}

RC_GTEST_PROP(AlignedSearch, FindsWhatTryingEveryPartitionFinds, ()) {
  check(scores_by(*rc::gen::inRange<std::size_t>(1, 10),
                  [](unsigned, unsigned) { return *rc::gen::inRange(0, 6) * 10; }));
}

// Boards of switches of GPUs, of any width each, GPUs numbered in any order, bridges between some
// neighbours, and now and then a pair that differs from what the construction says: a broken link.
RC_GTEST_PROP(AlignedSearch, FindsItOnMachinesBuiltOfEqualParts, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(2, 11);
  const auto on_switch = *rc::gen::inRange(1u, 5u);
  const auto on_board = on_switch * *rc::gen::inRange(1u, 5u);
  const auto bridged = *rc::gen::inRange(1u, 4u);
  const auto broken = *rc::gen::element(0, 0, 20);
  Gpus place(count);
  std::iota(place.begin(), place.end(), 0u);
  const auto turn = *rc::gen::inRange<std::size_t>(1, count);
  if (*rc::gen::arbitrary<bool>() && std::gcd(turn, count) == 1) {
    for (std::size_t i = 0; i < count; ++i) place[i] = static_cast<unsigned>(i * turn % count);
  }
  check(scores_by(count, [&](unsigned first, unsigned second) {
    const unsigned a = place[first], b = place[second];
    if (broken > 0 && *rc::gen::inRange(0, broken) == 0) return 0;
    const int bridges = a / bridged == b / bridged ? 400 : 0;
    return bridges + (a / on_switch == b / on_switch ? 50 : a / on_board == b / on_board ? 20 : 10);
  }));
}

// Why a switch that joins all GPUs need not be counted: it adds the same to every pair.
RC_GTEST_PROP(AlignedSearch, ChoosesTheSameWhenEveryPairGainsTheSame, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(2, 12);
  Scores scores = scores_by(count, [](unsigned, unsigned) { return *rc::gen::inRange(1, 4) * 10; });
  const auto size = *rc::gen::inRange<std::size_t>(1, count + 1);
  const Gpus required = some_required(count, size);
  const Gpus without = choose_aligned(scores, required, size);
  for (int& score : scores.pairs) score += 1800;
  RC_ASSERT(choose_aligned(scores, required, size) == without);
}

// --- sixteen GPUs -----------------------------------------------------------------------------

int dgx2(unsigned a, unsigned b) {
  return a / 2 == b / 2 ? 50 : a / 4 == b / 4 ? 40 : a / 8 == b / 8 ? 20 : 10;
}

const struct {
  const char* name;
  std::function<int(unsigned, unsigned)> score;
} kMachines[] = {
    {"all alike", [](unsigned, unsigned) { return 10; }},
    {"two baseboards", [](unsigned a, unsigned b) { return a / 8 == b / 8 ? 20 : 10; }},
    {"switches of two, two of them under one, two of those on a CPU", dgx2},
    {"switches of two, four on a CPU",
     [](unsigned a, unsigned b) { return a / 2 == b / 2   ? 50
                                         : a / 8 == b / 8 ? 20
                                                          : 10; }},
    {"switches of four", [](unsigned a, unsigned b) { return a / 4 == b / 4 ? 50 : dgx2(a, b); }},
    {"bridged pairs", [](unsigned a, unsigned b) { return a / 2 == b / 2 ? 1240 : dgx2(a, b); }},
    {"in a line",
     [](unsigned a, unsigned b) {
       return 200 - 10 * std::abs(static_cast<int>(a) - static_cast<int>(b));
     }},
};

TEST(AlignedSearch, TakesTheLowestOfSixteenThatLieInOrder) {
  for (const auto& machine : kMachines) {
    const Scores scores = scores_by(16, machine.score);
    for (std::size_t size : {1u, 2u, 4u, 8u, 16u}) {
      Gpus first(size);
      std::iota(first.begin(), first.end(), 0u);
      EXPECT_EQ(choose_aligned(scores, {}, size), first) << machine.name << ", size " << size;
    }
  }
}

// The work is counted, not timed. Trying every partition looks at hundreds of millions of sets.
TEST(AlignedSearch, IsShortForSixteenGpusOfEverySize) {
  for (const auto& machine : kMachines) {
    const Scores scores = scores_by(16, machine.score);
    for (std::size_t size = 1; size <= 16; ++size) {
      for (const Gpus& required : {Gpus{}, Gpus{5}, Gpus{3, 12}, Gpus{1, 2, 9, 15}}) {
        if (required.size() > size) continue;
        std::size_t looked_at = 0;
        const Gpus chosen = choose_aligned(scores, required, size, &looked_at);
        EXPECT_LT(looked_at, 20'000u) << machine.name << ", size " << size;
        EXPECT_EQ(chosen.size(), size);
        EXPECT_TRUE(std::includes(chosen.begin(), chosen.end(), required.begin(), required.end()));
      }
    }
  }
}

// Of no structure at all: slower, but bounded.
TEST(AlignedSearch, EndsForSixteenGpusWithoutAnySymmetry) {
  unsigned state = 1;
  const Scores scores = scores_by(16, [&](unsigned, unsigned) {
    state = state * 1103515245 + 12345;
    return static_cast<int>(state >> 16) % 600;
  });
  for (std::size_t size = 1; size <= 16; ++size) {
    std::size_t looked_at = 0;
    EXPECT_EQ(choose_aligned(scores, {}, size, &looked_at).size(), size);
    EXPECT_LT(looked_at, 1'000'000u) << size;
  }
}

TEST(AlignedSearch, GrowsOneSetBeyondSixteenGpus) {
  const Scores scores = scores_by(40, kMachines[6].score);
  EXPECT_EQ(choose_aligned(scores, {}, 4), (Gpus{0, 1, 2, 3}));
  EXPECT_EQ(choose_aligned(scores, {30}, 3), (Gpus{28, 29, 30}));
  EXPECT_EQ(choose_aligned(scores, {}, 40).size(), 40u);
  EXPECT_EQ(choose_aligned(scores, {}, 1), (Gpus{0}));
}

// --- symmetries -------------------------------------------------------------------------------

TEST(Symmetries, GiveOneKindToSetsThatDifferByEqualParts) {
  const Symmetries on_trees(scores_by(16, dgx2), 0);
  // One GPU of a switch, any switch; two of one, two of different ones.
  EXPECT_EQ(on_trees.kind(0x0001), on_trees.kind(0x8000));
  EXPECT_EQ(on_trees.kind(0x0003), on_trees.kind(0x0c00));
  EXPECT_NE(on_trees.kind(0x0003), on_trees.kind(0x0005));
  EXPECT_EQ(on_trees.kind(0x0005), on_trees.kind(0xa000));
  EXPECT_NE(on_trees.kind(0x0005), on_trees.kind(0x0011));
  EXPECT_EQ(on_trees.alike(6), 0x00c0u);
  EXPECT_EQ(on_trees.kind(0xffff), 0xffffu);
}

TEST(Symmetries, TellRequiredGpusFromOthers) {
  const Symmetries all_alike(scores_by(4, kMachines[0].score), 0b0100);
  EXPECT_EQ(all_alike.alike(0), 0b1011u);
  EXPECT_EQ(all_alike.alike(2), 0b0100u);
  EXPECT_NE(all_alike.kind(0b0100), all_alike.kind(0b0001));
}

}  // namespace
}  // namespace kerf::allocate
