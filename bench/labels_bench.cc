// What it costs to make a node's labels anew, which happens at every change of its GPUs and every
// sleepInterval. The floor is a copy of the labels: no pass can be cheaper than holding its result.
#include <utility>

#include "labels/file.h"
#include "labels/labels.h"
#include "plan/sample_nodes.h"

#include <benchmark/benchmark.h>

namespace kerf::labels {
namespace {

namespace sample = plan::sample;

plan::PlanPtr shared_gpus(benchmark::State& state) {
  return sample::plan(sample::gpus(static_cast<unsigned>(state.range(0))),
                      sample::shared(static_cast<unsigned>(state.range(1))));
}

// GPUs, replicas.
void label_pass(benchmark::State& state) {
  const plan::PlanPtr plan = shared_gpus(state);
  for (auto _ : state) benchmark::DoNotOptimize(make_labels(*plan, {}, 1'700'000'000));
}
BENCHMARK(label_pass)->Args({1, 4})->Args({8, 10})->Args({16, 100});

void label_pass_of_mig(benchmark::State& state) {
  std::vector<inventory::Gpu> gpus;
  for (unsigned i = 0; i < 8; ++i) {
    gpus.push_back(sample::mig_gpu(i, {"1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"}));
  }
  config::Config config;
  config.mig_strategy = config::MigStrategy::kMixed;
  const plan::PlanPtr plan = sample::plan(sample::node(std::move(gpus)), config);
  for (auto _ : state) benchmark::DoNotOptimize(make_labels(*plan, {}, 1'700'000'000));
}
BENCHMARK(label_pass_of_mig);

void label_text(benchmark::State& state) {
  const Labels labels = make_labels(*shared_gpus(state), {}, 1'700'000'000)->labels;
  for (auto _ : state) benchmark::DoNotOptimize(to_text(labels));
}
BENCHMARK(label_text)->Args({8, 10});

void floor_of_labels(benchmark::State& state) {
  const Labels labels = make_labels(*shared_gpus(state), {}, 1'700'000'000)->labels;
  for (auto _ : state) {
    Labels copy = labels;
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(floor_of_labels)->Args({8, 10});

}  // namespace
}  // namespace kerf::labels
