// Tests of the choice of whole GPUs by their links: the contract's vectors on three machines, and
// the search against an enumeration of every partition.
#include "allocate/aligned.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <rapidcheck.h>

#include "allocate/preferred.h"
#include "plan/sample_nodes.h"

#include <rapidcheck/gtest.h>

namespace kerf::allocate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
namespace sample = plan::sample;

using Gpus = std::vector<std::uint32_t>;
using inventory::Link;

// --- topologies -----------------------------------------------------------------------------

constexpr int kCrossCpu = 10, kSameCpu = 20, kHostBridge = 30, kSingleSwitch = 50;

struct Pair {
  unsigned from, to;
  unsigned nvlinks;
};

std::vector<Link> dgx1(const std::vector<Pair>& nvlinks, const std::vector<Pair>& switched) {
  std::vector<Link> links;
  for (unsigned a = 0; a < 8; ++a) {
    for (unsigned b = a + 1; b < 8; ++b) {
      Link link{a, b, a / 4 == b / 4 ? kHostBridge : kCrossCpu, 0};
      for (const Pair& p : switched) {
        if (p.from == a && p.to == b) link.pcie_score = kSingleSwitch;
      }
      for (const Pair& p : nvlinks) {
        if (p.from == a && p.to == b) link.nvlinks = p.nvlinks;
      }
      links.push_back(link);
    }
  }
  return links;
}

std::vector<Link> dgx1_volta() {
  return dgx1({{0, 1, 1},
               {0, 2, 1},
               {0, 3, 2},
               {0, 4, 2},
               {1, 2, 2},
               {1, 3, 1},
               {1, 5, 2},
               {2, 3, 2},
               {2, 6, 1},
               {3, 7, 1},
               {4, 5, 1},
               {4, 6, 1},
               {4, 7, 2},
               {5, 6, 2},
               {5, 7, 1},
               {6, 7, 2}},
              {{0, 1, 0}, {2, 3, 0}, {4, 5, 0}, {6, 7, 0}});
}

std::vector<Link> dgx1_pascal() {
  return dgx1({{0, 1, 1},
               {0, 2, 1},
               {0, 3, 1},
               {1, 2, 1},
               {1, 3, 1},
               {2, 3, 1},
               {4, 5, 1},
               {4, 6, 1},
               {4, 7, 1},
               {5, 6, 1},
               {5, 7, 1},
               {6, 7, 1},
               {0, 4, 1},
               {1, 5, 1},
               {2, 6, 1},
               {3, 7, 1}},
              {{0, 2, 0}, {1, 3, 0}, {4, 6, 0}, {5, 7, 0}});
}

std::vector<Link> rtx8000() {
  return {{0, 3, 0, 2},        {1, 2, 0, 2},         {0, 1, kSameCpu, 0},
          {2, 3, kSameCpu, 0}, {0, 2, kCrossCpu, 0}, {1, 3, kCrossCpu, 0}};
}

Index index_of(unsigned count, std::vector<Link> links) {
  std::vector<inventory::Gpu> gpus;
  for (unsigned i = 0; i < count; ++i) gpus.push_back(sample::gpu(i));
  return Index(sample::plan(sample::node(std::move(gpus), std::move(links))), 0);
}

std::vector<std::string> ids(const Gpus& gpus) {
  std::vector<std::string> ids;
  for (std::uint32_t gpu : gpus) ids.push_back(sample::uuid(gpu));
  return ids;
}

Gpus choose(const Index& index, const Gpus& available, const Gpus& required, std::int32_t size) {
  const auto free = ids(available), must = ids(required);
  const auto answer = preferred(index, std::vector<std::string_view>(free.begin(), free.end()),
                                std::vector<std::string_view>(must.begin(), must.end()), size);
  Gpus chosen;
  for (std::string_view id : answer.value()) chosen.push_back(index.find(id).value());
  return chosen;
}

const Gpus kAll = {0, 1, 2, 3, 4, 5, 6, 7};

// --- vectors --------------------------------------------------------------------------------

