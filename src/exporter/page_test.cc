#include "exporter/page.h"

#include <regex>
#include <set>
#include <string>

#include "base/strings.h"
#include "exporter/lists.h"

#include <gtest/gtest.h>

namespace kerf::exporter {
namespace {

Counters list(std::string_view text) {
  ParsedCounters parsed = parse_counters(text, "list.csv", false);
  EXPECT_TRUE(parsed.ok());
  return parsed.counters;
}

Entity gpu(unsigned index) {
  return {index, "GPU-0000000" + std::to_string(index), "00000000:17:00.0", "NVIDIA H200", {}};
}

Entity instance(unsigned index, unsigned id, std::string uuid) {
  Entity out = gpu(index);
  out.instance = {id, "1g.18gb", {std::move(uuid)}};
  return out;
}

Reading reading(Entity entity, std::vector<Value> values, std::vector<std::string> texts = {}) {
  Reading out;
  out.entity = std::move(entity);
  out.values = std::move(values);
  out.texts = std::move(texts);
  return out;
}

Share share(std::string pod, std::optional<unsigned> replica = {}) {
  Share out;
  out.pod = std::move(pod);
  out.name_space = "ai";
  out.container = "main";
  out.uid = "uid-1";
  out.replica = replica;
  return out;
}

struct Given {
  Counters counters = list("DCGM_FI_DEV_GPU_TEMP, gauge, Temperature");
  std::vector<Reading> readings = {reading(gpu(0), {Value::integer(41)})};
  Attribution attribution;
  Jobs jobs;
  PageOptions options;

