// The sampler on the driver library and machines of sim/.
#include "exporter/sampler.h"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "exporter/lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::exporter {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

constexpr milliseconds kPatience{20'000};

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return condition();
}

// A machine of sim/ with a state of its own, and a copy of the library: each copy that is loaded
// reads the environment for itself.
class Machine {
 public:
  explicit Machine(const std::string& name) {
    char pattern[] = "/tmp/kerf-exporter-XXXXXX";
    directory_ = mkdtemp(pattern);
    std::filesystem::copy_file(KERF_NVML_LIBRARY, directory_ + "/libnvidia-ml.so.1");
    library_path() = directory_ + "/libnvidia-ml.so.1";
    setenv("NVML_SIM_STATE", (directory_ + "/state").c_str(), 1);
    setenv("NVML_SIM_MACHINE", (std::string(KERF_MACHINES) + "/" + name + ".yaml").c_str(), 1);
  }
  ~Machine() { std::filesystem::remove_all(directory_); }
  static std::string& library_path() {
    static std::string path;
    return path;
  }
  static void tell(const std::string& command) {
    const std::string line = std::string(KERF_NVML_TOOL) + " " + command + " >/dev/null";
    ASSERT_EQ(std::system(line.c_str()), 0) << line;
  }

 private:
  std::string directory_;
};

std::shared_ptr<const Wanted> wanted(std::string_view text) {
  ParsedCounters parsed = parse_counters(text, "list.csv", false);
  EXPECT_TRUE(parsed.ok());
  return std::make_shared<const Wanted>(wanted_by(std::move(parsed.counters)));
}

// GPUs as the driver counts them.
std::vector<Entity> gpus_of_driver() {
  std::vector<std::string> candidates = {Machine::library_path()};
  auto library = nvml::Library::open(candidates);
  EXPECT_TRUE(library);
  auto session = nvml::Session::open(*library, std::make_shared<nvml::CallCounters>());
  EXPECT_TRUE(session) << session.error().text();
  std::vector<Entity> out;
  const unsigned count = (*session)->gpu_count().value_or(0);
  for (unsigned i = 0; i < count; ++i) {
    auto gpu = (*session)->gpu_by_index(i);
    if (!gpu) continue;
    Entity entity{i,
                  (*session)->uuid(*gpu).value_or(""),
                  "00000000:01:00.0",
                  (*session)->name(*gpu).value_or(""),
                  {}};
    const unsigned slots = (*session)->mig_slots(*gpu).value_or(0);
    bool has_instances = false;
    for (unsigned slot = 0; slot < slots; ++slot) {
      auto mig = (*session)->mig_device(*gpu, slot);
      if (!mig) continue;
      has_instances = true;
      Entity instance = entity;
      instance.instance = {(*session)->gpu_instance_id(*mig).value_or(0),
                           "profile",
                           {(*session)->uuid(*mig).value_or("")}};
      out.push_back(instance);
    }
    if (!has_instances) out.push_back(entity);
  }
  return out;
}

struct Running {
  explicit Running(std::string_view counters, milliseconds interval = milliseconds(100))
      : sampler(options(interval)), entities(gpus_of_driver()) {
    sampler.set_counters(wanted(counters));
    sampler.set_node(entities, true, 0);
    EXPECT_TRUE(sampler.start());
  }
  static SamplerOptions options(milliseconds interval) {
    SamplerOptions out;
    out.library_candidates = {Machine::library_path()};
    out.interval = interval;
    out.retry = milliseconds(50);
    out.event_wait = milliseconds(100);
    return out;
  }
  std::string text() const {
    std::string out;
    if (SheetPtr sheet = sampler.sheet()) sheet->print(out);
    return out;
  }
  bool shows(const std::string& part) const { return text().find(part) != std::string::npos; }
  // The value of the first line that begins so.
  double value(const std::string& begin) const {
    const std::string all = text();
    const std::size_t at = all.find('\n' + begin);
    if (at == std::string::npos) return -1;
    return std::stod(all.substr(all.find("} ", at) + 2));
  }

  Sampler sampler;
  std::vector<Entity> entities;
};

constexpr const char* kDefault = "/etc/dcgm-exporter/default-counters.csv";

