#include "exporter/counters.h"

#include "exporter/lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::exporter {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const std::vector<Counter>& counters) {
  std::vector<std::string> out;
  for (const Counter& counter : counters) out.push_back(counter.name);
  return out;
}

std::string first_finding(std::string_view text, bool skip_unknown = false) {
  const ParsedCounters parsed = parse_counters(text, "list.csv", skip_unknown);
  return parsed.findings.empty() ? "" : to_string(parsed.findings.front());
}

TEST(CounterList, IsThreeFieldsALineWithCommentsAndBlanksAround) {
  const ParsedCounters parsed = parse_counters(
      "# a comment\r\n\r\n  DCGM_FI_DEV_DEC_UTIL ,     gauge, Decoder utilization (in %).\r\n"
      "DCGM_FI_DEV_GPU_UTIL,gauge,\"with, a comma and \"\"quotes\"\"\"",
      "list.csv", false);
  EXPECT_TRUE(parsed.findings.empty());
  ASSERT_THAT(names(parsed.counters.values),
              ElementsAre("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_DEC_UTIL"));
  EXPECT_EQ(parsed.counters.values[0].help, "with, a comma and \"quotes\"");
  EXPECT_EQ(parsed.counters.values[1].help, "Decoder utilization (in %).");
  EXPECT_EQ(parsed.counters.values[1].type, "gauge");
}

TEST(CounterList, NamesLineFieldAndRemedyOfEveryMistake) {
  struct Row {
    const char* text;
    const char* finding;
  };
  for (const Row& row : {
           Row{"\nDCGM_FI_DEV_GPU_TEMP, gauge",
               "list.csv:2: there are 2 fields instead of 3 (write: FIELD, type, help text)"},
           Row{"DCGM_FI_DEV_GPU_TEMP, gauge, a, b",
               "list.csv:1: there are 4 fields instead of 3 (put the help text between double "
               "quotes when it holds a comma)"},
           Row{"DCGM_FI_DEV_GPU_TMP, gauge, a",
               "list.csv:1: 'DCGM_FI_DEV_GPU_TMP' is no field (did you mean "
               "DCGM_FI_DEV_GPU_TEMP?)"},
           Row{"SOMETHING_ELSE_ALTOGETHER, gauge, a",
               "list.csv:1: 'SOMETHING_ELSE_ALTOGETHER' is no field (correct it, or set "
               "--ignore-unknown-counters to leave it out)"},
           Row{"DCGM_FI_DEV_GPU_TEMP, guage, a",
               "list.csv:1: 'guage' is no type of a metric (use gauge, counter, histogram, summary "
               "or label)"},
           Row{"DCGM FI, gauge, a",
               "list.csv:1: 'DCGM FI' can be no name of a metric (use letters, digits and "
               "underscores)"},
           Row{"DCGM_FI_DEV_GPU_TEMP, gauge, \"a",
               "list.csv:1: a quote is opened and not closed (close it, or double it)"},
           Row{"DCGM_FI_DRIVER_VERSION, gauge, a",
               "list.csv:1: DCGM_FI_DRIVER_VERSION is a text (give it the type label)"},
           Row{"DCGM_EXP_XID_ERRORS_COUNT, label, a",
               "list.csv:1: DCGM_EXP_XID_ERRORS_COUNT cannot be a label (use gauge or counter)"},
       }) {
    EXPECT_EQ(first_finding(row.text), row.finding);
    EXPECT_FALSE(parse_counters(row.text, "list.csv", false).ok()) << row.text;
  }
}

TEST(CounterList, LeavesUnknownFieldsOutOnlyWhenAsked) {
  const ParsedCounters parsed =
      parse_counters("SOMETHING, gauge, a\nDCGM_FI_DEV_GPU_TEMP, gauge, t", "list.csv", true);
  EXPECT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.findings.size(), 1U);
  EXPECT_THAT(names(parsed.counters.values), ElementsAre("DCGM_FI_DEV_GPU_TEMP"));
}

TEST(CounterList, AcceptsFieldsOfDcgmThatNvmlCannotAnswerAndSaysSo) {
  for (const char* name : {"DCGM_FI_DEV_PCIE_TX_THROUGHPUT", "DCGM_FI_DEV_CPU_UTIL_TOTAL",
                           "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT"}) {
    const ParsedCounters parsed =
        parse_counters(std::string(name) + ", gauge, a", "list.csv", false);
    EXPECT_TRUE(parsed.ok());
    EXPECT_THAT(to_string(parsed.findings.at(0)), HasSubstr("cannot be read through NVML"));
  }
}

