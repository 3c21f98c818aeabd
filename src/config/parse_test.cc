// The file reader against the tables of the device-plugin contract, §1.2 and §1.4.
#include "config/parse.h"

#include "base/strings.h"
#include "config/duration.h"
#include "config/load.h"

namespace kerf::config {
namespace {

// Every finding, rendered, for messages and searches.
std::string all_findings(const std::vector<Diagnostic>& findings) {
  std::string out;
  for (const Diagnostic& d : findings) out += render(d) + "\n";
  return out;
}

Config accepted(std::string_view text) {
  Effective e = evaluate_file(text, "config.yaml");
  EXPECT_TRUE(e.ok()) << text << "\n" << all_findings(e.findings);
  return e.config;
}

std::string refused(std::string_view text) {
  Effective e = evaluate_file(text, "config.yaml");
  EXPECT_FALSE(e.ok()) << text << "\n" << all_findings(e.findings);
  return all_findings(e.findings);
}

std::string warned(std::string_view text) {
  Effective e = evaluate_file(text, "config.yaml");
  EXPECT_TRUE(e.ok()) << text << "\n" << all_findings(e.findings);
  EXPECT_FALSE(e.findings.empty()) << text;
  return all_findings(e.findings);
}

std::string sharing(std::string_view resource) {
  return "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, " + std::string(resource) +
         "}]}}";
}

struct Row {
  std::string text;
  std::string says;  // part of what is found; empty: nothing is
};

TEST(File, ThatIsEmptyOrSaysNothingIsValid) {
  for (const char* text :
       {"", "{}", "---\n", "# only a comment\n", "null", "version: v1", "version:", "version: \"\"",
        "\xef\xbb\xbfversion: v1\n", "flags:\nsharing:\n"}) {
    EXPECT_EQ(accepted(text), Config{}) << text;
    EXPECT_TRUE(parse(text, "f").findings.empty()) << text;
  }
}

TEST(File, WithAnotherVersionIsRefused) {
  EXPECT_NE(refused("version: v2").find("unknown version: v2"), std::string::npos);
  EXPECT_NE(refused("version: 1").find("unknown version: 1"), std::string::npos);
}

TEST(File, MustBeAMapping) {
  EXPECT_NE(refused("- a").find("expected a mapping, found a list"), std::string::npos);
  EXPECT_NE(refused("abc").find("expected a mapping, found the string \"abc\""), std::string::npos);
}

TEST(File, MayBeJson) {
  Config c = accepted(
      "{\n\t\"version\": \"v1\",\n\t\"flags\": {\"migStrategy\": \"mixed\"},\n"
      "\t\"sharing\":{\"timeSlicing\":{\"resources\":[{\"name\":\"gpu\","
      "\"replicas\":4}]}}\n}\n");
  EXPECT_EQ(c.mig_strategy, MigStrategy::kMixed);
  EXPECT_EQ(c.sharing.resources.at(0).name, "nvidia.com/gpu");
}

TEST(File, ThatIsBrokenJsonNamesThePlace) {
  const struct {
    const char* text;
    const char* where;
  } broken[] = {
      {"{\n  \"version\": \"v1\",\n  \"flags\": {\"migStrategy\": \"single\"\n",
       "config.yaml:1:1:"},
      {"{\n  \"version\": \"v1\"\n  \"flags\": {}\n}\n", "config.yaml:3:3:"},
      {"{\n  \"flags\": {\"failOnInitError\": \"yes\"}\n}\n", "config.yaml:2:32:"},
      {"{\n  \"flags\": [1]\n}\n", "config.yaml:2:12:"},
      {"{\n  \"sharing\": {\"timeSlicing\": {\"resources\": [\n"
       "    {\"name\": \"gpu\", \"replicas\": 0}]}}\n}\n",
       "config.yaml:3:33:"},
  };
  for (const auto& each : broken) {
    const std::string says = refused(each.text);
    EXPECT_NE(says.find(std::string(each.where) + " error: "), std::string::npos) << says;
  }
  // What JSON does not allow but YAML does is no error.
  accepted("{\"flags\": {\"migStrategy\": \"single\",},}\n");
}

TEST(File, UsesOnlyTheFirstDocumentAndSaysSo) {
  std::string text = "flags: {migStrategy: single}\n---\nflags: {migStrategy: mixed}\n";
  EXPECT_EQ(accepted(text).mig_strategy, MigStrategy::kSingle);
  EXPECT_NE(warned(text).find("only the first YAML document"), std::string::npos);
}

TEST(Keys, UnknownOnesAreWarnedOfWithPositionAndNearestKnown) {
  EXPECT_EQ(warned("version: v1\nsharing:\n  timeSlcing:\n    resources: []\n"),
            "config.yaml:3:3: warning: sharing.timeSlcing: unknown key, ignored\n"
            "  timeSlcing:\n"
            "  ^\n"
            "  hint: did you mean timeSlicing?\n");
  EXPECT_NE(warned("resources: {migs: []}").find("did you mean mig?"), std::string::npos);
  EXPECT_NE(warned("apiVersion: v1\nkind: ConfigMap\n").find("Kubernetes object"),
            std::string::npos);
}

TEST(Keys, IgnoreCaseExceptInsideSharingAndResources) {
  EXPECT_EQ(accepted("FLAGS: {MIGSTRATEGY: single}").mig_strategy, MigStrategy::kSingle);
  EXPECT_EQ(accepted("Sharing: {TIMESLICING: {resources: [{name: gpu, replicas: 2}]}}")
                .sharing.resources.size(),
            1u);
  std::string wrong_case =
      refused("sharing: {timeSlicing: {Resources: [{name: gpu, replicas: 2}]}}");
  EXPECT_NE(wrong_case.find("no resources specified"), std::string::npos);
  EXPECT_NE(wrong_case.find("did you mean resources? upper and lower case matter here"),
            std::string::npos);
}

TEST(Keys, GivenTwiceTheLastHoldsAndTheFirstIsWarnedOf) {
  std::string text = "flags:\n  migStrategy: mixed\n  migStrategy: single\n";
  EXPECT_EQ(accepted(text).mig_strategy, MigStrategy::kSingle);
  EXPECT_NE(warned(text).find("config.yaml:3:3: warning: flags.migStrategy: key given again; the "
                              "one in line 2 is ignored"),
            std::string::npos);
  EXPECT_EQ(accepted("flags: {migStrategy: mixed, migstrategy: single}").mig_strategy,
            MigStrategy::kSingle);
}

TEST(Yaml, TruthWordsAreThoseOfVersionOneOne) {
  for (const char* word : {"true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", "Y"}) {
    EXPECT_TRUE(accepted("flags: {gdsEnabled: " + std::string(word) + "}").gds_enabled) << word;
  }
  for (const char* word : {"false", "no", "NO", "off", "n"}) {
    EXPECT_FALSE(accepted("flags: {failOnInitError: " + std::string(word) + "}").fail_on_init_error)
        << word;
  }
}

TEST(Yaml, TabsAsIndentationAreRefused) {
  for (const char* text :
       {"flags:\n\tmigStrategy: single\n", "sharing:\n  timeSlicing:\n  \tx: 1\n",
        "flags:\n  plugin:\n\t\tpassDeviceSpecs: true\n", "a:\n-\tb: 1\n"}) {
    std::string says = refused(text);
    EXPECT_NE(says.find("TAB"), std::string::npos) << says;
    EXPECT_NE(says.find("indent with spaces"), std::string::npos) << says;
  }
  accepted("flags:\t# a comment after a TAB\n  migStrategy:\tsingle\n");
}

TEST(Yaml, AnchorsAndMergeKeysAreFollowed) {
  Config c = accepted(
      "x: &base {replicas: 3}\n"
      "sharing:\n  timeSlicing:\n    resources:\n    - <<: *base\n      name: gpu\n");
  EXPECT_EQ(c.sharing.resources.at(0).replicas, 3u);
}

TEST(Yaml, BombsAndOversizedFilesAreRefusedQuickly) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j > 0 ? ",*a" : "*a") + std::to_string(i - 1);
    bomb += "]\n";
  }
  EXPECT_NE(refused(bomb).find("more than 50000 values"), std::string::npos);
  EXPECT_NE(refused("a: " + std::string(40, '[') + std::string(40, ']')).find("nested more than"),
            std::string::npos);
  EXPECT_NE(refused(std::string(100'000, '[')).find("never closed"), std::string::npos);
  EXPECT_NE(refused(std::string(kMaxFileBytes + 1, 'a')).find("more than 1048576 are not read"),
            std::string::npos);
  EXPECT_NE(refused("a: &a [*a]").find("inside the value that it names"), std::string::npos);
  EXPECT_NE(refused(std::string("a: \0b", 5)).find("control character 0x00"), std::string::npos);
  EXPECT_NE(refused("a: \xff").find("config.yaml:1:4: error: invalid UTF-8"), std::string::npos);
}

TEST(Yaml, SyntaxErrorsNameLineAndColumn) {
  EXPECT_NE(refused("flags:\n  migStrategy: [single\n").find("config.yaml:3:1: error: "),
            std::string::npos);
  EXPECT_NE(refused("flags: {a: b}}\n").find("config.yaml:1:"), std::string::npos);
}

TEST(Flags, AreNotCoercedFromOtherTypes) {
  const Row rows[] = {
      {"flags: {failOnInitError: \"true\"}",
       "flags.failOnInitError: expected true or false, found "
       "the string \"true\""},
      {"flags: {migStrategy: 1}", "flags.migStrategy: expected a string, found the number 1"},
      {"flags: {migStrategy: off}", "flags.migStrategy: expected a string, found the truth value"},
      {"flags: {plugin: [a]}", "flags.plugin: expected a mapping, found a list"},
      {"flags: {plugin: {deviceListStrategy: 3}}", "invalid deviceListStrategy: 3"},
      {"flags: {plugin: {deviceListStrategy: \"envvar,cdi-cri\"}}",
       "invalid strategy: envvar,cdi-cri"},
      {"flags: {plugin: {deviceListStrategy: []}}", "no strategy given"},
      {"imex: {channelIDs: [2]}", "channelIDs must be [] or [0]; found [2]"},
      {"imex: {channelIDs: [0, 0]}", "channelIDs must be [] or [0]; found [0 0]"},
      {"imex: {channelIDs: 0}", "expected a list of numbers"},
  };
  for (const Row& row : rows) {
    EXPECT_NE(refused(row.text).find(row.says), std::string::npos) << row.says << "\n"
                                                                   << refused(row.text);
  }
}

TEST(Flags, WordsOutsideTheirListAreRefusedInTheContractsWords) {
  const Row rows[] = {
      {"migStrategy: triple", "unknown MIG strategy: triple"},
      {"deviceDiscoveryStrategy: vfio", "invalid --device-discovery-strategy option vfio"},
      {"plugin: {deviceIDStrategy: name}", "invalid --device-id-strategy option: name"},
      {"plugin: {deviceListStrategy: mounts}",
       "invalid --device-list-strategy option: invalid strategy: mounts"},
      {"plugin: {sharedDevicesAllocationPolicy: random}",
       "invalid --shared-devices-allocation-policy option: random"},
  };
  for (const Row& row : rows) {
    EXPECT_NE(refused("flags: {" + row.text + "}").find(row.says), std::string::npos) << row.says;
  }
}

TEST(Flags, WhatThisReleaseCannotDoIsRefusedAndNotIgnored) {
  for (const char* text : {"flags: {deviceDiscoveryStrategy: tegra}"}) {
    std::string says = refused(text);
    EXPECT_NE(says.find("not supported by this release"), std::string::npos) << says;
    EXPECT_NE(says.find("config.yaml:1:"), std::string::npos) << says;
    EXPECT_NE(says.find("hint: "), std::string::npos) << says;
  }
}

TEST(Flags, CdiPathsAndPrefixesThatCannotWorkAreRefused) {
  const Row rows[] = {
      {"cdiAnnotationPrefix: cdi.k8s.io/toolong", "invalid --cdi-annotation-prefix option: cdi."},
      {"cdiAnnotationPrefix: cdi.k8s.io/-", "invalid --cdi-annotation-prefix option: cdi."},
      {"cdiAnnotationPrefix: \"a b/\"", "invalid --cdi-annotation-prefix option: a b/"},
      {"nvidiaCTKPath: bin/nvidia-ctk", "invalid --nvidia-cdi-hook-path option: bin/nvidia-ctk"},
  };
  for (const Row& row : rows) {
    EXPECT_NE(refused("flags: {plugin: {" + row.text + "}}").find(row.says), std::string::npos)
        << row.says;
  }
}

TEST(Flags, DurationsOfFeatureDiscoveryAreChecked) {
  const Row rows[] = {{"\"30\"", "time: missing unit in duration \"30\""},
                      {"[1]", "invalid duration"},
                      {"true", "invalid duration"},
                      {"abc", "time: invalid duration \"abc\""},
                      {"5x", "time: unknown unit \"x\" in duration \"5x\""}};
  for (const Row& row : rows) {
    std::string says = refused("flags: {gfd: {sleepInterval: " + row.text + "}}");
    EXPECT_NE(says.find(row.says), std::string::npos) << says;
  }
  const std::pair<std::string, std::int64_t> good[] = {{"60s", 60'000'000'000},
                                                       {"infinite", kForever},
                                                       {"0", 0},
                                                       {"0s", 0},
                                                       {"-5s", -5'000'000'000},
                                                       {"1m30.5s", 90'500'000'000},
                                                       {"1h2m3s4ms5us6ns", 3'723'004'005'006}};
  for (const auto& [text, nanoseconds] : good) {
    Effective e = evaluate_file("flags: {gfd: {sleepInterval: " + text + "}}", "config.yaml");
    EXPECT_TRUE(e.findings.empty()) << text;
    EXPECT_EQ(e.config.labels.interval_ns, nanoseconds) << text;
    EXPECT_EQ(parse_duration(duration_text(nanoseconds)), nanoseconds) << text;
  }
  warned("flags: {gfd: {sleepInterval: 5}}");
  EXPECT_EQ(evaluate_file("flags: {gfd: {sleepInterval: 5}}", "").config.labels.interval_ns, 5);
}

TEST(Flags, OfFeatureDiscoveryAreTaken) {
  Effective e = evaluate_file(
      "flags: {useNodeFeatureAPI: false, gfd: {oneshot: true, noTimestamp: true, outputFile: '', "
      "machineTypeFile: /m, nodeLabels: true, pciLabels: true}}",
      "config.yaml");
  EXPECT_TRUE(e.findings.empty());
  LabelOptions wanted;
  wanted.use_node_feature_api = false;
  wanted.oneshot = true;
  wanted.no_timestamp = true;
  wanted.output_file = "";
  wanted.machine_type_file = "/m";
  wanted.node_labels = true;
  wanted.pci_labels = true;
  EXPECT_EQ(e.config.labels, wanted);
}

TEST(Sharing, WrongEntriesAreRefusedInTheContractsWords) {
  const Row rows[] = {
      {"sharing: {timeSlicing: {}}", "no resources specified"},
      {"sharing: {timeSlicing: }", "no resources specified"},
      {"sharing: {timeSlicing: {resources: []}}", "no resources specified"},
      {"sharing: {timeSlicing: {resources: {a: b}}}", "expected a list of resources"},
      {"sharing: {timeSlicing: {resources: [{replicas: 2}]}}", "no resource name specified"},
      {"sharing: {timeSlicing: {resources: [null]}}", "no resource name specified"},
      {"sharing: {timeSlicing: {resources: [gpu]}}", "expected a mapping"},
      {sharing("devices: all"), "no replicas specified"},
      {sharing("replicas: null"), "no replicas specified"},
      {sharing("replicas: 0"), "number of replicas must be >= 2"},
      {sharing("replicas: -3"), "number of replicas must be >= 2"},
      {sharing("replicas: 2.5"), "expected a whole number, found the number 2.5"},
      {sharing("replicas: \"2\""), "expected a whole number, found the string \"2\""},
      {sharing("replicas: 1001"), "number of replicas must be <= 1000, found 1001"},
      {sharing("replicas: 99999999999999999999"), "replicas: expected a whole number"},
      {sharing("replicas: 2, devices: some"),
       "devices set as 'some' but the only valid string input is 'all'"},
      {sharing("replicas: 2, devices: null"),
       "devices set as '' but the only valid string input is 'all'"},
      {sharing("replicas: 2, devices: 0"), "devices set as '0' but a count of devices must be > 0"},
      {sharing("replicas: 2, devices: -2"),
       "devices set as '-2' but a count of devices must be > 0"},
      {sharing("replicas: 2, devices: [-1]"),
       "unsupported type for device in devices list: -1, string"},
      {sharing("replicas: 2, devices: [\"-1\"]"),
       "unsupported type for device in devices list: -1, string"},
      {sharing("replicas: 2, devices: [\"0:\"]"),
       "unsupported type for device in devices list: 0:, string"},
      {sharing("replicas: 2, devices: [MIG-GPU-123/1/0]"),
       "unsupported type for device in devices list: MIG-GPU-123/1/0, string"},
      {sharing("replicas: 2, devices: [\"+1\"]"),
       "unsupported type for device in devices list: +1, string"},
      {sharing("replicas: 2, devices: [GPU-123]"),
       "unsupported type for device in devices list: GPU-123, string"},
      {sharing("replicas: 2, devices: [0, true]"),
       "unsupported type for device in devices list: true, string"},
      {sharing("replicas: 2, devices: true"), "unrecognized type for devices spec: true"},
      {sharing("replicas: 2, devices: {a: b}"), "unrecognized type for devices spec: {"},
      {sharing("replicas: 2, devices: 2.5"), "unrecognized type for devices spec: 2.5"},
      {sharing("replicas: 2, rename: \"\""), "incorrect format for resource name 'nvidia.com/'"},
      {sharing("replicas: 2, rename: null"), "incorrect format for resource name 'nvidia.com/'"},
  };
  for (const Row& row : rows) {
    std::string says = refused(row.text);
    EXPECT_NE(says.find(row.says), std::string::npos) << row.text << "\n" << says;
    EXPECT_NE(says.find("hint: "), std::string::npos) << says;
  }
}

TEST(Sharing, NamesAreCheckedAsKubernetesWould) {
  const Row rows[] = {
      {"amd.com/gpu", "incorrect format for resource name 'nvidia.com/amd.com/gpu'"},
      {"GPU", "incorrect format for resource name 'nvidia.com/GPU'"},
      {"-gpu", "incorrect format"},
      {"gpu.", "incorrect format"},
      {"\"\"", "incorrect format for resource name 'nvidia.com/'"},
      {std::string(53, 'a'), "fully-qualified resource name must be 63 characters or less: "},
      {"5", "expected a string, found the number 5"},
  };
  for (const Row& row : rows) {
    std::string says =
        refused("sharing: {timeSlicing: {resources: [{name: " + row.text + ", replicas: 2}]}}");
    EXPECT_NE(says.find(row.says), std::string::npos) << says;
  }
  for (const char* good : {"nvidia.com/gpu", "gpu", "mig-1g.10gb", "nvidia.com/mig-1g.5gb.me"}) {
    accepted("sharing: {timeSlicing: {resources: [{name: " + std::string(good) +
             ", replicas: 2}]}}");
  }
}

class Tier : public testing::TestWithParam<unsigned> {};

TEST_P(Tier, IsTakenAsReplicas) {
  std::string text =
      "sharing: {timeSlicing: {resources: [{name: gpu, replicas: " + std::to_string(GetParam()) +
      "}]}}";
  Config c = accepted(text);
  EXPECT_EQ(c.sharing.resources.at(0).replicas, GetParam());
  EXPECT_EQ(c.sharing_strategy,
            GetParam() > 1 ? SharingStrategy::kTimeSlicing : SharingStrategy::kNone);
  if (GetParam() == 1) {
    EXPECT_NE(warned(text).find("1 replica means not shared"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Replicas, Tier, testing::Values(1, 2, 3, 4, 5, 10, 20, 50, 100, 1000));

TEST(Sharing, TakesWholeFloatsAndWarnsOfOctals) {
  EXPECT_EQ(accepted(sharing("replicas: 2.0")).sharing.resources.at(0).replicas, 2u);
  EXPECT_EQ(accepted(sharing("replicas: 010")).sharing.resources.at(0).replicas, 8u);
  EXPECT_NE(warned(sharing("replicas: 010")).find("010 is octal and means 8"), std::string::npos);
}

TEST(Sharing, RenameHoldsWithAndWithoutRenameByDefault) {
  auto renamed = [](std::string_view by_default, std::string_view rename) {
    return accepted("sharing: {timeSlicing: {renameByDefault: " + std::string(by_default) +
                    ", resources: [{name: gpu, replicas: 2" + std::string(rename) + "}]}}")
        .sharing.resources.at(0)
        .rename;
  };
  EXPECT_EQ(renamed("false", ""), std::nullopt);
  EXPECT_EQ(renamed("true", ""), "nvidia.com/gpu.shared");
  EXPECT_EQ(renamed("false", ", rename: slice"), "nvidia.com/slice");
  EXPECT_EQ(renamed("true", ", rename: nvidia.com/slice"), "nvidia.com/slice");
}

TEST(Sharing, DevicesAreAllOrACountOrAList) {
  auto devices = [](std::string_view text) {
    return accepted(sharing("replicas: 2, devices: " + std::string(text)))
        .sharing.resources.at(0)
        .devices;
  };
  using List = std::vector<DeviceRef>;
  EXPECT_EQ(devices("all"), DeviceSelector(AllDevices{}));
  EXPECT_EQ(devices("3"), DeviceSelector(FirstDevices{3}));
  EXPECT_EQ(devices("[]"), DeviceSelector(List{}));
  EXPECT_EQ(devices("[0, \"1\", 0:2]"),
            DeviceSelector(List{ByIndex{0, {}}, ByIndex{1, {}}, ByIndex{0, 2}}));
  std::string uuid = "5d4c2c6a-0000-1111-2222-333344445555";
  EXPECT_EQ(devices("[GPU-5D4C2C6A00001111222233334444"
                    "5555, MIG-" +
                    uuid + ", MIG-GPU-" + uuid + "/10/0]"),
            DeviceSelector(List{ByUuid{"GPU-" + uuid}, ByUuid{"MIG-" + uuid},
                                ByUuid{"MIG-GPU-" + uuid + "/10/0"}}));
}

TEST(Sharing, DevicesMayBeNamedByPciAddressAndByModel) {
  auto devices = [](std::string_view text) {
    return accepted(sharing("replicas: 2, devices: [" + std::string(text) + "]"))
        .sharing.resources.at(0)
        .devices;
  };
  using List = std::vector<DeviceRef>;
  DeviceSelector one = List{ByPci{"0000:3b:00.0"}};
  EXPECT_EQ(devices("\"0000:3b:00.0\""), one);
  EXPECT_EQ(devices("\"3B:00.0\""), one);
  EXPECT_EQ(devices("\"00000000:3B:00.0\""), one);
  EXPECT_EQ(devices("\"10000:3b:00.0\""), DeviceSelector(List{ByPci{"10000:3b:00.0"}}));
  EXPECT_EQ(devices("\"model:*RTX 3090*\""), DeviceSelector(List{ByModel{"*RTX 3090*"}}));
  for (const char* wrong : {"3b:20.0", "3b:00.8", "3b:00", "b:00.0", "0000:3b:00.00",
                            "model:", "model: ", "*3090*", "000:3b:00.0", "x:3b:00.0"}) {
    Parsed parsed = parse(sharing("replicas: 2, devices: [\"" + std::string(wrong) + "\"]"), "f");
    EXPECT_TRUE(has_errors(parsed.findings)) << wrong;
  }
}

TEST(Sharing, FailRequestsGreaterThanOneIsOffForTimeSlicing) {
  EXPECT_FALSE(accepted(sharing("replicas: 2")).sharing.fail_requests_greater_than_one);
  EXPECT_TRUE(accepted("sharing: {timeSlicing: {failRequestsGreaterThanOne: yes, resources: "
                       "[{name: gpu, replicas: 2}]}}")
                  .sharing.fail_requests_greater_than_one);
  Parsed mps = parse("sharing: {mps: {resources: [{name: gpu, replicas: 2}]}}", "f");
  EXPECT_TRUE(mps.values.mps->fail_requests_greater_than_one);
  mps = parse(
      "sharing: {mps: {failRequestsGreaterThanOne: false, resources: [{name: gpu, replicas: "
      "2}]}}",
      "f");
  EXPECT_FALSE(mps.values.mps->fail_requests_greater_than_one);
}

TEST(Sharing, AnEntryThatCannotHaveEffectIsWarnedOf) {
  EXPECT_NE(warned("sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2}, {name: "
                   "nvidia.com/gpu, replicas: 4}]}}")
                .find("already shares all devices of nvidia.com/gpu"),
            std::string::npos);
}

TEST(Resources, RulesKeepTheirOrderAndNeedBothKeys) {
  Config c = accepted(
      "resources:\n  gpus:\n  - {pattern: \"*3090*\", name: rtx}\n"
      "  - {pattern: \"*\", name: nvidia.com/gpu}\n"
      "  mig:\n  - {pattern: 1g.10gb, name: small}\n");
  EXPECT_EQ(c.gpu_rules,
            (std::vector<ResourceRule>{{"*3090*", "nvidia.com/rtx"}, {"*", "nvidia.com/gpu"}}));
  EXPECT_EQ(c.mig_rules, (std::vector<ResourceRule>{{"1g.10gb", "nvidia.com/small"}}));
  EXPECT_NE(refused("resources: {gpus: [{name: a}]}").find("no pattern specified"),
            std::string::npos);
  EXPECT_NE(refused("resources: {gpus: [{pattern: a}]}").find("no resource name specified"),
            std::string::npos);
}

TEST(Resources, WrittenAsAMappingByNameAreToleratedWithAWarning) {
  std::string says = warned("resources:\n  nvidia.com/gpu:\n    pattern: \"*\"\n");
  EXPECT_NE(says.find("config.yaml:2:3: warning: resources.nvidia.com/gpu: unknown key, ignored"),
            std::string::npos);
  EXPECT_NE(says.find("gpus: [{pattern:"), std::string::npos);
}

TEST(Findings, AreAllShownInTheOrderOfTheFileWithACaretEach) {
  EXPECT_EQ(
      refused("version: v1\nsharing:\n  timeSlicing:\n    resources:\n"
              "    - name: nvidia.com/gpu\n      replicas: 0\n      device: all\n"),
      "config.yaml:6:17: error: sharing.timeSlicing.resources[0].replicas: number of replicas "
      "must be >= 2\n"
      "      replicas: 0\n"
      "                ^\n"
      "  hint: write a whole number from 2 to 1000\n"
      "config.yaml:7:7: warning: sharing.timeSlicing.resources[0].device: unknown key, "
      "ignored\n"
      "      device: all\n"
      "      ^\n"
      "  hint: did you mean devices?\n");
}

TEST(Findings, ShowNothingThatATerminalWouldActUpon) {
  EXPECT_NE(refused("a: \x1b[31mred\n").find("a: ?[31mred\n   ^\n"), std::string::npos);
  // A line cut inside what would be one endless character.
  EXPECT_NE(refused("a: " + std::string(300, '\x80')).find("a: ??????"), std::string::npos);
  EXPECT_NE(warned("é: 1\n").find("\né: 1\n^\n"), std::string::npos);
}

TEST(Findings, AreNotMoreThanAPersonReads) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "key" + std::to_string(i) + ": 1\n";
  text += "version: v2\n";
  Effective e = evaluate_file(text, "config.yaml");
  EXPECT_EQ(e.findings.size(), 101u);
  EXPECT_FALSE(e.ok());
  EXPECT_EQ(e.findings.back().message, "401 more findings are not shown");
}

}  // namespace
}  // namespace kerf::config
