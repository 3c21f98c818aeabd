#include "config/dump.h"

#include "config/duration.h"

#include <gtest/gtest.h>

namespace kerf::config {
namespace {

TEST(Dump, HasNvidiasKeysInNvidiasOrder) {
  EXPECT_EQ(dump(Config(), false),
            R"({"version":"v1","flags":{"migStrategy":"none","failOnInitError":true,)"
            R"("nvidiaDriverRoot":"/","nvidiaDevRoot":"/","gdrcopyEnabled":false,)"
            R"("gdsEnabled":false,"mofedEnabled":false,"useNodeFeatureAPI":null,)"
            R"("deviceDiscoveryStrategy":"auto","plugin":{"passDeviceSpecs":false,)"
            R"("deviceListStrategy":["envvar"],"deviceIDStrategy":"uuid",)"
            R"("cdiAnnotationPrefix":"cdi.k8s.io/","nvidiaCTKPath":"/usr/bin/nvidia-ctk",)"
            R"("containerDriverRoot":"/driver-root",)"
            R"("sharedDevicesAllocationPolicy":"distributed"}},"resources":{"gpus":null},)"
            R"("sharing":{"timeSlicing":{}},"imex":{}})");
}

TEST(Dump, ShowsWhatIsSet) {
  Config config;
  config.mps_root = "/run/nvidia/mps";
  config.gpu_rules = {{"*3090*", "nvidia.com/rtx"}};
  config.mig_rules = {{"1g.*", "nvidia.com/small"}};
  config.imex_channel_ids = {0};
  config.imex_required = true;
  config.sharing_strategy = SharingStrategy::kTimeSlicing;
  config.sharing.rename_by_default = true;
  config.sharing.resources = {
      {"nvidia.com/gpu", "nvidia.com/gpu.shared", AllDevices{}, 4, {}},
      {"nvidia.com/a", {}, FirstDevices{2}, 3, {}},
      {"nvidia.com/b",
       {},
       std::vector<DeviceRef>{ByIndex{1, {}}, ByIndex{0, 2}, ByUuid{"GPU-1"}, ByPci{"0000:3b:00.0"},
                              ByModel{"A*"}},
       2,
       {}}};
  const std::string text = dump(config, true);
  for (
      const char* part :
      {R"("failOnInitError":true,"mpsRoot":"/run/nvidia/mps","nvidiaDriverRoot")",
       R"("useNodeFeatureAPI":true,)",
       R"(},"gfd":{"oneshot":false,"noTimestamp":false,"sleepInterval":"1m0s","outputFile":)",
       R"("resources":{"gpus":[{"pattern":"*3090*","name":"nvidia.com/rtx"}],)"
       R"("mig":[{"pattern":"1g.*","name":"nvidia.com/small"}]})",
       R"("timeSlicing":{"renameByDefault":true,"failRequestsGreaterThanOne":false,"resources":[)",
       R"({"name":"nvidia.com/gpu","rename":"nvidia.com/gpu.shared","devices":"all","replicas":4})",
       R"({"name":"nvidia.com/a","devices":2,"replicas":3})",
       R"("devices":["1","0:2","GPU-1","0000:3b:00.0","model:A*"],"replicas":2})",
       R"("imex":{"channelIDs":[0],"required":true}})"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  config.sharing_strategy = SharingStrategy::kMps;
  EXPECT_NE(dump(config, false).find(R"("sharing":{"timeSlicing":{},"mps":{"renameByDefault")"),
            std::string::npos);
}

TEST(Dump, WritesDurationsAsGoDoes) {
  struct Row {
    std::int64_t nanoseconds;
    const char* text;
  };
  for (const Row& row :
       {Row{0, "0s"}, Row{5, "5ns"}, Row{1'500, "1.5µs"}, Row{20'000'000, "20ms"},
        Row{1'500'000'000, "1.5s"}, Row{60'000'000'000, "1m0s"}, Row{3'600'000'000'000, "1h0m0s"},
        Row{3'725'000'000'000, "1h2m5s"}, Row{kForever, "infinite"}}) {
    Config config;
    config.labels.interval_ns = row.nanoseconds;
    const std::string wanted = std::string(R"("sleepInterval":")") + row.text + "\"";
    EXPECT_NE(dump(config, true).find(wanted), std::string::npos) << row.text;
  }
}

}  // namespace
}  // namespace kerf::config
