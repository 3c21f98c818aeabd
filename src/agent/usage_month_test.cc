// A month of measuring with pods that come and go, as the meter and the exporter go through it.
#include <fstream>

#include "agent/exporter_shares.h"
#include "agent/usage_view.h"
#include "exporter/page.h"
#include "pods/names.h"
#include "usage/account.h"
#include "usage/watchdog.h"

#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

constexpr std::int64_t kRound = 300'000;
constexpr std::int64_t kDay = 86'400'000;
constexpr int kGpus = 2;
constexpr int kPods = 4;                    // on each at a time
constexpr std::int64_t kLife = 4 * kRound;  // of a pod

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr double kGrowthKib = 1 << 20;  // a sanitizer keeps what was freed, and finds leaks itself
#else
constexpr double kGrowthKib = 1024;
#endif

double resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6));
  }
  return 0;
}

std::string gpu_name(int gpu) { return "GPU-" + std::to_string(gpu); }

pods::Owner owner_at(std::int64_t now, int gpu, int n) {
  return {"ml", "pod-" + std::to_string(now / kLife) + "-" + std::to_string(gpu * kPods + n),
          "main"};
}

usage::Layout layout_at(std::int64_t now, int gpu) {
  usage::Layout out;
  out.uuid = gpu_name(gpu);
  out.devices = {{out.uuid, 24ULL << 30, {}, {}, 0}};
  for (int n = 0; n < kPods; ++n) {
    out.holdings.push_back({owner_at(now, gpu, n), "uid", out.uuid, 1, kPods, {}});
  }
  return out;
}

usage::GpuFigures figures_at(std::int64_t now, int gpu) {
  usage::GpuFigures out;
  out.uuid = gpu_name(gpu);
  out.mono_ms = 1 + now;
  out.wall_ms = 1 + now;
  out.busy_percent = 80;
  out.energy_mj = static_cast<std::uint64_t>(now) * 300;
  out.memory_total = 24ULL << 30;
  out.memory_used = 20ULL << 30;
  out.processes_known = true;
  for (int n = 0; n < kPods; ++n) {
    usage::ProcessFigures& each = out.processes.emplace_back();
    each.pid = static_cast<std::uint32_t>(n);
    each.owner = owner_at(now, gpu, n);
    each.bytes = static_cast<std::uint64_t>(n + 1) << 31;  // the last is above its share
    each.sm_percent = 10 * n;
  }
  return out;
}

exporter::Attribution shares_at(std::int64_t now) {
  exporter::Attribution out;
  for (int gpu = 0; gpu < kGpus; ++gpu) {
    for (int n = 0; n < kPods; ++n) {
      exporter::Share& share = out[gpu_name(gpu)].emplace_back();
      const pods::Owner owner = owner_at(now, gpu, n);
      share.pod = owner.pod;
      share.name_space = owner.name_space;
      share.container = owner.container;
      share.replica = static_cast<unsigned>(n);
    }
  }
  return out;
}

std::vector<exporter::Reading> readings() {
  std::vector<exporter::Reading> out;
  for (int gpu = 0; gpu < kGpus; ++gpu) {
    exporter::Reading& reading = out.emplace_back();
    reading.entity = {
        static_cast<unsigned>(gpu), gpu_name(gpu), "00000000:01:00.0", "NVIDIA H200", {}};
    reading.values = {exporter::Value::integer(80), exporter::Value::integer(20'480)};
  }
  return out;
}

struct Life {
  usage::Account account{{.longest_ms = kRound}};
  usage::Watchdog dog;
  UsageHistory history;
  std::map<std::string, usage::Layout> layouts;
  std::string text;

  void round(std::int64_t now) {
    for (int gpu = 0; gpu < kGpus; ++gpu) layouts[gpu_name(gpu)] = layout_at(now, gpu);
    account.keep_only(layouts);
    for (int gpu = 0; gpu < kGpus; ++gpu) {
      account.add(figures_at(now, gpu), layouts.at(gpu_name(gpu)));
      history.add(gpu_name(gpu), &account.gpus().at(gpu_name(gpu)));
    }
    dog.look(account.uses(), 1 + now);
  }
};

TEST(AMonthOfUse, KeepsNoMoreThanItsFirstDay) {
  const exporter::Counters counters =
      exporter::parse_counters("DCGM_FI_DEV_GPU_UTIL, gauge, u\nDCGM_FI_DEV_FB_USED, gauge, m",
                               "list", false)
          .counters;
  exporter::PageOptions page;
  page.share_by_share = true;
  Life life;
  double after_a_day = 0;
  // Those who hold now, and those who held in the ten minutes before.
  constexpr std::size_t kMost = 2 * kGpus * kPods;
  for (std::int64_t now = 0; now < 30 * kDay; now += kRound) {
    life.round(now);
    ASSERT_LE(life.account.uses().size(), kMost);
    ASSERT_LE(life.dog.standings().size(), kMost);
    exporter::Attribution shares = shares_at(now);
    fill_own_figures(shares, life.account, {});
    life.text.clear();
    exporter::make_sheet(counters, readings(), shares, {}, page)->print(life.text);
    if (now == kDay) after_a_day = resident_kib();
  }
  EXPECT_EQ(life.account.gpus().size(), std::size_t{kGpus});
  metrics::GpuUse shown;
  life.history.describe(gpu_name(0), shown);
  EXPECT_LE(shown.busy.size(), UsageHistory::kPoints);
  EXPECT_NE(life.text.find("pod-2159-0"), std::string::npos) << life.text;
  // What it grows by is less than the names of one day's pods would take.
  EXPECT_LT(resident_kib() - after_a_day, kGrowthKib);
  // Of all that was used, everything is somebody's or nobody's still.
  const usage::GpuUse& gpu = life.account.gpus().at(gpu_name(0));
  EXPECT_NEAR(gpu.energy_j, 300.0 * static_cast<double>(30 * kDay - kRound) / 1000,
              1e-6 * gpu.energy_j);
}

}  // namespace
}  // namespace kerf::agent