struct Row {
  Gpus available;
  Gpus required;
  std::int32_t size;
  Gpus expected;
};

TEST(AlignedGpus, FollowTheContractsVectorsOnDgx1Volta) {
  const Index index = index_of(8, dgx1_volta());
  const Row rows[] = {
      {{0, 2, 4, 5}, {}, 2, {4, 5}},
      {{0, 4, 5, 6}, {}, 2, {5, 6}},
      {{0, 3, 1}, {}, 2, {0, 3}},
      {{0, 1, 4}, {}, 2, {0, 4}},
      {kAll, {4}, 1, {4}},
      {kAll, {4}, 2, {4, 7}},
      {kAll, {4}, 4, {4, 5, 6, 7}},
      {{1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3}, 4, {}},
      {kAll, {0, 2, 4, 6}, 4, {0, 2, 4, 6}},
      {kAll, {1, 2, 3, 4, 5, 6}, 4, {}},
      {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6}, 1, {}},
      {kAll, {}, 2, {0, 3}},
      {kAll, {}, 3, {0, 2, 3}},
      {kAll, {}, 5, {0, 1, 2, 3, 4}},
      {kAll, {}, 6, {0, 1, 2, 3, 4, 5}},
      {kAll, {}, 7, {0, 1, 2, 3, 4, 5, 6}},
      {kAll, {}, 8, kAll},
      {kAll, {}, 0, {}},
      {kAll, {}, -1, {}},
      {kAll, {}, 9, {}},
      {{}, {}, 1, {}},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(choose(index, row.available, row.required, row.size), row.expected)
        << testing::PrintToString(row.available) << " size " << row.size;
  }
}

TEST(AlignedGpus, FollowTheContractsVectorsOnDgx1Pascal) {
  const Index index = index_of(8, dgx1_pascal());
  EXPECT_EQ(choose(index, kAll, {}, 3), (Gpus{0, 1, 2}));
  EXPECT_EQ(choose(index, kAll, {}, 5), (Gpus{0, 1, 2, 3, 4}));
  EXPECT_EQ(choose(index, kAll, {}, 6), (Gpus{0, 1, 2, 3, 4, 6}));
  EXPECT_EQ(choose(index, kAll, {}, 7), (Gpus{0, 1, 2, 3, 4, 5, 6}));
}

std::vector<Gpus> until_empty(const Index& index, std::int32_t size) {
  std::vector<Gpus> sequence;
  Gpus available(index.resource().devices.size());
  std::iota(available.begin(), available.end(), 0u);
  for (;;) {
    sequence.push_back(choose(index, available, {}, size));
    if (sequence.back().empty()) return sequence;
    for (std::uint32_t gpu : sequence.back()) std::erase(available, gpu);
  }
}

TEST(AlignedGpus, FollowTheContractsSequences) {
  const std::vector<Gpus> halves = {{0, 1, 2, 3}, {4, 5, 6, 7}, {}};
  const Index volta = index_of(8, dgx1_volta()), pascal = index_of(8, dgx1_pascal());
  EXPECT_EQ(until_empty(index_of(4, rtx8000()), 2), (std::vector<Gpus>{{0, 3}, {1, 2}, {}}));
  EXPECT_EQ(until_empty(pascal, 2), (std::vector<Gpus>{{0, 2}, {1, 3}, {4, 6}, {5, 7}, {}}));
  EXPECT_EQ(until_empty(volta, 2), (std::vector<Gpus>{{0, 3}, {1, 2}, {4, 7}, {5, 6}, {}}));
  for (const Index* index : {&volta, &pascal}) {
    EXPECT_EQ(until_empty(*index, 4), halves);
    EXPECT_EQ(until_empty(*index, 8), (std::vector<Gpus>{kAll, {}}));
    EXPECT_EQ(until_empty(*index, 1),
              (std::vector<Gpus>{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {}}));
  }
}

