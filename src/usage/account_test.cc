#include "usage/account.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kerf::usage {
namespace {

using pods::Owner;
using testing::DoubleNear;

constexpr std::uint64_t kGiB = 1ULL << 30;
const std::string kGpu = "GPU-a";

Owner pod(const std::string& name) { return {"ml", name, "main"}; }
Key key(const std::string& name, const std::string& uuid = kGpu) { return {pod(name), uuid}; }

Layout shared_gpu(const std::vector<std::string>& holders, unsigned of = 4) {
  Layout layout;
  layout.uuid = kGpu;
  layout.devices = {{kGpu, 24 * kGiB, {}, {}, 0}};
  for (const std::string& name : holders)
    layout.holdings.push_back({pod(name), "", kGpu, 1, of, {}});
  return layout;
}

ProcessFigures process(std::uint32_t pid, std::optional<Owner> owner, std::uint64_t gib,
                       double sm) {
  ProcessFigures out;
  out.pid = pid;
  out.owner = std::move(owner);
  out.bytes = gib * kGiB;
  out.sm_percent = sm;
  return out;
}

GpuFigures at(std::int64_t seconds, double busy, std::uint64_t joules,
              std::vector<ProcessFigures> processes = {}) {
  GpuFigures out;
  out.uuid = kGpu;
  out.mono_ms = 1'000'000 + seconds * 1000;
  out.busy_percent = busy;
  out.energy_mj = joules * 1000;
  out.memory_total = 24 * kGiB;
  out.memory_used = 20 * kGiB;
  out.processes_known = true;
  out.processes = std::move(processes);
  return out;
}

TEST(Accounts, TellFourPodsOnOneGpuApart) {
  Account account;
  const Layout layout = shared_gpu({"a", "b", "c", "d"});
  const std::vector<ProcessFigures> loads = {
      process(1, pod("a"), 8, 40), process(2, pod("b"), 4, 20), process(3, pod("b"), 1, 10),
      process(4, pod("c"), 2, 10), process(5, {}, 1, 0)};
  account.add(at(0, 0, 0), layout);
  account.add(at(10, 0, 500), layout);  // idle: 50 W
  account.add(at(20, 80, 3500, loads), layout);

  // 80 % of 10 s busy, in the ratio 40:30:10; 3000 J less the idle fifth of 500 J.
  const Use& a = account.uses().at(key("a"));
  EXPECT_EQ(a.memory_bytes, 8 * kGiB);
  EXPECT_EQ(a.limit_bytes, 6 * kGiB);
  EXPECT_THAT(*a.busy_ratio, DoubleNear(0.4, 1e-9));
  EXPECT_THAT(a.busy_seconds, DoubleNear(4, 1e-9));
  EXPECT_THAT(a.energy_j, DoubleNear(2900 * 0.5, 1e-6));
  EXPECT_THAT(*a.power_w, DoubleNear(145, 1e-6));
  EXPECT_THAT(a.held_seconds, DoubleNear(5, 1e-9)) << "a quarter of 20 s";
  const Use& b = account.uses().at(key("b"));
  EXPECT_EQ(b.memory_bytes, 5 * kGiB);
  EXPECT_EQ(b.processes, 2U);
  EXPECT_THAT(*b.busy_ratio, DoubleNear(0.3, 1e-9));
  EXPECT_THAT(*account.uses().at(key("c")).busy_ratio, DoubleNear(0.1, 1e-9));
  EXPECT_EQ(account.uses().at(key("d")).busy_ratio, 0.0) << "holds a share and does nothing";

  const GpuUse& gpu = account.gpus().at(kGpu);
  EXPECT_EQ(gpu.memory_host, 1 * kGiB);
  EXPECT_EQ(gpu.memory_other, 4 * kGiB);
  EXPECT_THAT(gpu.idle_j, DoubleNear(600, 1e-6)) << "the first 10 s, and a fifth of the last";
  EXPECT_THAT(gpu.idle_seconds, DoubleNear(12, 1e-9));
  EXPECT_THAT(gpu.energy_j, DoubleNear(3500, 1e-9));
}

TEST(Accounts, GiveWorkOfTheHostToNoPod) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({"a"}));
  account.add(at(10, 100, 3000, {process(1, pod("a"), 1, 25), process(2, {}, 1, 75)}),
              shared_gpu({"a"}));
  EXPECT_THAT(account.uses().at(key("a")).energy_j, DoubleNear(750, 1e-6));
  EXPECT_THAT(account.gpus().at(kGpu).other_j, DoubleNear(2250, 1e-6));
  EXPECT_THAT(account.gpus().at(kGpu).busy_host_ratio, DoubleNear(0.75, 1e-9));
}

