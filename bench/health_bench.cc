// What a GPU's turn from healthy to unhealthy, or back, costs inside the agent: judging it, the new
// plan, the difference to the old one and the list for the kubelet. Without driver and sockets; the
// floor is the list alone. Memory after all flips is set beside that before.
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <unistd.h>

#include "health/tracker.h"
#include "kubelet/codec.h"
#include "plan/diff.h"
#include "plan/sample_nodes.h"

#include <benchmark/benchmark.h>

namespace kerf::agent {
namespace {

namespace sample = plan::sample;

// Resident memory of this process, MiB.
double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

void flip(benchmark::State& state) {
  const auto gpus = static_cast<unsigned>(state.range(0));
  const config::Config config = sample::shared(static_cast<unsigned>(state.range(1)));
  inventory::Snapshot well = *sample::gpus(gpus);
  inventory::Reading reading;
  reading.gpus = well.gpus;
  health::Tracker tracker;
  tracker.on_reading(reading, 0);
  auto plan_of = [&] {
    auto marked = std::make_shared<const inventory::Snapshot>(tracker.apply(well));
    return std::make_shared<const plan::Plan>(std::move(*plan::make_plan(marked, config, 1)));
  };
  std::shared_ptr<const plan::Plan> before = plan_of();
  std::int64_t now = 0;
  double memory = resident_mib();
  for (auto _ : state) {
    const inventory::Gpu& gpu = well.gpus[static_cast<std::size_t>(now / 2) % well.gpus.size()];
    if (now % 2 == 0) {
      tracker.on_xid({gpu.uuid, 94, {}, {}}, now);
    } else {
      tracker.clear(gpu.uuid);
    }
    ++now;
    auto after = plan_of();
    benchmark::DoNotOptimize(plan::diff(*before, *after));
    benchmark::DoNotOptimize(kubelet::encode_list(after->resources.front().devices));
    before = std::move(after);
  }
  state.counters["grown_MiB"] = resident_mib() - memory;
}
BENCHMARK(flip)->Args({8, 10})->Args({16, 100})->Iterations(10'000);

void list_alone(benchmark::State& state) {
  const config::Config config = sample::shared(static_cast<unsigned>(state.range(1)));
  auto plan = plan::make_plan(sample::gpus(static_cast<unsigned>(state.range(0))), config, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(kubelet::encode_list(plan->resources.front().devices));
  }
}
BENCHMARK(list_alone)->Args({8, 10})->Args({16, 100})->Iterations(10'000);

}  // namespace
}  // namespace kerf::agent
