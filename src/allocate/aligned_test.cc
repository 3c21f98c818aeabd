// Tests of the choice of whole GPUs by their links: the contract's vectors on three machines.
#include "allocate/aligned.h"

#include <algorithm>
#include <numeric>

#include "allocate/preferred.h"
#include "plan/sample_nodes.h"

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

TEST(AlignedGpus, RefuseUnknownIdsWordForWordWhereTheyAreNeeded) {
  const Index index = index_of(2, {});
  const std::string known = sample::uuid(0);
  const std::vector<std::string_view> good = {known}, bad = {known, "GPU-x"};
  EXPECT_EQ(preferred(index, bad, {}, 2).error().text(),
            "error getting list of preferred allocation devices: unable to retrieve list of "
            "available devices: no device with uuid: GPU-x");
  EXPECT_EQ(preferred(index, good, bad, 1).error().text(),
            "error getting list of preferred allocation devices: unable to retrieve list of "
            "required devices: no device with uuid: GPU-x");
}

TEST(AlignedGpus, PassOverALostGpuWhileEnoughRemain) {
  const Index index = index_of(8, dgx1_volta());
  auto free = ids({0, 1, 4});
  free.emplace_back("GPU-x");
  const std::vector<std::string_view> available(free.begin(), free.end());
  EXPECT_EQ(preferred(index, available, {}, 2).value(),
            (std::vector<std::string_view>{free[0], free[2]}));
}

// Eight GPUs that two NVSwitches join, two to a PCIe switch.
std::vector<Link> switched(const std::vector<unsigned>& links_up) {
  std::vector<Link> links;
  for (unsigned a = 0; a < links_up.size(); ++a) {
    for (unsigned b = a + 1; b < links_up.size(); ++b) {
      Link link{a, b, a / 2 == b / 2 ? kSingleSwitch : kCrossCpu, 0};
      link.switched = std::min(links_up[a], links_up[b]);
      links.push_back(link);
    }
  }
  return links;
}

TEST(AlignedThroughSwitches, AGpuOutsideTheFabricIsChosenLast) {
  const Gpus all = {0, 1, 2, 3, 4, 5, 6, 7};
  const Index whole = index_of(8, switched(std::vector<unsigned>(8, 18)));
  const Index plain = index_of(8, switched(std::vector<unsigned>(8, 0)));
  for (std::int32_t size = 1; size <= 8; ++size) {
    EXPECT_EQ(choose(whole, all, {}, size), choose(plain, all, {}, size)) << size;
  }
  // The links of GPU 1 are down: neither it nor a set with it.
  const Index torn = index_of(8, switched({18, 0, 18, 18, 18, 18, 18, 18}));
  EXPECT_THAT(choose(torn, {0, 1, 2}, {}, 2), ElementsAre(0, 2));
  EXPECT_THAT(choose(torn, {0, 1, 2, 3, 4}, {}, 4), ElementsAre(0, 2, 3, 4));
  EXPECT_THAT(choose(torn, {0, 1}, {}, 2), ElementsAre(0, 1)) << "nothing better is there";
  EXPECT_THAT(choose(torn, {0, 1, 2}, {1}, 2), ElementsAre(0, 1)) << "it must be there";
}

TEST(AlignedThroughSwitches, LinksThatAreUpDoNotHelpAGpuThatDidNotJoin) {
  std::vector<inventory::Gpu> gpus;
  for (unsigned i = 0; i < 4; ++i) {
    gpus.push_back(sample::gpu(i));
    if (i != 1) gpus.back().fabric = inventory::Fabric{"b2a3c7e1-0000-0000-0000-000000000001", 0};
  }
  const Index index(
      sample::plan(sample::node(std::move(gpus), switched(std::vector<unsigned>(4, 18)))), 0);
  EXPECT_THAT(choose(index, {0, 1, 2}, {}, 2), ElementsAre(0, 2));
}

}  // namespace
}  // namespace kerf::allocate
