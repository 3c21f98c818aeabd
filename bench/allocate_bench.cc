// What the pure part of each call to the plugin costs, without gRPC. `bench/run` sets the figures
// beside a bare echo.
#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "allocate/aligned.h"
#include "allocate/allocate.h"
#include "allocate/preferred.h"
#include "plan/sample_nodes.h"

#include <benchmark/benchmark.h>

namespace kerf::allocate {
namespace {

namespace sample = plan::sample;

// Ids of one resource in the random order in which the kubelet sends them.
struct Node {
  Node(unsigned gpus, unsigned replicas, const config::Config& config)
      : index(sample::plan(sample::gpus(gpus), config), 0),
        ids(sample::ids(index.resource())),
        views(ids.begin(), ids.end()) {
    std::shuffle(views.begin(), views.end(), std::mt19937(replicas));
  }
  Node(unsigned gpus, unsigned replicas) : Node(gpus, replicas, sample::shared(replicas)) {}

  Index index;
  std::vector<std::string> ids;
  std::vector<std::string_view> views;
};

void allocate_one(benchmark::State& state) {
  const auto gpus = static_cast<unsigned>(state.range(0));
  const auto replicas = static_cast<unsigned>(state.range(1));
  const Node node(gpus, replicas);
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(allocate(node.index, {&node.views[next], 1}, {}));
    next = (next + 1) % node.views.size();
  }
}
BENCHMARK(allocate_one)->Args({8, 10})->Args({16, 100});

void allocate_with_nodes_and_mounts(benchmark::State& state) {
  config::Config config = sample::shared(10);
  config.pass_device_specs = true;
  config.device_list_strategies = {config::DeviceListStrategy::kVolumeMounts};
  const Node node(8, 10, config);
  HostFacts host;
  host.nvidiactl = host.uvm = host.uvm_tools = host.modeset = true;
  for (auto _ : state) {
    benchmark::DoNotOptimize(allocate(node.index, {node.views.data(), 1}, host));
  }
}
BENCHMARK(allocate_with_nodes_and_mounts);

// Four of sixteen GPUs in a hundred slices each, as each strategy tells a container of them.
void allocate_by(benchmark::State& state, const std::vector<config::DeviceListStrategy>& strategies,
                 bool nodes) {
  config::Config config = sample::shared(100);
  config.sharing.fail_requests_greater_than_one = false;
  config.device_list_strategies = strategies;
  config.pass_device_specs = nodes;
  const Node node(16, 100, config);
  HostFacts host;
  host.nvidiactl = host.uvm = host.uvm_tools = host.modeset = true;
  for (const inventory::Gpu& gpu : node.index.plan().snapshot->gpus) {
    host.cdi.devices.insert("k8s.device-plugin.nvidia.com/gpu=" + gpu.uuid);
  }
  for (auto _ : state) {
    auto answer = allocate(node.index, {node.views.data(), 4}, host);
    if (!answer) return state.SkipWithError(answer.error().text().c_str());
    benchmark::DoNotOptimize(answer);
  }
}
using Strategy = config::DeviceListStrategy;
BENCHMARK_CAPTURE(allocate_by, envvar, {Strategy::kEnvvar}, false);
BENCHMARK_CAPTURE(allocate_by, envvar_and_nodes, {Strategy::kEnvvar}, true);
BENCHMARK_CAPTURE(allocate_by, volume_mounts, {Strategy::kVolumeMounts}, false);
BENCHMARK_CAPTURE(allocate_by, cdi_annotations, {Strategy::kCdiAnnotations}, false);
BENCHMARK_CAPTURE(allocate_by, cdi_cri, {Strategy::kCdiCri}, false);
BENCHMARK_CAPTURE(allocate_by, all_four,
                  {Strategy::kEnvvar, Strategy::kVolumeMounts, Strategy::kCdiAnnotations,
                   Strategy::kCdiCri},
                  true);

// The floor of those: the four ids looked at and put into one text, which any answer needs.
void floor_of_allocate(benchmark::State& state) {
  const Node node(16, 100);
  for (auto _ : state) {
    std::string text;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::string_view id = node.views[i];
      text.append(text.empty() ? "" : ",").append(id.substr(0, id.find("::")));
    }
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(floor_of_allocate);

// GPUs, replicas, size.
void preferred_replicas(benchmark::State& state) {
  const Node node(static_cast<unsigned>(state.range(0)), static_cast<unsigned>(state.range(1)));
  const auto size = static_cast<std::int32_t>(state.range(2));
  for (auto _ : state) benchmark::DoNotOptimize(preferred(node.index, node.views, {}, size));
}
BENCHMARK(preferred_replicas)->Args({8, 10, 2})->Args({16, 100, 8});

Scores scores_by(std::size_t count, const std::function<int(std::size_t, std::size_t)>& score) {
  Scores scores{count, std::vector<int>(count * count)};
  for (std::size_t a = 0; a < count; ++a) {
    for (std::size_t b = a + 1; b < count; ++b) {
      scores.pairs[a * count + b] = scores.pairs[b * count + a] = score(a, b);
    }
  }
  return scores;
}

// GPUs, size: two baseboards of switches of two GPUs, each two bridged.
void preferred_whole_gpus(benchmark::State& state) {
  const Scores scores =
      scores_by(static_cast<std::size_t>(state.range(0)), [](std::size_t a, std::size_t b) {
        return a / 2 == b / 2 ? 1250 : a / 4 == b / 4 ? 40 : a / 8 == b / 8 ? 20 : 10;
      });
  const auto size = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(choose_aligned(scores, {}, size));
}
BENCHMARK(preferred_whole_gpus)
    ->Args({8, 2})
    ->Args({8, 4})
    ->ArgsProduct({{16}, benchmark::CreateDenseRange(2, 16, 1)})
    ->Unit(benchmark::kMicrosecond);

// The same without any order to make use of; no machine is built like this.
void preferred_unordered_gpus(benchmark::State& state) {
  std::mt19937 random(1);
  const Scores scores =
      scores_by(static_cast<std::size_t>(state.range(0)),
                [&](std::size_t, std::size_t) { return static_cast<int>(random() % 600); });
  const auto size = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(choose_aligned(scores, {}, size));
}
BENCHMARK(preferred_unordered_gpus)
    ->Args({8, 4})
    ->Args({16, 3})
    ->Args({16, 6})
    ->Args({16, 8})
    ->Unit(benchmark::kMicrosecond);

void make_plan_and_index(benchmark::State& state) {
  const auto snapshot = sample::gpus(static_cast<unsigned>(state.range(0)));
  const config::Config config = sample::shared(static_cast<unsigned>(state.range(1)));
  for (auto _ : state) {
    auto plan = std::make_shared<const plan::Plan>(plan::make_plan(snapshot, config, 1).value());
    benchmark::DoNotOptimize(index_all(plan));
  }
}
BENCHMARK(make_plan_and_index)->Args({8, 10})->Args({16, 100})->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace kerf::allocate