TEST(AlignedGpus, DoNotDependOnTheOrderOfTheAvailable) {
  const Index index = index_of(8, dgx1_volta());
  EXPECT_EQ(choose(index, {7, 3, 0, 5, 1, 6, 2, 4}, {}, 2), (Gpus{0, 3}));
  EXPECT_EQ(choose(index, {7, 7, 4, 4}, {}, 2), (Gpus{4, 7}));
}

TEST(AlignedGpus, WithoutKnownLinksTheLowestIndicesAreTaken) {
  const Index index = index_of(8, {});
  EXPECT_EQ(choose(index, {7, 5, 2, 6}, {}, 2), (Gpus{2, 5}));
  EXPECT_EQ(choose(index, kAll, {3}, 2), (Gpus{0, 3}));
  EXPECT_EQ(choose(index, {1, 2}, {3}, 2), Gpus{});
  EXPECT_EQ(choose(index, kAll, {1, 2, 3}, 2), Gpus{});
  EXPECT_EQ(choose(index, kAll, {}, 9), Gpus{});
}

TEST(AlignedGpus, RefuseUnknownIdsWordForWord) {
  const Index index = index_of(2, {});
  const std::string known = sample::uuid(0);
  const std::vector<std::string_view> good = {known}, bad = {known, "GPU-x"};
  EXPECT_EQ(preferred(index, bad, {}, 1).error().text(),
            "error getting list of preferred allocation devices: unable to retrieve list of "
            "available devices: no device with uuid: GPU-x");
  EXPECT_EQ(preferred(index, good, bad, 1).error().text(),
            "error getting list of preferred allocation devices: unable to retrieve list of "
            "required devices: no device with uuid: GPU-x");
}

// --- the search against brute force ---------------------------------------------------------

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

RC_GTEST_PROP(AlignedSearch, FindsWhatTryingEveryPartitionFinds, ()) {
  Scores scores;
  scores.count = *rc::gen::inRange<std::size_t>(1, 9);
  scores.pairs.resize(scores.count * scores.count);
  for (std::size_t a = 0; a < scores.count; ++a) {
    for (std::size_t b = a + 1; b < scores.count; ++b) {
      scores.pairs[a * scores.count + b] = scores.pairs[b * scores.count + a] =
          *rc::gen::inRange(0, 6) * 10;
    }
  }
  const auto size = *rc::gen::inRange<std::size_t>(1, scores.count + 1);
  Gpus required;
  for (std::uint32_t gpu = 0; gpu < scores.count && required.size() < size; ++gpu) {
    if (*rc::gen::inRange(0, 4) == 0) required.push_back(gpu);
  }
  RC_ASSERT(choose_aligned(scores, required, size) == brute_force(scores, required, size));
}

Scores line_of(std::size_t count) {
  Scores scores{count, std::vector<int>(count * count)};
  for (std::size_t a = 0; a < count; ++a) {
    for (std::size_t b = 0; b < count; ++b) {
      scores.pairs[a * count + b] = 200 - 10 * std::abs(static_cast<int>(a) - static_cast<int>(b));
    }
  }
  return scores;
}

TEST(AlignedSearch, IsExactForSixteenGpusOfEverySize) {
  const Scores scores = line_of(16);
  for (std::size_t size = 1; size <= 16; ++size) {
    Gpus first(size);
    std::iota(first.begin(), first.end(), 0u);
    EXPECT_EQ(choose_aligned(scores, {}, size), first) << size;
  }
  EXPECT_EQ(choose_aligned(scores, {7}, 3).size(), 3u);
}

TEST(AlignedSearch, GrowsOneSetBeyondSixteenGpus) {
  const Scores scores = line_of(40);
  EXPECT_EQ(choose_aligned(scores, {}, 4), (Gpus{0, 1, 2, 3}));
  EXPECT_EQ(choose_aligned(scores, {30}, 3), (Gpus{28, 29, 30}));
  EXPECT_EQ(choose_aligned(scores, {}, 40).size(), 40u);
  EXPECT_EQ(choose_aligned(scores, {}, 1), (Gpus{0}));
}

}  // namespace
}  // namespace kerf::allocate
