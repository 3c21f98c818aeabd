// The labels against the tables of the device-plugin contract, §8.2 and §8.3.
#include "labels/labels.h"

#include <memory>

#include "plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::labels {
namespace {

using config::MigStrategy;
using inventory::Gpu;
using inventory::MigDevice;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;

constexpr std::int64_t kNow = 1'700'000'000;

// --- nodes as the vectors have them
// ---------------------------------------------------------------
Gpu gpu(unsigned index, std::string name = "MOCKMODEL") {
  Gpu gpu;
  gpu.index = index;
  gpu.uuid = "GPU-" + std::to_string(index);
  gpu.name = std::move(name);
  gpu.pci_bus_id = "0000:0" + std::to_string(index) + ":00.0";
  gpu.memory_bytes = 300ULL << 20;
  gpu.compute_major = 8;
  return gpu;
}

struct Mig {
  unsigned gi;
  unsigned ci;
  unsigned gb;
};

Gpu mig_gpu(unsigned index, const std::vector<Mig>& devices, std::string name = "MOCKMODEL") {
  Gpu parent = gpu(index, std::move(name));
  parent.compute_major = 0;
  parent.mig_capable = parent.mig_enabled = true;
  for (const Mig& each : devices) {
    MigDevice mig;
    mig.index = static_cast<unsigned>(parent.mig_devices.size());
    mig.uuid = "MIG-" + std::to_string(index) + "-" + std::to_string(mig.index);
    mig.gpu_slices = each.gi;
    mig.compute_slices = each.ci;
    mig.memory_mib = each.gb;
    mig.profile = std::to_string(each.gi) + "g." + std::to_string(each.gb) + "gb";
    parent.mig_devices.push_back(std::move(mig));
  }
  return parent;
}

config::Config strategy(MigStrategy strategy) {
  config::Config config;
  config.mig_strategy = strategy;
  config.labels.no_timestamp = true;
  return config;
}

config::Config sharing(config::Config config, std::string resource, unsigned replicas,
                       std::optional<std::string> rename = {}) {
  config.sharing.resources.push_back({std::move(resource), std::move(rename), {}, replicas, {}});
  config.sharing_strategy = config::SharingStrategy::kTimeSlicing;
  return config;
}

// MPS advertises the same replicas as time-slicing.
plan::Plan plan_of(std::vector<Gpu> gpus, config::Config config) {
  inventory::Snapshot snapshot;
  snapshot.driver = {inventory::DriverState::kReady, "550.107.02", 12040, "", ""};
  snapshot.gpus = std::move(gpus);
  config::SharingStrategy sharing = config.sharing_strategy;
  if (sharing == config::SharingStrategy::kMps) {
    config.sharing_strategy = config::SharingStrategy::kTimeSlicing;
  }
  auto plan =
      plan::make_plan(std::make_shared<const inventory::Snapshot>(std::move(snapshot)), config, 1);
  EXPECT_TRUE(plan.has_value()) << plan.error().text();
  plan->config.sharing_strategy = sharing;
  return std::move(*plan);
}

Labels labels_of(const plan::Plan& plan, const Facts& facts = {}) {
  Result<Made> made = make_labels(plan, facts, kNow);
  EXPECT_TRUE(made.has_value()) << made.error().text();
  return made ? made->labels : Labels{};
}

Labels labels_of(std::vector<Gpu> gpus, const config::Config& config) {
  return labels_of(plan_of(std::move(gpus), config));
}

// What begins with `prefix` (behind "nvidia.com/"), without it.
Labels under(const Labels& all, const std::string& prefix) {
  Labels out;
  std::string begin = "nvidia.com/" + prefix;
  for (const auto& [key, value] : all) {
    if (key.starts_with(begin)) out[key.substr(begin.size())] = value;
  }
  return out;
}

Labels resource(std::string product, std::string count, std::string replicas, std::string sharing,
                std::string memory, Labels more = {}) {
  more["product"] = std::move(product);
  more["count"] = std::move(count);
  more["replicas"] = std::move(replicas);
  more["sharing-strategy"] = std::move(sharing);
  more["memory"] = std::move(memory);
  return more;
}

const Labels kAmpere = {{"family", "ampere"}, {"compute.major", "8"}, {"compute.minor", "0"}};

Labels attributes(std::string gi, std::string ci) {
  Labels labels = {{"slices.gi", std::move(gi)}, {"slices.ci", std::move(ci)}};
  for (const char* name : {"multiprocessors", "engines.copy", "engines.decoder", "engines.encoder",
                           "engines.jpeg", "engines.ofa"}) {
    labels[name] = "0";
  }
  return labels;
}

// What belongs to every node with a GPU is left out of comparisons of nvidia.com/gpu.*.
Labels gpu_labels(const Labels& all) {
  Labels out = under(all, "gpu.");
  out.erase("machine");
  out.erase("mode");
  return out;
}

constexpr const char* kGpu = "nvidia.com/gpu";

TEST(Vectors, OfWholeGpus) {
  const config::Config none = strategy(MigStrategy::kNone);
  const config::Config twice = sharing(none, kGpu, 2);
  config::Config mps = twice;
  mps.sharing_strategy = config::SharingStrategy::kMps;
  struct Row {
    const char* name;
    std::vector<Gpu> gpus;
    config::Config config;
    Labels wanted;
  };
  const Row rows[] = {
      {"one GPU", {gpu(0)}, none, resource("MOCKMODEL", "1", "1", "none", "300", kAmpere)},
      {"shared",
       {gpu(0)},
       twice,
       resource("MOCKMODEL-SHARED", "1", "2", "time-slicing", "300", kAmpere)},
      {"two shared",
       {gpu(0), gpu(1)},
       twice,
       resource("MOCKMODEL-SHARED", "2", "2", "time-slicing", "300", kAmpere)},
      {"renamed",
       {gpu(0)},
       sharing(none, kGpu, 2, "nvidia.com/gpu.shared"),
       resource("MOCKMODEL", "1", "2", "time-slicing", "300", kAmpere)},
      {"MPS", {gpu(0)}, mps, resource("MOCKMODEL-SHARED", "1", "2", "mps", "300", kAmpere)},
      {"another resource",
       {gpu(0)},
       sharing(none, "nvidia.com/other", 2),
       resource("MOCKMODEL", "1", "1", "none", "300", kAmpere)},
      {"MIG mode", {mig_gpu(0, {})}, twice, resource("MOCKMODEL", "1", "0", "none", "300")},
      {"two in MIG mode",
       {mig_gpu(0, {}), mig_gpu(1, {})},
       twice,
       resource("MOCKMODEL", "2", "0", "none", "300")},
      {"one of each",
       {mig_gpu(0, {}), gpu(1)},
       twice,
       resource("MOCKMODEL-SHARED", "2", "2", "time-slicing", "300", kAmpere)},
  };
  for (const Row& row : rows) {
    Labels all = labels_of(row.gpus, row.config);
    EXPECT_EQ(gpu_labels(all), row.wanted) << row.name;
    EXPECT_THAT(all, Not(Contains(Key("nvidia.com/mig.strategy")))) << row.name;
  }
}

TEST(Vectors, OfTheSingleStrategy) {
  const config::Config single = strategy(MigStrategy::kSingle);
  const Labels invalid = resource("MOCKMODEL-MIG-INVALID", "0", "0", "", "0");
  Labels invalid_ampere = invalid;
  invalid_ampere.insert(kAmpere.begin(), kAmpere.end());
  std::vector<Gpu> two = {mig_gpu(0, {{1, 2, 100}}), mig_gpu(1, {{1, 2, 100}})};
  for (Gpu& each : two) {
    each.mig_devices[0].multiprocessors = 12;
    each.mig_devices[0].engines = {13, 14, 15, 16, 17};
  }
  Labels numbered = attributes("1", "2");
  numbered["multiprocessors"] = "12";
  numbered["engines.copy"] = "13";
  numbered["engines.decoder"] = "14";
  numbered["engines.encoder"] = "15";
  numbered["engines.jpeg"] = "16";
  numbered["engines.ofa"] = "17";
  struct Row {
    const char* name;
    std::vector<Gpu> gpus;
    config::Config config;
    Labels wanted;
  };
  const Row rows[] = {
      {"plain", {gpu(0)}, single, resource("MOCKMODEL", "1", "1", "none", "300", kAmpere)},
      {"two plain",
       {gpu(0), gpu(1)},
       single,
       resource("MOCKMODEL", "2", "1", "none", "300", kAmpere)},
      {"one",
       {mig_gpu(0, {{1, 2, 100}})},
       single,
       resource("MOCKMODEL-MIG-1g.100gb", "1", "1", "none", "100", attributes("1", "2"))},
      {"two", two, single, resource("MOCKMODEL-MIG-1g.100gb", "2", "1", "none", "100", numbered)},
      {"empty", {mig_gpu(0, {})}, single, invalid},
      {"two profiles", {mig_gpu(0, {{1, 2, 100}, {3, 4, 100}})}, single, invalid},
      {"beside a GPU", {mig_gpu(0, {{1, 2, 100}}), gpu(1)}, single, invalid_ampere},
      {"beside a GPU and an empty one",
       {mig_gpu(0, {{1, 2, 100}}), mig_gpu(1, {}), gpu(2)},
       single,
       invalid_ampere},
      {"shared",
       {mig_gpu(0, {{1, 2, 300}})},
       sharing(single, kGpu, 2),
       resource("MOCKMODEL-MIG-1g.300gb-SHARED", "1", "2", "time-slicing", "300",
                attributes("1", "2"))},
      {"shared under another name",
       {mig_gpu(0, {{1, 2, 300}})},
       sharing(single, kGpu, 2, "nvidia.com/gpu.shared"),
       resource("MOCKMODEL-MIG-1g.300gb", "1", "2", "time-slicing", "300", attributes("1", "2"))},
  };
  for (const Row& row : rows) {
    Labels all = labels_of(row.gpus, row.config);
    EXPECT_EQ(gpu_labels(all), row.wanted) << row.name;
    EXPECT_THAT(all, Contains(Pair("nvidia.com/mig.strategy", "single"))) << row.name;
  }
  auto made = make_labels(plan_of({mig_gpu(0, {})}, single), {}, kNow);
  EXPECT_THAT(made->warnings, Contains(HasSubstr("GPU 0 has no MIG devices")));
}

TEST(Vectors, OfTheMixedStrategy) {
  const config::Config mixed = strategy(MigStrategy::kMixed);
  Labels all = labels_of({mig_gpu(0, {{3, 0, 20}, {1, 0, 5}})}, mixed);
  EXPECT_EQ(gpu_labels(all), resource("MOCKMODEL", "1", "0", "none", "300"));
  EXPECT_EQ(under(all, "mig-3g.20gb."),
            resource("MOCKMODEL-MIG-3g.20gb", "1", "1", "none", "20", attributes("3", "0")));
  EXPECT_EQ(under(all, "mig-1g.5gb."),
            resource("MOCKMODEL-MIG-1g.5gb", "1", "1", "none", "5", attributes("1", "0")));
  EXPECT_THAT(all, Contains(Pair("nvidia.com/mig.strategy", "mixed")));

  std::vector<Gpu> one = {mig_gpu(0, {{1, 1, 1}})};
  Labels shared = labels_of(one, sharing(mixed, "nvidia.com/mig-1g.1gb", 2));
  EXPECT_EQ(under(shared, "mig-1g.1gb."), resource("MOCKMODEL-MIG-1g.1gb-SHARED", "1", "2",
                                                   "time-slicing", "1", attributes("1", "1")));
  Labels renamed = labels_of(one, sharing(mixed, "nvidia.com/mig-1g.1gb", 2, "nvidia.com/mig.x"));
  EXPECT_EQ(under(renamed, "mig-1g.1gb."),
            resource("MOCKMODEL-MIG-1g.1gb", "1", "2", "time-slicing", "1", attributes("1", "1")));
}

TEST(Mixed, HasAFamilyForEveryProfileWithALegalName) {
  std::vector<Gpu> gpus = {mig_gpu(0, {{1, 1, 10}, {1, 1, 10}, {3, 1, 40}})};
  gpus[0].mig_devices[1].profile = "1g.10gb+me.all";
  gpus[0].mig_devices[2].profile = "1c.3g.40gb";
  Labels all = labels_of(gpus, strategy(MigStrategy::kMixed));
  EXPECT_EQ(all["nvidia.com/mig-1g.10gb.count"], "1");
  EXPECT_EQ(all["nvidia.com/mig-1g.10gb.me.all.product"], "MOCKMODEL-MIG-1g.10gbme.all");
  EXPECT_EQ(all["nvidia.com/mig-1c.3g.40gb.slices.gi"], "3");
  for (const auto& [key, value] : all) {
    EXPECT_LE(key.size() - key.find('/') - 1, 63U) << key;
    EXPECT_EQ(key.find('+'), std::string::npos) << key;
  }
}

TEST(MpsCapable, IsTrueOnlyWhereMpsShares) {
  const config::Config none = strategy(MigStrategy::kNone);
  config::Config mps = sharing(none, kGpu, 2);
  mps.sharing_strategy = config::SharingStrategy::kMps;
  config::Config once = sharing(none, kGpu, 1);
  once.sharing_strategy = config::SharingStrategy::kNone;  // MPS with one replica
  const std::pair<config::Config, const char*> rows[] = {
      {none, "false"}, {sharing(none, kGpu, 2), "false"}, {once, "false"}, {mps, "true"}};
  for (const auto& [config, wanted] : rows) {
    EXPECT_EQ(labels_of({gpu(0)}, config)["nvidia.com/mps.capable"], wanted);
  }
  auto refused = make_labels(plan_of({mig_gpu(0, {})}, mps), {}, kNow);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::kConflict);
  EXPECT_NE(refused.error().hint, "");
}

