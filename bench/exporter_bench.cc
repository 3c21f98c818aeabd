// What a scrape of the metrics exporter costs on a node with 8 GPUs that 10 pods share each, and
// what a round of reading does beside a floor that makes the same calls into the driver and nothing
// else. The library and the machine come from KERF_NVML_LIBRARY and NVML_SIM_MACHINE; without them
// the driver is not asked.
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "exporter/lists.h"
#include "exporter/page.h"
#include "exporter/reader.h"
#include "nvml/library.h"

#include <benchmark/benchmark.h>

namespace kerf::exporter {
namespace {

constexpr unsigned kGpus = 8;
constexpr unsigned kPods = 10;

Counters counters() {
  return parse_counters(shipped_list("/etc/dcgm-exporter/default-counters.csv"), "", false)
      .counters;
}

PageOptions options() {
  PageOptions out;
  out.host = "worker-17.example.com";
  out.share_by_share = true;
  return out;
}

Attribution pods(const std::vector<Entity>& entities) {
  Attribution out;
  for (const Entity& entity : entities) {
    for (unsigned n = 0; n < kPods; ++n) {
      Share share;
      share.pod = "inference-7c9d6f5b8-" + std::to_string(n);
      share.name_space = "team-vision";
      share.container = "server";
      share.replica = n;
      share.own = Share::Own{1000, 0.05, 0.05, 1'000'000};
      out[entity.uuid].push_back(std::move(share));
    }
  }
  return out;
}

std::vector<Entity> eight() {
  std::vector<Entity> out;
  for (unsigned i = 0; i < kGpus; ++i) {
    out.push_back({i,
                   "GPU-5a3f1c0e-8d27-4b61-9c52-0e7ab4d1f39" + std::to_string(i),
                   "00000000:18:00.0",
                   "NVIDIA H200",
                   {}});
  }
  return out;
}

SheetPtr sheet_of(const Counters& list) {
  std::vector<Reading> readings;
  const std::vector<Entity> entities = eight();
  for (const Entity& entity : entities) {
    Reading reading;
    reading.entity = entity;
    for (const Counter& counter : list.values) {
      reading.values.push_back(counter.field->real ? Value::real(123.456) : Value::integer(12345));
    }
    reading.texts = {"580.159.04"};
    readings.push_back(std::move(reading));
  }
  return make_sheet(list, readings, pods(entities), {}, options());
}

void scrape(benchmark::State& state) {
  const SheetPtr sheet = sheet_of(counters());
  std::size_t bytes = 0;
  for (auto _ : state) {
    std::string out;
    sheet->print(out);
    bytes = out.size();
    benchmark::DoNotOptimize(out);
  }
  state.counters["lines"] = static_cast<double>(sheet->lines());
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(scrape)->Unit(benchmark::kMicrosecond);

void make(benchmark::State& state) {
  const Counters list = counters();
  for (auto _ : state) benchmark::DoNotOptimize(sheet_of(list));
}
BENCHMARK(make)->Unit(benchmark::kMicrosecond);

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

struct Driver {
  std::shared_ptr<const nvml::Session> session;
  std::vector<Entity> entities;

  Driver() {
    const char* path = std::getenv("KERF_NVML_LIBRARY");
    if (path == nullptr) return;
    const std::vector<std::string> candidates = {path};
    auto library = nvml::Library::open(candidates);
    if (!library) return;
    auto opened = nvml::Session::open(*library, std::make_shared<nvml::CallCounters>());
    if (!opened) return;
    session = *opened;
    for (unsigned i = 0; i < session->gpu_count().value_or(0); ++i) {
      auto gpu = session->gpu_by_index(i);
      if (!gpu) continue;
      entities.push_back({i,
                          session->uuid(*gpu).value_or(""),
                          "00000000:18:00.0",
                          session->name(*gpu).value_or(""),
                          {}});
    }
  }
};

// The calls for the default list, their answers thrown away.
void ask(const nvml::Telemetry& ask, nvml::abi::Device gpu, nvml::abi::GpmSample a,
         nvml::abi::GpmSample b) {
  using namespace nvml::abi;
  benchmark::DoNotOptimize(ask.clock(gpu, kClockSm));
  benchmark::DoNotOptimize(ask.clock(gpu, kClockMem));
  benchmark::DoNotOptimize(ask.temperature(gpu));
  benchmark::DoNotOptimize(ask.power(gpu));
  benchmark::DoNotOptimize(ask.energy(gpu));
  benchmark::DoNotOptimize(ask.pcie_replays(gpu));
  benchmark::DoNotOptimize(ask.utilization(gpu));
  benchmark::DoNotOptimize(ask.encoder(gpu));
  benchmark::DoNotOptimize(ask.decoder(gpu));
  benchmark::DoNotOptimize(ask.memory(gpu));
  benchmark::DoNotOptimize(ask.remapped_rows(gpu));
  benchmark::DoNotOptimize(ask.licensed(gpu));
  benchmark::DoNotOptimize(ask.driver_version());
  FieldValue fields[3]{};
  fields[0].field_id = kFieldMemoryTemperature;
  fields[1].field_id = kFieldNvLinkThroughputDataTx;
  fields[2].field_id = kFieldNvLinkThroughputDataRx;
  fields[1].scope_id = fields[2].scope_id = 0xFFFFFFFFU;
  benchmark::DoNotOptimize(ask.fields(gpu, fields));
  benchmark::DoNotOptimize(ask.gpm_take(gpu, nullptr, b));
  const std::uint32_t ids[] = {1, 5, 10, 20, 21};
  benchmark::DoNotOptimize(ask.gpm_metrics(a, b, ids));
}

void report(benchmark::State& state, double cpu, double samples) {
  state.counters["samples"] = samples / static_cast<double>(state.iterations());
  state.counters["cpu_us_per_1000"] = cpu * 1e6 / (samples / 1000);
}

void driver_alone(benchmark::State& state) {
  const Driver driver;
  if (!driver.session) return state.SkipWithError("KERF_NVML_LIBRARY names no library");
  const nvml::Telemetry telemetry(driver.session);
  std::vector<nvml::abi::Device> gpus;
  for (const Entity& entity : driver.entities) {
    gpus.push_back(driver.session->gpu_by_uuid(entity.uuid).value_or(nullptr));
  }
  const std::size_t listed = counters().values.size();
  const auto a = telemetry.gpm_allocate().value;
  const auto b = telemetry.gpm_allocate().value;
  double samples = 0;
  const double begun = cpu_seconds();
  for (auto _ : state) {
    for (nvml::abi::Device gpu : gpus) ask(telemetry, gpu, a, b);
    samples += static_cast<double>(gpus.size() * listed);
  }
  report(state, cpu_seconds() - begun, samples);
  telemetry.gpm_free(a);
  telemetry.gpm_free(b);
}
BENCHMARK(driver_alone)->Unit(benchmark::kMicrosecond);

// Reading, labels of all pods, and one scrape.
void round(benchmark::State& state) {
  const Driver driver;
  if (!driver.session) return state.SkipWithError("KERF_NVML_LIBRARY names no library");
  auto telemetry = std::make_shared<const nvml::Telemetry>(driver.session);
  auto wanted = std::make_shared<const Wanted>(wanted_by(counters()));
  const Attribution shares = state.range(0) != 0 ? pods(driver.entities) : Attribution();
  std::vector<std::unique_ptr<GpuReader>> readers;
  for (const Entity& entity : driver.entities) {
    readers.push_back(std::make_unique<GpuReader>(telemetry, wanted, std::vector{entity},
                                                  std::vector<std::string>()));
  }
  double samples = 0;
  const double begun = cpu_seconds();
  for (auto _ : state) {
    std::vector<Reading> readings;
    for (std::size_t i = 0; i < readers.size(); ++i) {
      GpuAnswer answer = readers[i]->read(GpuReader::Steady::now());
      Reading reading;
      reading.entity = driver.entities[i];
      if (!answer.parts.empty()) {
        reading.values = std::move(answer.parts[0].values);
        reading.texts = std::move(answer.parts[0].texts);
      }
      readings.push_back(std::move(reading));
    }
    const SheetPtr sheet = make_sheet(wanted->counters, readings, shares, {}, options());
    std::string out;
    sheet->print(out);
    benchmark::DoNotOptimize(out);
    samples += static_cast<double>(sheet->lines());
  }
  report(state, cpu_seconds() - begun, samples);
}
BENCHMARK(round)->Arg(0)->Arg(1)->ArgName("pods")->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace kerf::exporter