  Given() { options.host = "node-1"; }
  std::string text() const {
    std::string out;
    make_sheet(counters, readings, attribution, jobs, options)->print(out);
    return out;
  }
  // Without the two comment lines.
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    for (const std::string& line : split(text(), '\n')) {
      if (!line.empty() && line[0] != '#') out.push_back(line);
    }
    return out;
  }
};

constexpr const char* kPlain =
    "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-00000000\",pci_bus_id=\"00000000:17:00.0\","
    "device=\"nvidia0\",modelName=\"NVIDIA H200\",Hostname=\"node-1\"";

TEST(Page, IsWhatTheOriginalWritesToTheByte) {
  EXPECT_EQ(Given().text(), std::string("# HELP DCGM_FI_DEV_GPU_TEMP Temperature\n"
                                        "# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n") +
                                kPlain + "} 41\n");
}

TEST(Page, HasABlockForEachCounterInTheOrderOfFieldNumbersAndThenNames) {
  Given given;
  given.counters = list(
      "DCGM_FI_PROF_DRAM_ACTIVE, gauge, d\nDCGM_FI_DEV_GPU_UTIL, gauge, b\n"
      "DCGM_FI_DEV_SM_CLOCK, gauge, a\ndcgm_gpu_utilization, gauge, c\n");
  given.readings[0].values = {Value::integer(1), Value::integer(2), Value::integer(2),
                              Value::real(0.5)};
  std::vector<std::string> names;
  for (const std::string& line : given.lines()) names.push_back(line.substr(0, line.find('{')));
  EXPECT_EQ(names, (std::vector<std::string>{"DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_GPU_UTIL",
                                             "dcgm_gpu_utilization", "DCGM_FI_PROF_DRAM_ACTIVE"}));
}

TEST(Page, WritesIntegersPlainAndRealsWithSixDecimals) {
  struct Row {
    Value value;
    const char* text;
  };
  for (const Row& row :
       {Row{Value::integer(0), "0"}, Row{Value::integer(-8), "-8"},
        Row{Value::integer(9007199254740993), "9007199254740993"},
        Row{Value::real(70.123), "70.123000"}, Row{Value::real(0), "0.000000"},
        Row{Value::real(0.45), "0.450000"}, Row{Value::real(0.1234567), "0.123457"}}) {
    std::string out;
    append_number(out, row.value);
    EXPECT_EQ(out, row.text);
  }
}

TEST(Page, LeavesBlanksOutAndBlocksThatHaveNothingElse) {
  Given given;
  given.readings = {reading(gpu(0), {Value()}), reading(gpu(1), {Value::integer(1)}),
                    reading(gpu(2), {Value::real(0.0 / 0.0)})};
  EXPECT_EQ(given.lines().size(), 1U);
  given.readings = {reading(gpu(0), {Value()})};
  EXPECT_EQ(given.text(), "");
}

TEST(Page, NamesTheHostAsItIsTold) {
  struct Row {
    HostLabel label;
    const char* host;
    const char* ends;
  };
  for (const Row& row : {Row{HostLabel::kUpper, "n", ",Hostname=\"n\"} 41"},
                         Row{HostLabel::kLower, "n", ",hostname=\"n\"} 41"},
                         Row{HostLabel::kBoth, "n", ",Hostname=\"n\",hostname=\"n\"} 41"},
                         Row{HostLabel::kUpper, "", ",modelName=\"NVIDIA H200\"} 41"}}) {
    Given given;
    given.options.host = row.host;
    given.options.host_label = row.label;
    EXPECT_TRUE(given.lines().at(0).ends_with(row.ends)) << given.lines().at(0);
  }
}

TEST(Page, ReplacesBlanksInTheModelOnlyWhenAsked) {
  Given given;
  given.options.dashes_in_model = true;
  EXPECT_NE(given.text().find("modelName=\"NVIDIA-H200\""), std::string::npos);
}

TEST(Page, EscapesWhatWouldBreakALine) {
  Given given;
  given.counters = list("DCGM_FI_DEV_GPU_TEMP, gauge, \"a\\b, \"\"c\"\"\"");
  given.readings[0].entity.model = "a\"b\\c\nd\xFF";
  const std::string text = given.text();
  EXPECT_NE(text.find("# HELP DCGM_FI_DEV_GPU_TEMP a\\\\b, \"c\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("modelName=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\""), std::string::npos) << text;
}

TEST(Page, NamesProfileAndNumberOfAGpuInstance) {
  Given given;
  given.readings = {reading(instance(0, 9, "MIG-a"), {Value::integer(1)})};
  EXPECT_NE(given.text().find(
                "modelName=\"NVIDIA H200\",GPU_I_PROFILE=\"1g.18gb\",GPU_I_ID=\"9\",Hostname="),
            std::string::npos);
}

TEST(Page, SaysWhatAnXidMeans) {
  struct Row {
    int xid;
    const char* attributes;
  };
  for (const Row& row : {Row{79, ",err_code=\"79\",err_msg=\"GPU has fallen off the bus\"} 79"},
                         Row{0, ",err_code=\"0\",err_msg=\"No Error\"} 0"},
                         Row{171, ",err_code=\"171\",err_msg=\"Unknown Error\"} 171"}}) {
    Given given;
    given.counters = list("DCGM_FI_DEV_XID_ERRORS, gauge, x");
    given.readings[0].values = {Value::integer(row.xid)};
    EXPECT_TRUE(given.lines().at(0).ends_with(row.attributes)) << given.lines().at(0);
  }
}

TEST(Page, PutsErrorCodesAmongTheAttributesOfAPodInAlphabeticalOrder) {
  Given given;
  given.counters = list("DCGM_FI_DEV_XID_ERRORS, gauge, x");
  given.readings[0].values = {Value::integer(31)};
  given.attribution["GPU-00000000"] = {share("p")};
  EXPECT_TRUE(given.lines().at(0).ends_with(
      ",container=\"main\",err_code=\"31\",err_msg=\"GPU memory page fault\",namespace=\"ai\","
      "pod=\"p\"} 31"))
      << given.lines().at(0);
}

TEST(Page, AddsCountersOfTheTypeLabelToEveryLineBeforeTheAttributes) {
  Given given;
  given.counters = list(
      "DCGM_FI_DEV_GPU_TEMP, gauge, t\nDCGM_FI_DRIVER_VERSION, label, v\n"
      "DCGM_FI_DEV_SERIAL, label, s");
  given.readings[0].texts = {"580.1", ""};
  given.attribution["GPU-00000000"] = {share("p")};
  EXPECT_TRUE(given.lines().at(0).ends_with(
      ",Hostname=\"node-1\",DCGM_FI_DRIVER_VERSION=\"580.1\",container=\"main\",namespace=\"ai\","
      "pod=\"p\"} 41"))
      << given.lines().at(0);
}

TEST(Page, UsesTheOldNamesWhenAsked) {
  Given given;
  given.options.old_names = true;
  given.attribution["GPU-00000000"] = {share("p")};
  const std::string line = given.lines().at(0);
  EXPECT_NE(line.find("{gpu=\"0\",uuid=\"GPU-00000000\","), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with(",container_name=\"main\",pod_name=\"p\",pod_namespace=\"ai\"} 41"))
      << line;
}

TEST(Page, SaysNothingOfPodsForAGpuThatNoneHolds) {
  Given given;
  given.attribution["GPU-00000007"] = {share("p")};
  EXPECT_EQ(given.lines().at(0), std::string(kPlain) + "} 41");
}

TEST(Page, NamesTheLastPodOfASharedGpuUnlessSharesAreToldApart) {
  Given given;
  given.attribution["GPU-00000000"] = {share("first", 0), share("last", 1)};
  ASSERT_EQ(given.lines().size(), 1U);
  EXPECT_TRUE(given.lines()[0].ends_with(",container=\"main\",namespace=\"ai\",pod=\"last\"} 41"));
}

TEST(Page, RepeatsALineForEveryShareWhenSharesAreToldApart) {
  Given given;
  given.options.share_by_share = true;
  given.readings.push_back(reading(gpu(1), {Value::integer(30)}));
  given.attribution["GPU-00000000"] = {share("a", 0), share("b", 3)};
  ASSERT_EQ(given.lines().size(), 3U);
  EXPECT_TRUE(given.lines()[0].ends_with("pod=\"a\",vgpu=\"0\"} 41")) << given.lines()[0];
  EXPECT_TRUE(given.lines()[1].ends_with("pod=\"b\",vgpu=\"3\"} 41"));
  EXPECT_TRUE(given.lines()[2].ends_with("Hostname=\"node-1\"} 30"));
}

TEST(Page, TellsSharesApartAndKeepsTheDevicesOwn) {
  Given given;
  given.options.share_by_share = true;
  given.counters = list(
      "DCGM_FI_DEV_POWER_USAGE, gauge, p\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, e\n"
      "DCGM_FI_DEV_GPU_UTIL, gauge, u\nDCGM_FI_DEV_FB_FREE, gauge, f\n"
      "DCGM_FI_DEV_FB_USED, gauge, m");
  given.readings[0].values = {Value::real(300), Value::integer(7'000'000), Value::integer(90),
                              Value::integer(10), Value::integer(5000)};
  Share a = share("a", 0);
  a.own = {3000, 2.0 / 3, 0.5, 1'000'000};
  Share b = share("b", 1);
  b.own = {0, 0, 0, 0};
  Share unknown = share("c", 2);
  unknown.own.emplace();
  given.attribution["GPU-00000000"] = {a, b, unknown};
  std::vector<std::string> ends;
  for (const std::string& line : given.lines()) {
    const bool of_pod = line.find("pod=") != std::string::npos;
    ends.push_back(line.substr(12, line.find('{') - 12) +
                   (of_pod ? line.substr(line.find("pod=")) : line.substr(line.find("} "))));
  }
  EXPECT_EQ(ends,
            (std::vector<std::string>{
                "POWER_USAGE} 300.000000", "POWER_USAGEpod=\"a\",vgpu=\"0\"} 150.000000",
                "POWER_USAGEpod=\"b\",vgpu=\"1\"} 0.000000", "TOTAL_ENERGY_CONSUMPTION} 7000000",
                "TOTAL_ENERGY_CONSUMPTIONpod=\"a\",vgpu=\"0\"} 1000000",
                "TOTAL_ENERGY_CONSUMPTIONpod=\"b\",vgpu=\"1\"} 0", "GPU_UTIL} 90",
                "GPU_UTILpod=\"a\",vgpu=\"0\"} 60", "GPU_UTILpod=\"b\",vgpu=\"1\"} 0",
                "FB_FREEpod=\"a\",vgpu=\"0\"} 10", "FB_FREEpod=\"b\",vgpu=\"1\"} 10",
                "FB_FREEpod=\"c\",vgpu=\"2\"} 10", "FB_USED} 5000",
                "FB_USEDpod=\"a\",vgpu=\"0\"} 3000", "FB_USEDpod=\"b\",vgpu=\"1\"} 0"}));
}

TEST(Page, RepeatsTheDevicesFigureWhereSharesHaveNoneOfTheirOwn) {
  Given given;
  given.options.share_by_share = true;
  given.counters = list("DCGM_FI_DEV_GPU_UTIL, gauge, u");
  given.attribution["GPU-00000000"] = {share("a", 0), share("b", 1)};
  ASSERT_EQ(given.lines().size(), 2U);
  for (const std::string& line : given.lines()) EXPECT_TRUE(line.ends_with("} 41")) << line;
  // And where one line stands for all of the device.
  given.attribution["GPU-00000000"][1].own = {1, 0.5, 0.5, 1};
  given.options.share_by_share = false;
  ASSERT_EQ(given.lines().size(), 1U);
  EXPECT_TRUE(given.lines()[0].ends_with("} 41"));
}

TEST(Page, TellsMemoryAloneApartOnASharedMigDevice) {
  Given given;
  given.options.share_by_share = true;
  given.counters = list("DCGM_FI_DEV_POWER_USAGE, gauge, p\nDCGM_FI_DEV_FB_USED, gauge, m");
  given.readings = {reading(instance(0, 7, "MIG-a"), {Value::real(300), Value::integer(5000)})};
  Share a = share("a", 0);
  a.own.emplace().memory_mib = 3000;
  given.attribution["MIG-a"] = {a};
  ASSERT_EQ(given.lines().size(), 3U);
  EXPECT_TRUE(given.lines()[0].ends_with("pod=\"a\",vgpu=\"0\"} 300.000000"));
  EXPECT_TRUE(given.lines()[1].ends_with("Hostname=\"node-1\"} 5000"));
  EXPECT_TRUE(given.lines()[2].ends_with("pod=\"a\",vgpu=\"0\"} 3000"));
}

TEST(Page, FindsThePodOfAMigDeviceByItsUuid) {
  Given given;
  given.readings = {reading(instance(0, 1, "MIG-a"), {Value::integer(1)}),
                    reading(instance(0, 2, "MIG-b"), {Value::integer(2)})};
  given.attribution["MIG-b"] = {share("p")};
  EXPECT_EQ(given.lines()[0].find("pod="), std::string::npos);
  EXPECT_NE(given.lines()[1].find("pod=\"p\""), std::string::npos);
}

TEST(Page, AddsUidAndLabelsOfAPodAndLetsAttributesWin) {
  Given given;
  given.options.pod_uid = true;
  Share s = share("p");
  s.labels = {{"app.kubernetes.io/name", "x"}, {"pod", "lies"}, {"gpu", "lies"}, {"3d", "y"}};
  s.attributes = {{"dra_claim_name", "c"}};
  given.attribution["GPU-00000000"] = {s};
  EXPECT_TRUE(given.lines()[0].ends_with(
      ",Hostname=\"node-1\",_3d=\"y\",app_kubernetes_io_name=\"x\",container=\"main\","
      "dra_claim_name=\"c\",namespace=\"ai\",pod=\"p\",pod_uid=\"uid-1\"} 41"))
      << given.lines()[0];
}

TEST(Page, RepeatsALineForEveryJob) {
  Given given;
  given.jobs = {{"0", {"17", "18"}}};
  ASSERT_EQ(given.lines().size(), 2U);
  EXPECT_TRUE(given.lines()[0].ends_with(",hpc_job=\"17\"} 41"));
  EXPECT_TRUE(given.lines()[1].ends_with(",hpc_job=\"18\"} 41"));
  given.jobs = {{"0.2", {"17"}}};
  given.readings = {reading(instance(0, 2, "MIG-b"), {Value::integer(2)})};
  EXPECT_TRUE(given.lines()[0].ends_with(",hpc_job=\"17\"} 2"));
}

TEST(Page, PutsTheCountersOfTheExporterItselfLast) {
  Given given;
  given.counters = list(
      "DCGM_EXP_XID_ERRORS_COUNT, gauge, x\nDCGM_FI_DEV_GPU_TEMP, gauge, t\n"
      "DCGM_FI_DRIVER_VERSION, label, v");
  given.readings[0].texts = {"580.1"};
  given.readings[0].extras = {{0, {{"window_size_in_ms", "300000"}, {"xid", "31"}}, 2}};
  ASSERT_EQ(given.lines().size(), 2U);
  EXPECT_TRUE(given.lines()[1].starts_with("DCGM_EXP_XID_ERRORS_COUNT{gpu=\"0\""));
  EXPECT_TRUE(given.lines()[1].ends_with(
      ",DCGM_FI_DRIVER_VERSION=\"580.1\",window_size_in_ms=\"300000\",xid=\"31\"} 2"))
      << given.lines()[1];
}

TEST(Page, NeverHasALineTwice) {
  Given given;
  given.options.share_by_share = true;
  given.attribution["GPU-00000000"] = {share("p"), share("p"), share("p", 1), share("p", 1)};
  std::set<std::string> seen;
  for (const std::string& line : given.lines()) {
    EXPECT_TRUE(seen.insert(line.substr(0, line.find("} "))).second) << line;
  }
  EXPECT_EQ(seen.size(), 2U);
}

TEST(Page, IsPrintedWithOneAllocationAtMost) {
  Given given;
  given.counters = list(shipped_list("/etc/dcgm-exporter/default-counters.csv"));
  given.options.share_by_share = true;
  given.readings.clear();
  for (unsigned i = 0; i < 8; ++i) {
    std::vector<Value> values(given.counters.values.size(), Value::real(1234.5));
    given.readings.push_back(reading(gpu(i), values, {"580.159.04"}));
    for (unsigned n = 0; n < 10; ++n) {
      given.attribution[given.readings.back().entity.uuid].push_back(
          share("pod-" + std::to_string(n), n));
    }
  }
  SheetPtr sheet =
      make_sheet(given.counters, given.readings, given.attribution, given.jobs, given.options);
  EXPECT_EQ(sheet->lines(), 80 * given.counters.values.size());
  std::string out;
  sheet->print(out);
  const std::size_t room = out.capacity();
  std::string again;
  again.reserve(room);
  const char* before = again.data();
  sheet->print(again);
  EXPECT_EQ(again.data(), before);
  EXPECT_EQ(again, out);
}

}  // namespace
}  // namespace kerf::exporter