TEST(Mode, IsTheClassThatAllGpusShare) {
  struct Row {
    std::vector<std::uint32_t> classes;
    const char* wanted;
  };
  const Row rows[] = {{{0x030000, 0x030000}, "graphics"},
                      {{0x030200, 0x030200}, "compute"},
                      {{0x068000, 0x068000}, "unknown"},
                      {{0x030000, 0x030200}, "unknown"},
                      {{0x030200}, "unknown"},
                      {{}, "unknown"}};
  plan::Plan plan = plan_of({gpu(0), gpu(1)}, strategy(MigStrategy::kNone));
  for (const Row& row : rows) {
    Facts facts;
    for (std::size_t i = 0; i < row.classes.size(); ++i) {
      facts.pci.push_back({plan.snapshot->gpus[i].pci_bus_id, 0, row.classes[i], "nvidia", {}});
    }
    EXPECT_EQ(labels_of(plan, facts)["nvidia.com/gpu.mode"], row.wanted);
  }
}

TEST(Family, FollowsTheComputeCapability) {
  struct Row {
    int major;
    int minor;
    const char* wanted;
  };
  const Row rows[] = {
      {1, 0, "tesla"},      {2, 0, "fermi"},  {3, 5, "kepler"},       {5, 2, "maxwell"},
      {6, 1, "pascal"},     {7, 0, "volta"},  {7, 5, "turing"},       {8, 0, "ampere"},
      {8, 6, "ampere"},     {9, 0, "hopper"}, {8, 9, "ada-lovelace"}, {10, 0, "blackwell"},
      {12, 1, "blackwell"}, {13, 0, "rubin"}, {4, 0, "undefined"},    {99, 0, "undefined"}};
  for (const Row& row : rows) {
    Gpu one = gpu(0);
    one.compute_major = row.major;
    one.compute_minor = row.minor;
    EXPECT_EQ(labels_of({one}, {})["nvidia.com/gpu.family"], row.wanted) << row.major;
  }
}

