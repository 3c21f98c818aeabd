#include "agent/exporter_shares.h"

#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

using exporter::Share;

constexpr std::uint64_t kMiB = 1ULL << 20;

pods::Owner pod(const std::string& name) { return {"ml", name, "main"}; }

Share share(const std::string& name, std::optional<unsigned> replica) {
  Share out;
  out.pod = name;
  out.name_space = "ml";
  out.container = "main";
  out.replica = replica;
  return out;
}

usage::ProcessFigures process(std::uint32_t pid, const std::string& owner, std::uint64_t mib,
                              std::optional<double> sm) {
  usage::ProcessFigures out;
  out.pid = pid;
  if (!owner.empty()) out.owner = pod(owner);
  out.bytes = mib * kMiB;
  out.sm_percent = sm;
  return out;
}

struct Node {
  usage::Layout layout;
  usage::GpuFigures figures;
  usage::Account account;

  Node() {
    layout.uuid = figures.uuid = "GPU-a";
    layout.devices = {{"GPU-a", 24'000 * kMiB, {}, {}, 0}};
    for (const char* name : {"a", "b", "c"}) {
      layout.holdings.push_back({pod(name), "", "GPU-a", 1, 4, {}});
    }
    figures.mono_ms = 1'000'000;
    figures.busy_percent = 80;
    figures.energy_mj = 1'000'000;
    figures.processes_known = true;
    figures.processes = {process(1, "a", 3000, 40), process(2, "b", 1000, 20),
                         process(3, "", 500, 20)};
  }
  // A reading 10 s after the one before, of 300 W.
  void read() {
    figures.mono_ms += 10'000;
    *figures.energy_mj += 3'000'000;
    account.add(figures, layout);
  }
  exporter::Attribution fill(std::vector<Share> shares) const {
    exporter::Attribution out;
    out["GPU-a"] = std::move(shares);
    fill_own_figures(out, account, {});
    return out;
  }
};

TEST(ExporterShares, HaveWhatTheirContainersUse) {
  Node node;
  node.read();
  node.read();
  const auto shares = node.fill({share("a", 0), share("b", 1), share("c", 2)}).at("GPU-a");
  const Share::Own& a = shares[0].own.value();
  EXPECT_EQ(a.memory_mib, 3000);
  EXPECT_NEAR(a.busy.value(), 0.5, 1e-9);
  const Share::Own& c = shares[2].own.value();
  EXPECT_EQ(c, (Share::Own{0, 0.0, 0.0, 0})) << "it holds a share and does nothing";
  // Of the floor, a fifth is idle time's; half of what is left is that of a.
  EXPECT_NEAR(a.power.value(), 0.8 / 2, 1e-9);
  EXPECT_EQ(a.energy_mj, 1'200'000);
  // With what is the host's and nobody's they are the device's.
  const usage::GpuUse& gpu = node.account.gpus().at("GPU-a");
  double busy = gpu.busy_host_ratio / *gpu.busy_ratio;
  double joules = gpu.idle_j + gpu.other_j;
  for (const Share& each : shares) {
    busy += each.own.value().busy.value();
    joules += static_cast<double>(each.own.value().energy_mj.value()) / 1000;
  }
  EXPECT_NEAR(busy, 1, 1e-9);
  EXPECT_NEAR(joules, gpu.energy_j, 0.01);
}

TEST(ExporterShares, AreNotKnownBeforeTheyHaveBeenMeasured) {
  Node node;
  EXPECT_EQ(node.fill({share("a", 0)}).at("GPU-a")[0].own, Share::Own());
  node.read();
  const auto shares = node.fill({share("a", 0), share("new", 1)}).at("GPU-a");
  EXPECT_EQ(shares[0].own.value().memory_mib, 3000);
  EXPECT_EQ(shares[0].own.value().busy, std::nullopt) << "that takes two readings";
  EXPECT_EQ(shares[1].own, Share::Own()) << "it came after the reading";
}

TEST(ExporterShares, LeaveADeviceAloneThatOneContainerHasToItself) {
  Node node;
  node.read();
  EXPECT_EQ(node.fill({share("a", {})}).at("GPU-a")[0].own, std::nullopt);
}

TEST(ExporterShares, DivideAContainersFiguresAmongItsShares) {
  Node node;
  node.figures.processes[0].bytes = 3001 * kMiB;
  node.read();
  node.read();
  const auto shares = node.fill({share("a", 0), share("b", 1), share("a", 2)}).at("GPU-a");
  EXPECT_EQ(shares[0].own.value().memory_mib, 1501);
  EXPECT_EQ(shares[2].own.value().memory_mib, 1500);
  EXPECT_NEAR(shares[0].own.value().busy.value(), 0.25, 1e-9);
  EXPECT_EQ(shares[0].own.value().energy_mj, 600'000);
  EXPECT_EQ(shares[1].own.value().memory_mib, 1000);
}

TEST(ExporterShares, KeepTheDevicesFiguresWhereItCannotBeTold) {
  for (const int why : {0, 1, 2}) {
    Node node;
    if (why == 0) node.figures.unseen = 1;   // no process ids of the host
    if (why == 1) node.figures.unnamed = 1;  // nobody knows the pod
    if (why == 2) node.figures.processes_known = false;
    for (unsigned n = 1; n < kUntoldRounds; ++n) node.read();
    EXPECT_EQ(node.fill({share("a", 0)}).at("GPU-a")[0].own, Share::Own()) << "it may come";
    node.read();
    EXPECT_TRUE(is_untold(node.account.gpus().at("GPU-a")));
    EXPECT_EQ(node.fill({share("a", 0)}).at("GPU-a")[0].own, std::nullopt);
    node.figures.unseen = node.figures.unnamed = 0;
    node.figures.processes_known = true;
    node.read();
    EXPECT_EQ(node.fill({share("a", 0)}).at("GPU-a")[0].own.value().memory_mib, 3000);
  }
}

TEST(ExporterShares, KnowOnlyMemoryWhereTheDriverTellsNoActivity) {
  Node node;
  for (usage::ProcessFigures& each : node.figures.processes) each.sm_percent.reset();
  node.read();
  node.read();
  EXPECT_EQ(node.fill({share("a", 0)}).at("GPU-a")[0].own, (Share::Own{3000, {}, {}, {}}));
}

TEST(ExporterShares, KnowOnlyMemoryOfMigDevices) {
  Node node;
  node.layout.mig = true;
  node.layout.slices = 7;
  node.layout.devices = {{"MIG-1", 10'000 * kMiB, 7, 0, 1}};
  node.layout.holdings = {{pod("a"), "", "MIG-1", 1, 2, {}}};
  node.figures.busy_percent.reset();
  node.figures.processes = {process(1, "a", 3000, {})};
  node.figures.processes[0].gpu_instance = 7;
  node.read();
  node.read();
  exporter::Attribution shares;
  shares["MIG-1"] = {share("a", 0)};
  fill_own_figures(shares, node.account, {{"MIG-1", "GPU-a"}});
  EXPECT_EQ(shares["MIG-1"][0].own, (Share::Own{3000, {}, {}, {}}));
}

}  // namespace
}  // namespace kerf::agent
