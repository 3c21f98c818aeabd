// The options of the metrics exporter: metrics contract §1.5.
#include "config/flags_exporter.h"

#include "config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::config {
namespace {

Effective with(const FlagValues& flags, const Env& env = {}) {
  return evaluate(flags, env, [](const std::string&) -> Result<std::string> {
    return fail(Kind::kNotFound, "no file");
  });
}

TEST(ExporterOptions, HaveTheDefaultsOfTheOriginal) {
  const ExporterOptions options = with({}).process.exporter;
  EXPECT_EQ(options, ExporterOptions{});
  EXPECT_EQ(options.address, ":9400");
  EXPECT_EQ(options.interval_ms, 30'000);
  EXPECT_EQ(options.collectors, "/etc/dcgm-exporter/default-counters.csv");
}

TEST(ExporterOptions, ComeFromItsVariables) {
  const Effective effective =
      with({}, {{"DCGM_EXPORTER_COLLECTORS", "a.csv"},
                {"DCGM_EXPORTER_LISTEN", "[::1]:9401"},
                {"DCGM_EXPORTER_INTERVAL", "15000"},
                {"DCGM_EXPORTER_KUBERNETES", "true"},
                {"KUBERNETES_VIRTUAL_GPUS", "1"},
                {"DCGM_EXPORTER_KUBERNETES_ENABLE_POD_LABELS", "true"},
                {"DCGM_EXPORTER_KUBERNETES_ENABLE_POD_UID", "true"},
                {"DCGM_EXPORTER_KUBERNETES_POD_LABEL_ALLOWLIST_REGEX", "^a,b$"},
                {"DCGM_EXPORTER_USE_OLD_NAMESPACE", "true"},
                {"DCGM_EXPORTER_CONFIGMAP_DATA", "ns:map"},
                {"DCGM_EXPORTER_DEVICES_STR", "g:0"},
                {"DCGM_EXPORTER_NO_HOSTNAME", "true"},
                {"DCGM_EXPORTER_WEB_CONFIG_FILE", "w.yaml"},
                {"DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", "1"},
                {"DCGM_EXPORTER_CLOCK_EVENTS_COUNT_WINDOW_SIZE", "2"},
                {"DCGM_EXPORTER_REPLACE_BLANKS_IN_MODEL_NAME", "true"},
                {"DCGM_HPC_JOB_MAPPING_DIR", "/jobs"}});
  EXPECT_TRUE(effective.findings.empty());
  ExporterOptions expected;
  expected.collectors = "a.csv";
  expected.address = "[::1]:9401";
  expected.interval_ms = 15'000;
  expected.kubernetes = expected.virtual_gpus = expected.pod_labels = expected.pod_uid = true;
  expected.pod_label_patterns = {"^a", "b$"};
  expected.old_namespace = expected.no_hostname = expected.dashes_in_model = true;
  expected.config_map = "ns:map";
  expected.devices = "g:0";
  expected.web_config = "w.yaml";
  expected.xid_window_ms = 1;
  expected.clock_window_ms = 2;
  expected.job_directory = "/jobs";
  EXPECT_EQ(effective.process.exporter, expected);
}

TEST(ExporterOptions, AreRefusedWithARemedyWhenTheyMeanNothing) {
  struct Row {
    const char* flag;
    const char* value;
    const char* hint;
  };
  for (const Row& row :
       {Row{"exporter-collect-interval", "0", "write milliseconds, 100 to 86400000"},
        Row{"exporter-collect-interval", "30s", "write milliseconds, 100 to 86400000"},
        Row{"exporter-xid-count-window-size", "-1", "write milliseconds, 1 to 86400000"},
        Row{"exporter-address", "9400", "write host:port or :port; the port is 0 to 65535"},
        Row{"exporter-address", ":70000", "write host:port or :port; the port is 0 to 65535"},
        Row{"exporter-configmap-data", "only-a-name", "write namespace:name, or none"},
        Row{"exporter-kubernetes-pod-label-allowlist-regex", "[",
            "write regular expressions, separated by commas"}}) {
    const Effective effective = with({{row.flag, {row.value}}});
    ASSERT_FALSE(effective.ok()) << row.flag << ' ' << row.value;
    EXPECT_EQ(effective.findings.front().hint, row.hint) << row.flag;
  }
  EXPECT_FALSE(with({{"exporter-hostname-label", {"HOST"}}}).ok());
  EXPECT_TRUE(with({{"exporter-hostname-label", {"both"}}}).ok());
  EXPECT_FALSE(with({{"exporter-shared-figures", {"mine"}}}).ok());
  EXPECT_TRUE(with({{"exporter-shared-figures", {"device"}}}).ok());
}

}  // namespace
}  // namespace kerf::config
