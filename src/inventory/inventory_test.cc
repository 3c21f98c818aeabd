#include "inventory/differ.h"
#include "inventory/mig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::inventory {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kMiB = 1024 * 1024;

TEST(MigProfileName, IsWhatTheDriverCallsIt) {
  struct Row {
    MigShape shape;
    std::optional<std::uint64_t> total;
    std::string name;
  };
  constexpr std::uint64_t kA100 = 42505273344;
  constexpr std::uint64_t kA100Large = 81920 * kMiB;
  constexpr std::uint64_t kH100 = 81559 * kMiB;
  constexpr std::uint64_t kH200 = 143771 * kMiB;
  const Row rows[] = {
      {{1, 1, 4864, 0}, kA100, "1g.5gb"},
      {{1, 1, 4864, 7}, kA100, "1g.5gb+me"},
      {{1, 1, 9856, 9}, kA100, "1g.10gb"},
      {{2, 2, 9856, 1}, kA100, "2g.10gb"},
      {{3, 3, 19968, 2}, kA100, "3g.20gb"},
      {{4, 4, 19968, 3}, kA100, "4g.20gb"},
      {{7, 7, 40192, 4}, kA100, "7g.40gb"},
      {{1, 3, 19968, 2}, kA100, "1c.3g.20gb"},
      {{1, 1, 9856, 0}, kA100Large, "1g.10gb"},
      {{7, 7, 80384, 4}, kA100Large, "7g.80gb"},
      {{1, 1, 9984, 0}, kH100, "1g.10gb"},
      {{1, 1, 20090, 9}, kH100, "1g.20gb"},
      {{7, 7, 81152, 4}, kH100, "7g.80gb"},
      {{1, 1, 16384, 0}, kH200, "1g.18gb"},
      {{1, 1, 33024, 9}, kH200, "1g.35gb"},
      {{3, 3, 71168, 2}, kH200, "3g.71gb"},
      {{7, 7, 143104, 4}, kH200, "7g.141gb"},
      {{2, 2, 9856, 8}, kA100, "2g.10gb+me"},
      {{1, 1, 9856, 10}, kA100Large, "1g.10gb+gfx"},
      {{1, 1, 9856, 13}, kA100Large, "1g.10gb-me"},
      {{1, 1, 9856, 15}, kA100Large, "1g.10gb+me.all"},
      {{1, 1, 9856, std::nullopt}, kA100Large, "1g.10gb"},
      {{1, 1, 9856, std::nullopt}, std::nullopt, "1g.10gb"},
      {{1, 1, 9856, std::nullopt}, 0, "1g.10gb"},
  };
  for (const Row& row : rows) EXPECT_EQ(mig_profile_name(row.shape, row.total), row.name);
}

Snapshot two_gpus() {
  Snapshot snapshot;
  snapshot.driver.state = DriverState::kReady;
  snapshot.driver.version = "580.1";
  snapshot.gpus.resize(2);
  snapshot.gpus[0].uuid = "GPU-0";
  snapshot.gpus[1].uuid = "GPU-1";
  snapshot.gpus[1].index = 1;
  snapshot.gpus[1].mig_devices.resize(1);
  snapshot.gpus[1].mig_devices[0].uuid = "MIG-0";
  return snapshot;
}

std::vector<std::string> words(const Snapshot& before, const Snapshot& after) {
  std::vector<std::string> out;
  for (const Change& change : diff(before, after)) {
    out.push_back(std::string(to_string(change.what)) + " " + change.subject);
  }
  EXPECT_EQ(out.empty(), same_content(before, after));
  return out;
}

TEST(Differ, SaysNothingOfEqualSnapshots) {
  Snapshot later = two_gpus();
  later.generation = 7;
  EXPECT_THAT(words(two_gpus(), later), IsEmpty());
}

TEST(Differ, NamesWhatChanged) {
  EXPECT_THAT(words(Snapshot(), two_gpus()),
              ElementsAre("driver driver", "added GPU-0", "added GPU-1"));
  EXPECT_THAT(words(two_gpus(), Snapshot()),
              ElementsAre("driver driver", "removed GPU-0", "removed GPU-1"));

  Snapshot sick = two_gpus();
  sick.gpus[0].unhealthy = Unhealthy{"xid", "Xid 79", 1};
  sick.gpus[1].mig_devices[0].unhealthy = Unhealthy{"xid", "Xid 48", 1};
  EXPECT_THAT(words(two_gpus(), sick), ElementsAre("unhealthy GPU-0", "unhealthy MIG-0"));
  EXPECT_THAT(words(sick, two_gpus()), ElementsAre("recovered GPU-0", "recovered MIG-0"));

  Snapshot renumbered = two_gpus();
  renumbered.gpus[0].minor = 4;
  EXPECT_THAT(words(two_gpus(), renumbered), ElementsAre("changed GPU-0"));

  Snapshot linked = two_gpus();
  linked.links.push_back({0, 1, 20, 0});
  EXPECT_THAT(words(two_gpus(), linked), ElementsAre("links links"));

  Snapshot resized = two_gpus();
  resized.gpus[1].mig_devices[0].uuid = "MIG-1";
  EXPECT_THAT(words(two_gpus(), resized), ElementsAre("removed MIG-0", "added MIG-1"));

  Snapshot swapped = two_gpus();
  std::swap(swapped.gpus[0], swapped.gpus[1]);
  EXPECT_THAT(words(two_gpus(), swapped), ElementsAre("changed driver"));
}

}  // namespace
}  // namespace kerf::inventory