TEST(Versions, AreSplit) {
  Labels all = labels_of({gpu(0)}, {});
  EXPECT_EQ(under(all, "cuda."), (Labels{{"driver.major", "550"},
                                         {"driver.minor", "107"},
                                         {"driver.rev", "02"},
                                         {"driver-version.major", "550"},
                                         {"driver-version.minor", "107"},
                                         {"driver-version.revision", "02"},
                                         {"driver-version.full", "550.107.02"},
                                         {"runtime.major", "12"},
                                         {"runtime.minor", "4"},
                                         {"runtime-version.major", "12"},
                                         {"runtime-version.minor", "4"},
                                         {"runtime-version.full", "12.4"}}));
  struct Row {
    std::string version;
    std::string revision;
    bool ok;
  };
  const Row rows[] = {{"455.45", "", true},   {"1.2.3", "3", true}, {"455", "", false},
                      {"1.2.3.4", "", false}, {"", "", false},      {"55 0.1", "", false}};
  for (const Row& row : rows) {
    inventory::Snapshot snapshot;
    snapshot.gpus = {gpu(0)};
    snapshot.driver.version = row.version;
    plan::Plan plan = plan_of({}, {});
    plan.snapshot = std::make_shared<const inventory::Snapshot>(snapshot);
    Result<Made> made = make_labels(plan, {}, kNow);
    EXPECT_EQ(made->warnings.empty(), row.ok) << row.version;
    EXPECT_EQ(made->labels.contains("nvidia.com/cuda.driver.major"), row.ok) << row.version;
    EXPECT_EQ(made->labels["nvidia.com/cuda.driver.rev"], row.revision) << row.version;
    EXPECT_FALSE(made->labels.contains("nvidia.com/cuda.runtime.major"));
  }
}