TEST(Sampler, ReadsEveryDefaultCounterOfAnH200) {
  Machine machine("h200x8-hgx");
  Machine::tell("set --gpu 0 --load 50 --memory 1000");
  Running running(shipped_list(kDefault));
  // Profiling figures come with the second reading.
  ASSERT_TRUE(eventually([&] { return running.shows("DCGM_FI_PROF_PCIE_RX_BYTES{gpu=\"7\""); }))
      << running.text();
  const Counters counters = parse_counters(shipped_list(kDefault), "", false).counters;
  for (const Counter& counter : counters.values) {
    EXPECT_TRUE(running.shows(counter.name + "{gpu=\"0\"")) << counter.name;
  }
  EXPECT_TRUE(running.shows("DCGM_FI_DRIVER_VERSION=\"580.159.04\"}"));
  EXPECT_EQ(running.value("DCGM_FI_DEV_XID_ERRORS{gpu=\"0\""), 0);
  const double memory = running.value("DCGM_FI_DEV_FB_USED{gpu=\"0\"") +
                        running.value("DCGM_FI_DEV_FB_FREE{gpu=\"0\"") +
                        running.value("DCGM_FI_DEV_FB_RESERVED{gpu=\"0\"");
  EXPECT_NEAR(memory, 143771, 2);
  EXPECT_GT(running.value("DCGM_FI_DEV_POWER_USAGE{gpu=\"0\""), 50);
  EXPECT_LE(running.value("DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\""), 1);
}

TEST(Sampler, PrintsNoMemoryAndNoZerosForAGpuWithoutMemoryOfItsOwn) {
  Machine machine("dgx-spark-gb10");
  Running running(shipped_list(kDefault));
  ASSERT_TRUE(eventually([&] { return running.shows("DCGM_FI_DEV_GPU_TEMP{"); }));
  EXPECT_THAT(running.text(), Not(HasSubstr("DCGM_FI_DEV_FB_")));
  EXPECT_THAT(running.text(), Not(HasSubstr("DCGM_FI_PROF_")));
  EXPECT_THAT(running.text(), Not(HasSubstr("REMAPPED_ROWS")));
}

TEST(Sampler, SplitsMemoryAndProfilesByGpuInstance) {
  Machine machine("a100-80x1-mig");
  Running running(
      "DCGM_FI_DEV_FB_TOTAL, gauge, m\nDCGM_FI_DEV_GPU_UTIL, gauge, u\n"
      "DCGM_FI_DEV_GPU_TEMP, gauge, t");
  ASSERT_TRUE(eventually([&] { return running.shows("DCGM_FI_DEV_FB_TOTAL{"); }));
  EXPECT_THAT(running.text(), Not(HasSubstr("GPU_UTIL{")));
  std::size_t lines = 0;
  for (std::size_t at = 0;
       (at = running.text().find("\nDCGM_FI_DEV_GPU_TEMP{", at)) != std::string::npos; ++at) {
    ++lines;
  }
  EXPECT_EQ(lines, 4U);
  const double memory = running.value("DCGM_FI_DEV_FB_TOTAL{");
  EXPECT_GT(memory, 9000);
  EXPECT_LT(memory, 45000);
}

TEST(Sampler, KeepsOthersFreshWhileOneGpuHangsAndAgesItsFiguresOut) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, e", milliseconds(1'000));
  ASSERT_TRUE(
      eventually([&] { return running.shows("{gpu=\"0\"") && running.shows("{gpu=\"1\""); }));
  Machine::tell("fault hang --call nvmlDeviceGetTotalEnergyConsumption --gpu 0");
  const double before = running.value("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"1\"");
  EXPECT_TRUE(eventually(
      [&] { return running.value("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"1\"") > before; }));
  EXPECT_TRUE(eventually([&] { return !running.shows("{gpu=\"0\""); })) << running.text();
  EXPECT_TRUE(running.shows("{gpu=\"1\""));
  EXPECT_EQ(running.sampler.stats().unread.size(), 1U);
  Machine::tell("clear");
  EXPECT_TRUE(eventually([&] { return running.shows("{gpu=\"0\""); }));
}