TEST(Accounts, LeaveWorkWithoutAProcessToNobody) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({"a"}));
  account.add(at(10, 60, 3000), shared_gpu({"a"}));
  EXPECT_EQ(account.uses().at(key("a")).energy_j, 0);
  EXPECT_THAT(account.gpus().at(kGpu).other_seconds, DoubleNear(6, 1e-9));
}

TEST(Accounts, DoNotGoDownWhenAPodIsMadeAnewOrANumberIsReused) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({"a", "b"}));
  account.add(at(10, 50, 1000, {process(7, pod("a"), 1, 50)}), shared_gpu({"a", "b"}));
  const Use before = account.uses().at(key("a"));
  account.add(at(20, 50, 2000, {process(7, pod("b"), 1, 50)}), shared_gpu({"b"}));
  EXPECT_EQ(account.uses().at(key("a")).energy_j, before.energy_j) << "7 is b's now";
  EXPECT_EQ(account.uses().at(key("a")).memory_bytes, 0U);
  EXPECT_GT(account.uses().at(key("b")).energy_j, 0);
  account.add(at(30, 50, 3000, {process(8, pod("a"), 1, 50)}), shared_gpu({"a"}));
  EXPECT_GT(account.uses().at(key("a")).energy_j, before.energy_j);
}

TEST(Accounts, SurviveACounterThatGoesBackAndAGpuThatIsLost) {
  Account account;
  const Layout layout = shared_gpu({"a"});
  account.add(at(0, 0, 5000), layout);
  account.add(at(10, 50, 6000, {process(1, pod("a"), 1, 50)}), layout);
  const double energy = account.gpus().at(kGpu).energy_j;
  account.missed(layout, 1'015'000);
  EXPECT_EQ(account.gpus().at(kGpu).busy_ratio, std::nullopt);
  EXPECT_EQ(account.gpus().at(kGpu).memory_used, std::nullopt);
  EXPECT_EQ(account.uses().at(key("a")).memory_bytes, 0U);
  EXPECT_EQ(account.gpus().at(kGpu).energy_j, energy);
  account.add(at(20, 50, 10, {process(1, pod("a"), 1, 50)}), layout);  // the driver was loaded anew
  EXPECT_EQ(account.gpus().at(kGpu).energy_j, energy);
  account.add(at(30, 50, 1010, {process(1, pod("a"), 1, 50)}), layout);
  EXPECT_THAT(account.gpus().at(kGpu).energy_j, DoubleNear(energy + 1000, 1e-6));
  account.add(at(25, 50, 2000), layout);
  EXPECT_THAT(account.gpus().at(kGpu).seconds, DoubleNear(30, 1e-9)) << "not later than the last";
}