TEST(Machine, IsItsProductName) {
  plan::Plan plan = plan_of({gpu(0)}, {});
  EXPECT_EQ(labels_of(plan)["nvidia.com/gpu.machine"], "unknown");
  Facts facts;
  facts.machine = "PowerEdge R750 (SKU=1)";
  EXPECT_EQ(labels_of(plan, facts)["nvidia.com/gpu.machine"], "PowerEdge-R750-SKU1");
}

TEST(Clique, NeedsAgreement) {
  const std::string cluster = "b2a3c7e1-0000-1111-2222-333344445555";
  Gpu zero = gpu(0);
  Gpu one = gpu(1);
  zero.fabric = inventory::Fabric{cluster, 7};
  EXPECT_EQ(labels_of({zero, one}, {})["nvidia.com/gpu.clique"], cluster + ".7");
  one.fabric = inventory::Fabric{cluster, 7};
  EXPECT_EQ(labels_of({zero, one}, {})["nvidia.com/gpu.clique"], cluster + ".7");
  one.fabric->clique = 8;
  auto made = make_labels(plan_of({zero, one}, {}), {}, kNow);
  EXPECT_FALSE(made->labels.contains("nvidia.com/gpu.clique"));
  EXPECT_THAT(made->warnings, Contains(HasSubstr("different fabric cliques")));
  EXPECT_FALSE(labels_of({gpu(0)}, {}).contains("nvidia.com/gpu.clique"));
}