TEST(Sampler, LeavesALostGpuOutAtOnceAndTakesItBack) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_GPU_TEMP, gauge, t\nDCGM_FI_DEV_XID_ERRORS, gauge, x");
  ASSERT_TRUE(
      eventually([&] { return running.shows("{gpu=\"0\"") && running.shows("{gpu=\"1\""); }));
  Machine::tell("fault lost --gpu 0");
  EXPECT_TRUE(eventually([&] { return !running.shows("{gpu=\"0\""); }));
  EXPECT_TRUE(running.shows("{gpu=\"1\""));
  Machine::tell("clear");
  EXPECT_TRUE(eventually([&] { return running.shows("{gpu=\"0\""); }));
}

TEST(Sampler, ShowsAndCountsXids) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_XID_ERRORS, gauge, x\nDCGM_EXP_XID_ERRORS_COUNT, gauge, c");
  ASSERT_TRUE(eventually([&] { return running.shows(",xid=\"0\"} 0"); })) << running.text();
  // Events from before the registration are lost, so until one is seen more are sent.
  ASSERT_TRUE(eventually([&] {
    Machine::tell("fault xid 31 --gpu 1 --event-only");
    return running.shows("err_code=\"31\"");
  }));
  EXPECT_TRUE(
      eventually([&] { return running.shows(",window_size_in_ms=\"300000\",xid=\"31\"} "); }));
  EXPECT_EQ(running.value("DCGM_FI_DEV_XID_ERRORS{gpu=\"0\""), 0);
  EXPECT_EQ(running.value("DCGM_FI_DEV_XID_ERRORS{gpu=\"1\""), 31);
}

TEST(Sampler, CountsClockEventsHealthAndPeers) {
  Machine machine("h200x8-hgx");
  Running running(
      "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, c\nDCGM_EXP_GPU_HEALTH_STATUS, gauge, h\n"
      "DCGM_EXP_P2P_STATUS, gauge, p");
  ASSERT_TRUE(eventually([&] { return running.shows("DCGM_EXP_P2P_STATUS{"); })) << running.text();
  EXPECT_TRUE(running.shows(",link_status=\"OK\",peer_gpu=\"7\"} 0"));
  EXPECT_TRUE(running.shows(",health_error_code=\"DCGM_FR_OK\",health_watch=\"MEM\"} 0"));
  EXPECT_TRUE(running.shows("DCGM_EXP_CLOCK_EVENTS_COUNT{"));
}

TEST(Sampler, StartsAnewWithADriverThatWasAway) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_GPU_TEMP, gauge, t");
  ASSERT_TRUE(eventually([&] { return running.shows("{gpu=\"0\""); }));
  Machine::tell("fault driver-unload");
  ASSERT_TRUE(eventually([&] { return !running.shows("{gpu=\"0\""); }));
  Machine::tell("fault driver-reload");
  running.sampler.set_node(running.entities, true, 1);
  EXPECT_TRUE(eventually([&] { return running.shows("{gpu=\"0\""); }))
      << running.sampler.stats().trouble;
}

TEST(Sampler, TakesANewListAtOnce) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_GPU_TEMP, gauge, t", milliseconds(60'000));
  ASSERT_TRUE(eventually([&] { return running.shows("GPU_TEMP{gpu=\"0\""); }));
  running.sampler.set_counters(wanted("DCGM_FI_DEV_SM_CLOCK, gauge, c"));
  EXPECT_TRUE(eventually([&] { return running.shows("SM_CLOCK{gpu=\"1\""); }));
  EXPECT_FALSE(running.shows("GPU_TEMP"));
}

TEST(Sampler, StopsWithinASecondWhileTheDriverHangs) {
  Machine machine("rtx3090x2");
  Running running("DCGM_FI_DEV_GPU_TEMP, gauge, t", milliseconds(20'000));
  ASSERT_TRUE(eventually([&] { return running.shows("{gpu=\"0\""); }));
  Machine::tell("fault hang --call nvmlDeviceGetTemperature");
  running.sampler.set_counters(wanted("DCGM_FI_DEV_GPU_TEMP, gauge, t"));
  running.sampler.stop();
  Machine::tell("clear");
}

}  // namespace
}  // namespace kerf::exporter