TEST(CounterList, TakesTheFirstOfTwoLinesWithOneName) {
  const ParsedCounters parsed = parse_counters(
      "DCGM_FI_DEV_GPU_TEMP, gauge, a\nDCGM_FI_DEV_GPU_TEMP, counter, b", "list.csv", false);
  EXPECT_TRUE(parsed.ok());
  EXPECT_THAT(first_finding("DCGM_FI_DEV_GPU_TEMP, gauge, a\nDCGM_FI_DEV_GPU_TEMP, counter, b"),
              HasSubstr("list.csv:2: DCGM_FI_DEV_GPU_TEMP is listed twice"));
  ASSERT_EQ(parsed.counters.values.size(), 1U);
  EXPECT_EQ(parsed.counters.values[0].help, "a");
}

TEST(CounterList, SortsCountersLabelsAndTheExportersOwn) {
  const ParsedCounters parsed = parse_counters(
      "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, c\nDCGM_FI_DEV_BOARD_POWER_WATTS, gauge, p\n"
      "DCGM_FI_DEV_SERIAL, label, s\nDCGM_FI_DEV_SM_CLOCK, gauge, c\n"
      "DCGM_FI_DRIVER_VERSION, label, v\nDCGM_EXP_XID_ERRORS_COUNT, gauge, x",
      "list.csv", false);
  EXPECT_THAT(names(parsed.counters.values),
              ElementsAre("DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_BOARD_POWER_WATTS"));
  EXPECT_THAT(names(parsed.counters.labels),
              ElementsAre("DCGM_FI_DRIVER_VERSION", "DCGM_FI_DEV_SERIAL"));
  EXPECT_THAT(names(parsed.counters.computed),
              ElementsAre("DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_CLOCK_EVENTS_COUNT"));
}

TEST(ShippedLists, AreValidAndHaveWhatDashboardsNeed) {
  for (const char* name : {"default-counters.csv", "dcp-metrics-included.csv",
                           "1.x-compatibility-metrics.csv", "kerf-counters.csv"}) {
    const std::string path = std::string("/etc/dcgm-exporter/") + name;
    const ParsedCounters parsed = parse_counters(shipped_list(path), name, false);
    EXPECT_TRUE(parsed.findings.empty()) << to_string(parsed.findings.front());
    EXPECT_TRUE(parsed.counters.profiling());
  }
  EXPECT_EQ(shipped_list("/etc/other.csv"), "");
  const Counters counters =
      parse_counters(shipped_list("/etc/dcgm-exporter/default-counters.csv"), "", false).counters;
  EXPECT_EQ(counters.labels.at(0).name, "DCGM_FI_DRIVER_VERSION");
  for (const char* name :
       {"DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_SM_CLOCK",
        "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_DEV_FB_USED"}) {
    EXPECT_THAT(names(counters.values), testing::Contains(name));
  }
}