TEST(Vgpu, IsSaidWhenTheScanSucceeded) {
  plan::Plan plan = plan_of({}, strategy(MigStrategy::kNone));
  EXPECT_THAT(labels_of(plan), IsEmpty());
  Facts facts;
  facts.vgpus.emplace();
  EXPECT_EQ(labels_of(plan, facts), (Labels{{"nvidia.com/vgpu.present", "false"}}));
  facts.vgpus->push_back({"0000:00:05.0", "460.16", "r460_00"});
  EXPECT_EQ(labels_of(plan, facts), (Labels{{"nvidia.com/vgpu.present", "true"},
                                            {"nvidia.com/vgpu.host-driver-version", "460.16"},
                                            {"nvidia.com/vgpu.host-driver-branch", "r460_00"}}));
}

TEST(Timestamp, IsThereUnlessSwitchedOff) {
  config::Config config;
  EXPECT_EQ(labels_of({}, config), (Labels{{"nvidia.com/gfd.timestamp", "1700000000"}}));
  config.labels.no_timestamp = true;
  EXPECT_THAT(labels_of({}, config), IsEmpty());
}

TEST(PciLabels, AreThereWhenAskedFor) {
  config::Config config = strategy(MigStrategy::kNone);
  Facts facts;
  facts.pci = {{"0000:01:00.0", 0x2204, 0x030000, "nvidia", {}}};
  EXPECT_THAT(labels_of(plan_of({}, config), facts), IsEmpty());
  config.labels.pci_labels = true;
  EXPECT_EQ(labels_of(plan_of({}, config), facts),
            (Labels{{"feature.node.kubernetes.io/pci-10de.present", "true"},
                    {"feature.node.kubernetes.io/pci-0300_10de.present", "true"}}));
  facts.pci[0].class_code = 0x030200;
  EXPECT_EQ(labels_of(plan_of({}, config), facts),
            (Labels{{"feature.node.kubernetes.io/pci-10de.present", "true"},
                    {"feature.node.kubernetes.io/pci-0302_10de.present", "true"}}));
}