TEST(Accounts, DoNotSplitWhatNobodySaw) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({"a"}));
  account.add(at(3600, 100, 900'000, {process(1, pod("a"), 1, 100)}), shared_gpu({"a"}));
  EXPECT_EQ(account.uses().at(key("a")).energy_j, 0);
  EXPECT_THAT(account.gpus().at(kGpu).other_j, DoubleNear(900'000, 1e-6));
}

TEST(Accounts, BelieveNoAbsurdReading) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({}));
  GpuFigures absurd = at(10, 250, 4'000'000'000);
  absurd.power_mw = 4'000'000'000;
  account.add(absurd, shared_gpu({}));
  EXPECT_EQ(account.gpus().at(kGpu).energy_j, 0);
  EXPECT_EQ(account.gpus().at(kGpu).power_w, std::nullopt);
  EXPECT_EQ(account.gpus().at(kGpu).busy_ratio, 1.0);
}

TEST(Accounts, UsePowerWhereThereIsNoCounter) {
  Account account;
  for (std::int64_t second : {0, 10}) {
    GpuFigures figures = at(second, 100, 0, {process(1, pod("a"), 1, 100)});
    figures.energy_mj.reset();
    figures.power_mw = 200'000;
    account.add(figures, shared_gpu({"a"}));
  }
  EXPECT_THAT(account.uses().at(key("a")).energy_j, DoubleNear(2000, 1e-6));
}

Layout partitioned() {
  Layout layout;
  layout.uuid = kGpu;
  layout.mig = true;
  layout.slices = 7;
  layout.devices = {{"MIG-1", 10 * kGiB, 7, 0, 1}, {"MIG-3", 40 * kGiB, 1, 0, 3}};
  layout.holdings = {{pod("a"), "", "MIG-1", 1, 1, {}}, {pod("b"), "", "MIG-3", 1, 2, {}}};
  return layout;
}

TEST(Accounts, KnowMemoryOfMigDevicesAndSplitEnergyBySlices) {
  Account account;
  ProcessFigures one = process(1, pod("a"), 5, 0);
  one.gpu_instance = 7;
  one.compute_instance = 0;
  ProcessFigures two = process(2, pod("b"), 9, 0);
  two.gpu_instance = 1;
  one.sm_percent.reset();
  two.sm_percent.reset();
  for (std::int64_t second : {0, 10}) {
    GpuFigures figures = at(second, 0, static_cast<std::uint64_t>(second) * 300, {one, two});
    figures.busy_percent.reset();
    account.add(figures, partitioned());
  }
  const Use& a = account.uses().at(key("a", "MIG-1"));
  const Use& b = account.uses().at(key("b", "MIG-3"));
  EXPECT_EQ(a.memory_bytes, 5 * kGiB);
  EXPECT_EQ(a.limit_bytes, 10 * kGiB);
  EXPECT_EQ(b.limit_bytes, 20 * kGiB);
  EXPECT_EQ(a.busy_ratio, std::nullopt) << "nobody measured it";
  EXPECT_THAT(b.energy_j / a.energy_j, DoubleNear(3, 1e-9));
  const GpuUse& gpu = account.gpus().at(kGpu);
  EXPECT_THAT(a.energy_j + b.energy_j + gpu.idle_j + gpu.other_j, DoubleNear(3000, 1e-6));
  EXPECT_THAT(a.held_seconds, DoubleNear(10.0 / 7, 1e-9));
}

TEST(Accounts, CountTheSlicesThatTheModelHas) {
  struct Row {
    unsigned of_the_gpu;
    unsigned of_the_device;
    double held;  // of 10 s
  };
  for (const Row& row : {Row{7, 1, 10.0 / 7}, Row{7, 3, 30.0 / 7}, Row{7, 7, 10}, Row{4, 1, 2.5},
                         Row{4, 2, 5}, Row{4, 4, 10}}) {
    Account account;
    Layout layout = partitioned();
    layout.slices = row.of_the_gpu;
    layout.devices[0].slices = row.of_the_device;
    ProcessFigures one = process(1, pod("a"), 5, 0);
    one.gpu_instance = 7;
    one.sm_percent.reset();
    for (std::int64_t second : {0, 10}) {
      GpuFigures figures = at(second, 0, static_cast<std::uint64_t>(second) * 300, {one});
      figures.busy_percent.reset();
      account.add(figures, layout);
    }
    EXPECT_THAT(account.uses().at(key("a", "MIG-1")).held_seconds, DoubleNear(row.held, 1e-9));
    EXPECT_THAT(account.uses().at(key("a", "MIG-1")).busy_seconds, DoubleNear(row.held, 1e-9));
    EXPECT_THAT(account.gpus().at(kGpu).idle_seconds, DoubleNear(10 - row.held, 1e-9));
  }
}

TEST(Accounts, SayNothingOfActivityThatTheDriverDoesNotTell) {
  Account account;
  ProcessFigures silent = process(1, pod("a"), 5, 0);
  silent.sm_percent.reset();
  account.add(at(0, 90, 0, {silent}), shared_gpu({"a", "b"}));
  account.add(at(10, 90, 1000, {silent}), shared_gpu({"a", "b"}));
  EXPECT_EQ(account.uses().at(key("a")).busy_ratio, std::nullopt) << "0 would be wrong";
  EXPECT_EQ(account.uses().at(key("a")).memory_bytes, 5 * kGiB);
  EXPECT_THAT(account.gpus().at(kGpu).other_seconds, DoubleNear(9, 1e-9));
}

TEST(Accounts, CountReadingsWithProcessesOutOfSight) {
  Account account;
  GpuFigures figures = at(0, 90, 0, {process(1, {}, 5, 40)});
  figures.unseen = 1;
  account.add(figures, shared_gpu({"a"}));
  figures.mono_ms += 1000;
  account.add(figures, shared_gpu({"a"}));
  EXPECT_EQ(account.gpus().at(kGpu).untold_rounds, 2U);
  EXPECT_FALSE(account.gpus().at(kGpu).processes_known);
  account.add(at(10, 90, 0, {process(1, pod("a"), 5, 40)}), shared_gpu({"a"}));
  EXPECT_EQ(account.gpus().at(kGpu).untold_rounds, 0U);
  EXPECT_TRUE(account.gpus().at(kGpu).processes_known);
  account.missed(shared_gpu({"a"}), 2'000'000);
  EXPECT_FALSE(account.gpus().at(kGpu).processes_known);
}

TEST(Accounts, ForgetContainersThatAreLongGoneAndNeverGrowWithoutEnd) {
  AccountOptions options;
  options.forget_ms = 100'000;
  options.most = 50;
  Account account(options);
  for (int round = 0; round < 2000; ++round) {
    std::vector<ProcessFigures> processes;
    for (int n = 0; n < 5; ++n) {
      processes.push_back(process(1, pod(std::to_string(round) + "-" + std::to_string(n)), 1, 10));
    }
    account.add(at(round * 10, 50, static_cast<std::uint64_t>(round) * 100, processes),
                shared_gpu({}));
    ASSERT_LE(account.uses().size(), 50U);
  }
  account.add(at(50'000, 0, 0), shared_gpu({}));
  EXPECT_TRUE(account.uses().empty());
}

TEST(Accounts, ForgetGpusThatAreGone) {
  Account account;
  account.add(at(0, 0, 0), shared_gpu({"a"}));
  account.keep_only({});
  EXPECT_TRUE(account.uses().empty());
  EXPECT_TRUE(account.gpus().empty());
}

// Whatever the driver says, the parts add up to the whole, and no counter goes down.
RC_GTEST_PROP(Accounts, AddUpToTheGpusOwnFigures, ()) {
  Account account;
  std::map<Key, Use> before;
  std::uint64_t joules = 0;
  std::int64_t second = 0;
  const int readings = *rc::gen::inRange(2, 12);
  double energy = 0;
  for (int n = 0; n < readings; ++n) {
    second += *rc::gen::inRange(1, 40);
    joules += static_cast<std::uint64_t>(*rc::gen::inRange(0, 5000));
    std::vector<ProcessFigures> processes;
    const int count = *rc::gen::inRange(0, 7);
    for (int p = 0; p < count; ++p) {
      std::optional<Owner> owner;
      if (*rc::gen::inRange(0, 4) > 0) owner = pod(std::string(1, *rc::gen::inRange('a', 'f')));
      processes.push_back(process(static_cast<std::uint32_t>(p), owner,
                                  static_cast<std::uint64_t>(*rc::gen::inRange(0, 8)),
                                  *rc::gen::inRange(0, 101)));
    }
    GpuFigures figures = at(second, *rc::gen::inRange(0, 101), joules, processes);
    if (*rc::gen::inRange(0, 5) == 0) figures.busy_percent.reset();
    account.add(figures, shared_gpu({"a", "b"}));

    const GpuUse& gpu = account.gpus().at(kGpu);
    double j = gpu.idle_j + gpu.other_j;
    double s = gpu.idle_seconds + gpu.other_seconds;
    double ratio = gpu.busy_host_ratio;
    std::uint64_t memory = gpu.memory_host + gpu.memory_other;
    for (const auto& [k, use] : account.uses()) {
      j += use.energy_j;
      s += use.busy_seconds;
      ratio += use.busy_ratio.value_or(0);
      memory += use.memory_bytes;
      if (auto old = before.find(k); old != before.end()) {
        RC_ASSERT(use.energy_j >= old->second.energy_j);
        RC_ASSERT(use.busy_seconds >= old->second.busy_seconds);
        RC_ASSERT(use.held_seconds >= old->second.held_seconds);
      }
    }
    energy = gpu.energy_j;
    RC_ASSERT(std::abs(j - gpu.energy_j) <= 1e-6 * (1 + gpu.energy_j));
    RC_ASSERT(std::abs(s - gpu.seconds) <= 1e-6 * (1 + gpu.seconds));
    if (gpu.busy_ratio && n > 0) RC_ASSERT(std::abs(ratio - *gpu.busy_ratio) <= 1e-9);
    const std::uint64_t sum =
        std::accumulate(processes.begin(), processes.end(), std::uint64_t{0},
                        [](std::uint64_t all, const ProcessFigures& p) { return all + *p.bytes; });
    RC_ASSERT(memory == std::max(sum, *figures.memory_used));
    before = account.uses();
  }
  RC_ASSERT(energy <= static_cast<double>(joules));
}

}  // namespace
}  // namespace kerf::usage
