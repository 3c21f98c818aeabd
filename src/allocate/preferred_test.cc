// Tests of preferred allocations of replicas and MIG devices.
#include "allocate/preferred.h"

#include <algorithm>
#include <map>
#include <rapidcheck.h>
#include <set>

#include "plan/sample_nodes.h"

#include <rapidcheck/gtest.h>

namespace kerf::allocate {
namespace {

using config::AllocationPolicy;
using testing::ElementsAre;
using testing::IsEmpty;
namespace sample = plan::sample;

using Texts = std::vector<std::string>;

std::vector<std::string_view> views(const Texts& texts) { return {texts.begin(), texts.end()}; }

Texts texts(const std::vector<std::string_view>& views) { return {views.begin(), views.end()}; }

// "G1::0" → the id of that replica on a node whose GPUs are called G0, G1, …
inventory::SnapshotPtr short_names(unsigned gpus) {
  std::vector<inventory::Gpu> list;
  for (unsigned i = 0; i < gpus; ++i) {
    list.push_back(sample::gpu(i));
    list.back().uuid = "G" + std::to_string(i);
  }
  return sample::node(std::move(list));
}

Index index_of(unsigned gpus, unsigned replicas, AllocationPolicy policy) {
  config::Config config = sample::shared(replicas);
  config.allocation_policy = policy;
  return Index(sample::plan(short_names(gpus), config), 0);
}

std::map<std::string, int> per_gpu(const Texts& ids) {
  std::map<std::string, int> counts;
  for (const std::string& id : ids) ++counts[id.substr(0, id.find("::"))];
  return counts;
}

struct Row {
  unsigned gpus;
  unsigned replicas;
  Texts available;  // empty: all
  Texts required;
  std::int32_t size;
  Texts distributed;
  Texts packed;
};

TEST(PreferredReplicas, FollowTheContractsTable) {
  const Row rows[] = {
      {2, 4, {}, {}, 2, {"G0::0", "G1::0"}, {"G0::0", "G0::1"}},
      {3, 2, {}, {}, 3, {"G0::0", "G1::0", "G2::0"}, {"G0::0", "G0::1", "G1::0"}},
      {2, 4, {}, {}, 4, {"G0::0", "G1::0", "G0::1", "G1::1"}, {"G0::0", "G0::1", "G0::2", "G0::3"}},
      {2,
       4,
       {},
       {},
       5,
       {"G0::0", "G1::0", "G0::1", "G1::1", "G0::2"},
       {"G0::0", "G0::1", "G0::2", "G0::3", "G1::0"}},
      {2, 2, {"G0::0", "G0::1", "G1::1"}, {}, 2, {"G0::0", "G1::1"}, {"G1::1", "G0::0"}},
      {3, 2, {"G0::1", "G1::0", "G1::1", "G2::0"}, {}, 1, {"G1::0"}, {"G0::1"}},
      // Beyond the table: what must be included comes first and counts as given away.
      {2, 4, {}, {"G0::2"}, 2, {"G0::2", "G1::0"}, {"G0::2", "G0::0"}},
      {2, 4, {}, {"G0::2"}, 1, {"G0::2"}, {"G0::2"}},
      {2, 4, {}, {"G0::2"}, 0, {"G0::2"}, {"G0::2"}},
      {2, 4, {}, {}, 0, {}, {}},
      {2, 4, {}, {}, -3, {}, {}},
      // Ids nobody knows are not candidates.
      {2, 2, {"G7::0", "G1::1", "x"}, {}, 1, {"G1::1"}, {"G1::1"}},
  };
  for (const Row& row : rows) {
    for (auto policy : {AllocationPolicy::kDistributed, AllocationPolicy::kPacked}) {
      const Index index = index_of(row.gpus, row.replicas, policy);
      Texts available = row.available.empty() ? sample::ids(index.resource()) : row.available;
      const Texts& expected = policy == AllocationPolicy::kPacked ? row.packed : row.distributed;
      // The kubelet hands over a set: its order must not matter.
      for (int turn = 0; turn < 2; ++turn) {
        const auto answer = preferred(index, views(available), views(row.required), row.size);
        ASSERT_TRUE(answer) << answer.error().text();
        EXPECT_EQ(texts(*answer), expected);
        std::reverse(available.begin(), available.end());
      }
    }
  }
}

TEST(PreferredReplicas, AreRefusedWordForWordWhereTooFewAreFree) {
  for (auto policy : {AllocationPolicy::kDistributed, AllocationPolicy::kPacked}) {
    const Index index = index_of(1, 2, policy);
    const auto answer = preferred(index, views(sample::ids(index.resource())), {}, 5);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().text(),
              "error getting list of preferred allocation devices: not enough available devices to "
              "satisfy allocation");
  }
}

TEST(PreferredReplicas, CountEachAvailableIdOnce) {
  const Index index = index_of(1, 4, AllocationPolicy::kDistributed);
  const Texts twice = {"G0::1", "G0::1", "G0::3", "G0::3"};
  EXPECT_EQ(texts(preferred(index, views(twice), {}, 2).value()), (Texts{"G0::1", "G0::3"}));
  EXPECT_FALSE(preferred(index, views(twice), {}, 3));
}

TEST(PreferredReplicas, AreSpreadOverTheLeastUsedGpuFirst) {
  const Index index = index_of(2, 10, AllocationPolicy::kDistributed);
  Texts available = sample::ids(index.resource());
  std::map<std::string, int> given;
  for (int pod = 0; pod < 20; ++pod) {
    const auto id = std::string(preferred(index, views(available), {}, 1).value().at(0));
    std::erase(available, id);
    ++given[id.substr(0, 2)];
    EXPECT_LE(std::abs(given["G0"] - given["G1"]), 1);
  }
  EXPECT_THAT(available, IsEmpty());
}

TEST(PreferredReplicas, PackedFillsOneGpuBeforeTheNext) {
  const Index index = index_of(3, 4, AllocationPolicy::kPacked);
  Texts available = sample::ids(index.resource());
  Texts order;
  for (int pod = 0; pod < 12; ++pod) {
    order.emplace_back(preferred(index, views(available), {}, 1).value().at(0));
    std::erase(available, order.back());
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

// --- MIG ------------------------------------------------------------------------------------

Index mig_index(AllocationPolicy policy, unsigned replicas = 1) {
  config::Config config = sample::shared(replicas, "nvidia.com/mig-1g.10gb");
  config.mig_strategy = config::MigStrategy::kMixed;
  config.allocation_policy = policy;
  return Index(sample::plan(sample::node({sample::mig_gpu(0, {"1g.10gb", "1g.10gb", "1g.10gb"}),
                                          sample::mig_gpu(1, {"1g.10gb", "1g.10gb"})}),
                            config),
               0);
}

TEST(PreferredMigDevices, AreSpreadOverParents) {
  const Index index = mig_index(AllocationPolicy::kDistributed);
  EXPECT_THAT(preferred(index, views(sample::ids(index.resource())), {}, 2).value(),
              ElementsAre(sample::uuid(100, "MIG"), sample::uuid(200, "MIG")));
}

TEST(PreferredMigDevices, AreGatheredOnTheParentAlreadyInUse) {
  const Index index = mig_index(AllocationPolicy::kPacked);
  Texts available = sample::ids(index.resource());
  std::erase(available, sample::uuid(201, "MIG"));
  EXPECT_THAT(preferred(index, views(available), {}, 1).value(),
              ElementsAre(sample::uuid(200, "MIG")));
}

TEST(PreferredMigDevices, ThoseThatMustBeIncludedCountAsUseOfTheirParent) {
  const std::string required = sample::uuid(101, "MIG");
  const std::vector<std::string_view> must = {required};
  for (auto [policy, next] : {std::pair(AllocationPolicy::kDistributed, sample::uuid(200, "MIG")),
                              std::pair(AllocationPolicy::kPacked, sample::uuid(100, "MIG"))}) {
    const Index index = mig_index(policy);
    EXPECT_THAT(preferred(index, views(sample::ids(index.resource())), must, 2).value(),
                ElementsAre(required, next));
  }
}

TEST(PreferredMigDevices, SharedOnesAreChosenByTheirOwnUseFirst) {
  const Index index = mig_index(AllocationPolicy::kDistributed, 2);
  Texts available = sample::ids(index.resource());
  std::erase(available, sample::uuid(100, "MIG") + "::0");
  // GPU 1 is unused, so its devices come before the unused siblings on GPU 0.
  EXPECT_THAT(preferred(index, views(available), {}, 4).value(),
              ElementsAre(sample::uuid(200, "MIG") + "::0", sample::uuid(101, "MIG") + "::0",
                          sample::uuid(201, "MIG") + "::0", sample::uuid(102, "MIG") + "::0"));
}

// --- properties -----------------------------------------------------------------------------

struct Case {
  IndexPtr index;
  Texts available;
  Texts required;
  std::int32_t size = 0;
};

Case arbitrary_case(AllocationPolicy policy) {
  const auto gpus = *rc::gen::inRange(1u, 6u);
  const auto replicas = *rc::gen::inRange(2u, 7u);
  Case c;
  c.index = std::make_shared<const Index>(index_of(gpus, replicas, policy));
  for (const std::string& id : sample::ids(c.index->resource())) {
    if (*rc::gen::inRange(0, 3) != 0) c.available.push_back(id);
  }
  for (const std::string& id : c.available) {
    if (*rc::gen::inRange(0, 5) == 0) c.required.push_back(id);
  }
  c.size = *rc::gen::inRange(static_cast<int>(c.required.size()),
                             static_cast<int>(c.available.size()) + 1);
  return c;
}

void check(const Case& c) {
  const auto answer = preferred(*c.index, views(c.available), views(c.required), c.size);
  RC_ASSERT(answer.has_value());
  const Texts ids = texts(*answer);
  const std::set<std::string> chosen(ids.begin(), ids.end());
  const std::set<std::string> available(c.available.begin(), c.available.end());
  const std::set<std::string> required(c.required.begin(), c.required.end());
  RC_ASSERT(ids.size() == static_cast<std::size_t>(c.size));
  RC_ASSERT(chosen.size() == ids.size());
  RC_ASSERT(std::includes(chosen.begin(), chosen.end(), required.begin(), required.end()));
  RC_ASSERT(std::includes(available.begin(), available.end(), chosen.begin(), chosen.end()));

  Texts shuffled = c.available;
  std::reverse(shuffled.begin(), shuffled.end());
  std::rotate(shuffled.begin(), shuffled.begin() + static_cast<std::ptrdiff_t>(shuffled.size() / 3),
              shuffled.end());
  RC_ASSERT(texts(preferred(*c.index, views(shuffled), views(c.required), c.size).value()) == ids);
}

RC_GTEST_PROP(PreferredReplicas, AreAvailableDistinctExactAndHoldTheRequired, ()) {
  check(arbitrary_case(AllocationPolicy::kDistributed));
  check(arbitrary_case(AllocationPolicy::kPacked));
}

// After a distributed choice, a GPU that got something has at most one more in use than any GPU
// that still has something to give: a greater spread was avoidable.
RC_GTEST_PROP(PreferredReplicas, DistributedLeavesNoAvoidableSpread, ()) {
  Case c = arbitrary_case(AllocationPolicy::kDistributed);
  c.required.clear();
  const Texts ids = texts(preferred(*c.index, views(c.available), {}, c.size).value());
  const auto total = static_cast<int>(c.index->groups()[0].devices.size());
  std::map<std::string, int> free = per_gpu(c.available), chosen = per_gpu(ids);
  for (const auto& [gpu, available] : free) {
    const int used = total - available + chosen[gpu];
    if (chosen[gpu] == 0) continue;
    for (const auto& [other, other_available] : free) {
      if (other_available == chosen[other]) continue;
      RC_ASSERT(used <= total - other_available + chosen[other] + 1);
    }
  }
}

}  // namespace
}  // namespace kerf::allocate