TEST(Models, TheMostNumerousWholeOneStandsForTheNode) {
  struct Row {
    std::vector<Gpu> gpus;
    const char* product;
    const char* count;
  };
  const Row rows[] = {
      {{gpu(0, "A"), gpu(1, "B"), gpu(2, "B")}, "B", "2"},
      {{gpu(0, "B"), gpu(1, "A")}, "B", "1"},
      {{mig_gpu(0, {}, "A"), mig_gpu(1, {}, "A"), gpu(2, "B")}, "B", "1"},
      {{mig_gpu(0, {}, "A"), mig_gpu(1, {}, "B"), mig_gpu(2, {}, "B")}, "B", "2"},
  };
  for (const Row& row : rows) {
    auto made = make_labels(plan_of(row.gpus, {}), {}, kNow);
    EXPECT_EQ(made->labels["nvidia.com/gpu.product"], row.product);
    EXPECT_EQ(made->labels["nvidia.com/gpu.count"], row.count);
    EXPECT_THAT(made->warnings, Contains(HasSubstr("several models")));
  }
}

TEST(Sharing, IsThatOfTheFirstGpuWhereOnlySomeAreShared) {
  config::Config config = sharing({}, kGpu, 5);
  config.sharing.resources[0].devices = std::vector<config::DeviceRef>{config::ByIndex{1, {}}};
  EXPECT_EQ(labels_of({gpu(0), gpu(1)}, config)["nvidia.com/gpu.replicas"], "1");
  config.sharing.resources[0].devices = config::FirstDevices{1};
  EXPECT_EQ(labels_of({gpu(0), gpu(1)}, config)["nvidia.com/gpu.replicas"], "5");
  const auto made = make_labels(plan_of({gpu(0), gpu(1)}, config), {}, kNow);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->warnings, Contains(HasSubstr("says 5, that of GPU 0, while GPU 1 has 1")));
}

TEST(Health, MakesNoDifference) {
  std::vector<Gpu> gpus = {gpu(0), gpu(1)};
  const config::Config config = sharing({}, kGpu, 4);
  Labels healthy = labels_of(gpus, config);
  gpus[0].unhealthy = inventory::Unhealthy{"gpu_lost", "fallen off the bus", 1};
  EXPECT_EQ(labels_of(gpus, config), healthy);
  EXPECT_EQ(healthy["nvidia.com/gpu.count"], "2");
}

TEST(Memory, IsLeftOutWhereTheGpuHasNoneOfItsOwn) {
  Gpu unified = gpu(0, "NVIDIA GB10");
  unified.memory_bytes.reset();
  unified.compute_major = 12;
  unified.compute_minor = 1;
  Labels all = labels_of({unified}, {});
  EXPECT_FALSE(all.contains("nvidia.com/gpu.memory"));
  EXPECT_EQ(all["nvidia.com/gpu.family"], "blackwell");
}

}  // namespace
}  // namespace kerf::labels