// Metrics contract §1.3: number and type of every field that NVML answers.
TEST(Fields, HaveTheNumbersAndTypesOfDcgm) {
  struct Row {
    const char* name;
    unsigned id;
    bool real;
  };
  for (const Row& row : {
           Row{"DCGM_FI_DEV_SM_CLOCK", 100, false},
           Row{"DCGM_FI_DEV_MEM_CLOCK", 101, false},
           Row{"DCGM_FI_DEV_MEMORY_TEMP", 140, false},
           Row{"DCGM_FI_DEV_GPU_TEMP", 150, false},
           Row{"DCGM_FI_DEV_POWER_USAGE", 155, true},
           Row{"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 156, false},
           Row{"DCGM_FI_DEV_PCIE_REPLAY_COUNTER", 202, false},
           Row{"DCGM_FI_DEV_GPU_UTIL", 203, false},
           Row{"DCGM_FI_DEV_MEM_COPY_UTIL", 204, false},
           Row{"DCGM_FI_DEV_ENC_UTIL", 206, false},
           Row{"DCGM_FI_DEV_DEC_UTIL", 207, false},
           Row{"DCGM_FI_DEV_XID_ERRORS", 230, false},
           Row{"DCGM_FI_DEV_FB_FREE", 251, false},
           Row{"DCGM_FI_DEV_FB_USED", 252, false},
           Row{"DCGM_FI_DEV_FB_RESERVED", 253, false},
           Row{"DCGM_FI_DEV_FB_USED_PERCENT", 254, true},
           Row{"DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", 449, false},
           Row{"DCGM_FI_DEV_VGPU_LICENSE_STATUS", 526, false},
           Row{"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", 393, false},
           Row{"DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", 394, false},
           Row{"DCGM_FI_DEV_ROW_REMAP_FAILURE", 395, false},
           Row{"DCGM_FI_DEV_ROW_REMAP_PENDING", 396, false},
           Row{"DCGM_FI_DRIVER_VERSION", 1, false},
           Row{"DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1001, true},
           Row{"DCGM_FI_PROF_SM_ACTIVE", 1002, true},
           Row{"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1004, true},
           Row{"DCGM_FI_PROF_DRAM_ACTIVE", 1005, true},
           Row{"DCGM_FI_PROF_PCIE_TX_BYTES", 1009, false},
           Row{"DCGM_FI_PROF_PCIE_RX_BYTES", 1010, false},
           Row{"DCGM_FI_DEV_POWER_VIOLATION", 240, false},
           Row{"DCGM_FI_DEV_THERMAL_VIOLATION", 241, false},
           Row{"DCGM_FI_DEV_RELIABILITY_VIOLATION", 245, false},
           Row{"DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", 310, false},
           Row{"DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", 313, false},
           Row{"DCGM_FI_DEV_RETIRED_SBE", 390, false},
           Row{"DCGM_FI_DEV_RETIRED_PENDING", 392, false},
           Row{"DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", 409, false},
           Row{"DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", 419, false},
           Row{"DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", 429, false},
           Row{"DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", 439, false},
           Row{"DCGM_FI_NVML_VERSION", 2, false},
           Row{"DCGM_FI_DEV_BRAND", 51, false},
           Row{"DCGM_FI_DEV_SERIAL", 53, false},
           Row{"DCGM_FI_DEV_VBIOS_VERSION", 85, false},
           Row{"DCGM_FI_DEV_BAR1_TOTAL", 90, false},
           Row{"DCGM_FI_DEV_POWER_USAGE_INSTANT", 157, true},
           Row{"DCGM_FI_DEV_SLOWDOWN_TEMP", 158, false},
           Row{"DCGM_FI_DEV_POWER_MGMT_LIMIT", 160, true},
           Row{"DCGM_FI_DEV_ENFORCED_POWER_LIMIT", 164, true},
           Row{"DCGM_FI_DEV_PSTATE", 190, false},
           Row{"DCGM_FI_DEV_FAN_SPEED", 191, false},
           Row{"DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 112, false},
           Row{"DCGM_FI_DEV_PCIE_LINK_WIDTH", 238, false},
           Row{"DCGM_FI_DEV_ECC_CURRENT", 300, false},
           Row{"DCGM_FI_DEV_PERSISTENCE_MODE", 66, false},
           Row{"DCGM_FI_DEV_COMPUTE_MODE", 65, false},
           Row{"DCGM_FI_DEV_MIG_MODE", 67, false},
           Row{"DCGM_FI_DEV_GPU_UTIL_RATIO", 203, false},
           Row{"DCGM_FI_DEV_BOARD_POWER_WATTS", 155, true},
           Row{"DCGM_FI_DEV_XID_ERROR", 230, false},
           Row{"dcgm_power_usage", 155, true},
           Row{"dcgm_nvlink_bandwidth_total", 449, false},
       }) {
    const Field* field = find_field(row.name);
    ASSERT_NE(field, nullptr) << row.name;
    EXPECT_EQ(field->id, row.id) << row.name;
    EXPECT_EQ(field->real, row.real) << row.name;
    EXPECT_NE(field->source, Source::kNone) << row.name;
  }
}

TEST(Fields, AreInOrderAndHaveOneMeaningEach) {
  for (std::size_t i = 1; i < all_fields().size(); ++i) {
    EXPECT_LE(all_fields()[i - 1].id, all_fields()[i].id) << all_fields()[i].name;
    EXPECT_EQ(find_field(all_fields()[i].name), &all_fields()[i]);
  }
}

}  // namespace
}  // namespace kerf::exporter
