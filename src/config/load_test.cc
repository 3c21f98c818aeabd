// Precedence and provenance: command line before environment before file before default.
#include "config/load.h"

#include <cerrno>
#include <set>

#include "config/render.h"

namespace kerf::config {
namespace {

ReadFile file_of(std::string text) {
  return [text = std::move(text)](const std::string&) -> Result<std::string> { return text; };
}

Result<std::string> no_file(const std::string& path) {
  return fail_errno("cannot open file", path, ENOENT);
}

std::string source_of(const Effective& e, std::string_view path) {
  for (const Provenance& p : e.provenance) {
    if (p.path == path) return p.source;
  }
  return "none";
}

TEST(Load, WithNothingGivenIsTheDefault) {
  Result<Effective> e = load({}, {}, no_file);
  ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->config, Config{});
  EXPECT_EQ(e->process, ProcessOptions{});
  EXPECT_TRUE(e->findings.empty());
  EXPECT_EQ(source_of(*e, "flags.migStrategy"), "default");
}

TEST(Load, CommandLineBeatsEnvironmentBeatsFileBeatsDefault) {
  struct Row {
    FlagValues flags;
    Env env;
    std::string file;
    MigStrategy strategy;
    std::string source;
  };
  const std::string in_file = "flags:\n  migStrategy: mixed\n";
  const Row rows[] = {
      {{}, {}, "", MigStrategy::kNone, "default"},
      {{}, {}, in_file, MigStrategy::kMixed, "file config.yaml:2:16"},
      {{}, {}, "flags: {migStrategy: null}", MigStrategy::kNone, "default"},
      {{}, {{"MIG_STRATEGY", "single"}}, in_file, MigStrategy::kSingle, "env MIG_STRATEGY"},
      {{{"mig-strategy", {"none"}}},
       {{"MIG_STRATEGY", "single"}},
       in_file,
       MigStrategy::kNone,
       "flag --mig-strategy"},
      {{{"mig-strategy", {"none", "mixed"}}}, {}, "", MigStrategy::kMixed, "flag --mig-strategy"},
  };
  for (const Row& row : rows) {
    FlagValues flags = row.flags;
    flags["config-file"] = {"config.yaml"};
    Result<Effective> e = load(flags, row.env, file_of(row.file));
    ASSERT_TRUE(e.has_value()) << e.error().text();
    EXPECT_EQ(e->config.mig_strategy, row.strategy);
    EXPECT_EQ(source_of(*e, "flags.migStrategy"), row.source);
  }
}

TEST(Load, OfTwoNamesOfAVariableTheFirstThatIsSetCounts) {
  EXPECT_EQ(load({}, {{"NVIDIA_CTK_PATH", "/b"}}, no_file)->config.cdi_hook_path, "/b");
  EXPECT_EQ(load({}, {{"NVIDIA_CDI_HOOK_PATH", "/a"}, {"NVIDIA_CTK_PATH", "/b"}}, no_file)
                ->config.cdi_hook_path,
            "/a");
}

TEST(Load, ListsAreRepeatedOrCommaSeparatedAndReplaceTheEnvironment) {
  using enum DeviceListStrategy;
  auto strategies = [](FlagValues flags, Env env) {
    return load(flags, env, no_file)->config.device_list_strategies;
  };
  std::vector<DeviceListStrategy> both = {kEnvvar, kVolumeMounts};
  EXPECT_EQ(strategies({{"device-list-strategy", {"envvar", "volume-mounts"}}}, {}), both);
  EXPECT_EQ(strategies({{"device-list-strategy", {"envvar , volume-mounts,envvar"}}}, {}), both);
  EXPECT_EQ(strategies({}, {{"DEVICE_LIST_STRATEGY", "envvar,volume-mounts"}}), both);
  EXPECT_EQ(strategies({{"device-list-strategy", {"volume-mounts"}}},
                       {{"DEVICE_LIST_STRATEGY", "envvar"}}),
            std::vector{kVolumeMounts});
}

TEST(Load, TakesTheTruthWordsOfGo) {
  for (const char* word : {"1", "t", "T", "true", "TRUE", "True"}) {
    EXPECT_TRUE(load({}, {{"PASS_DEVICE_SPECS", word}}, no_file)->config.pass_device_specs) << word;
  }
  for (const char* word : {"0", "f", "F", "false", "FALSE", "False"}) {
    EXPECT_FALSE(load({}, {{"FAIL_ON_INIT_ERROR", word}}, no_file)->config.fail_on_init_error)
        << word;
  }
  Result<Effective> wrong = load({}, {{"FAIL_ON_INIT_ERROR", "yes"}}, no_file);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().text(),
            "'yes' is not a truth value: env FAIL_ON_INIT_ERROR (use true or false)");
}

TEST(Load, AnEmptyVariableCountsAsSetWhereEmptyMeansSomething) {
  FlagValues with_file = {{"config-file", {"c"}}};
  ReadFile file = file_of("flags: {mpsRoot: /mps, gdsEnabled: true, migStrategy: mixed}");
  Env env = {{"MPS_ROOT", ""},         {"GDS_ENABLED", ""},          {"MIG_STRATEGY", ""},
             {"IMEX_CHANNEL_IDS", ""}, {"DEVICE_LIST_STRATEGY", ""}, {"KUBELET_SOCKET", ""}};
  Result<Effective> e = load(with_file, env, file);
  ASSERT_TRUE(e.has_value()) << e.error().text();
  EXPECT_EQ(e->config.mps_root, "");
  EXPECT_FALSE(e->config.gds_enabled);
  EXPECT_EQ(e->process.kubelet_socket, "");
  // No strategy can be meant by "": ignored, with a warning each, and the file holds.
  EXPECT_EQ(e->config.mig_strategy, MigStrategy::kMixed);
  EXPECT_EQ(e->config.device_list_strategies, std::vector{DeviceListStrategy::kEnvvar});
  EXPECT_EQ(e->findings.size(), 4u);
}

TEST(Load, TheDevRootFollowsTheDriverRoot) {
  EXPECT_EQ(load({{"driver-root", {"/run/nvidia"}}}, {}, no_file)->config.dev_root, "/run/nvidia");
  EXPECT_EQ(
      load({{"nvidia-driver-root", {"/a"}}, {"dev-root", {"/b"}}}, {}, no_file)->config.dev_root,
      "/b");
}

TEST(Load, ImexIsReplacedByFlagOrEnvironmentOnly) {
  FlagValues with_file = {{"config-file", {"c"}}};
  ReadFile file = file_of("imex: {channelIDs: [0], required: true}");
  Result<Effective> e = load(with_file, {}, file);
  EXPECT_EQ(e->config.imex_channel_ids, std::vector{0});
  EXPECT_TRUE(e->config.imex_required);
  EXPECT_FALSE(load(with_file, {{"IMEX_CHANNEL_IDS", "0,1"}}, file).has_value());
  EXPECT_EQ(load({{"imex-channel-ids", {"0x0"}}}, {}, no_file)->config.imex_channel_ids,
            std::vector{0});
}

TEST(Load, AFileThatCannotBeReadIsAnErrorThatNamesIt) {
  Result<Effective> e = load({{"config-file", {"gone.yaml"}}}, {}, no_file);
  ASSERT_FALSE(e.has_value());
  EXPECT_EQ(e.error().kind, Kind::kNotFound);
  EXPECT_EQ(e.error().text(),
            "error opening config file: cannot open file: No such file or directory: gone.yaml "
            "(check --config-file (CONFIG_FILE) and the mount)");
}

TEST(Load, AnErrorInTheFileNamesPlaceFieldAndRemedy) {
  Result<Effective> e = load({{"config-file", {"config.yaml"}}}, {},
                             file_of("flags: {migStrategy: another, gdsEnabled: 1}"));
  ASSERT_FALSE(e.has_value());
  EXPECT_EQ(e.error().kind, Kind::kInvalid);
  EXPECT_EQ(e.error().text(),
            "flags.gdsEnabled: expected true or false, found the number 1 (and 1 more): "
            "config.yaml:1:43 (write true or false without quotes)");
}

// --- MPS --------------------------------------------------------------------------------------

constexpr char kByMps[] = "sharing: {mps: {resources: [{name: gpu, replicas: 2}]}}";

struct MpsRow {
  std::string flags;       // of the file
  const char* components;  // of the process
  const char* says;        // nullptr: accepted
};

TEST(Mps, NeedsARootOnTheHostAndNoMixedMigStrategyWhereDevicesAreServed) {
  constexpr const char* kNoRoot = "using MPS requires --mps-root to be specified";
  constexpr const char* kMixed = "using --mig-strategy=mixed is not supported with MPS";
  const MpsRow rows[] = {{"{mpsRoot: /run/nvidia/mps}", "devices,http", nullptr},
                         {"{}", "devices,http", kNoRoot},
                         {"{mpsRoot: /m, migStrategy: mixed}", "devices", kMixed},
                         {"{mpsRoot: /m, migStrategy: single}", "devices", nullptr},
                         {"{migStrategy: mixed}", "labels", nullptr},
                         {"{}", "mps", nullptr}};
  for (const MpsRow& row : rows) {
    Result<Effective> e = load({{"config-file", {"c"}}, {"components", {row.components}}}, {},
                               file_of("flags: " + row.flags + "\n" + kByMps));
    ASSERT_EQ(e.has_value(), row.says == nullptr) << row.flags << row.components;
    if (!e) {
      EXPECT_NE(e.error().text().find(row.says), std::string::npos) << e.error().text();
      EXPECT_NE(e.error().text().find("c:2:"), std::string::npos) << e.error().text();
      continue;
    }
    EXPECT_EQ(e->config.sharing_strategy, SharingStrategy::kMps);
    EXPECT_TRUE(e->config.sharing.fail_requests_greater_than_one);
  }
}

TEST(Mps, GoesBeforeTimeSlicingWithAWarning) {
  Result<Effective> e =
      load({{"config-file", {"c"}}, {"mps-root", {"/m"}}}, {},
           file_of("sharing: {timeSlicing: {resources: [{name: gpu, replicas: 9}]}, mps: "
                   "{renameByDefault: true, resources: [{name: gpu, replicas: 2}]}}"));
  ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->config.sharing.resources.at(0).replicas, 2U);
  EXPECT_EQ(e->config.sharing.resources[0].rename, "nvidia.com/gpu.shared");
  ASSERT_EQ(e->findings.size(), 1U);
  EXPECT_EQ(e->findings[0].path, "sharing.timeSlicing");
}

TEST(Mps, ReadsTheLimitsOfItsClients) {
  auto limits = [](const std::string& text, const std::string& strategy = "mps") {
    return load({{"config-file", {"c"}}, {"mps-root", {"/m"}}}, {},
                file_of("sharing: {" + strategy +
                        ": {resources: [{name: gpu, replicas: 2, limits: " + text + "}]}}"));
  };
  MpsLimits both{8192, 25};
  EXPECT_EQ(limits("{memory: 8Gi, threadPercentage: 25}")->config.sharing.resources[0].limits,
            both);
  EXPECT_EQ(limits("{memory: 512Mi}")->config.sharing.resources[0].limits.memory_mib, 512U);
  EXPECT_EQ(limits("null")->config.sharing.resources[0].limits, MpsLimits{});
  for (const char* wrong : {"{memory: 8}", "{memory: 8G}", "{memory: 0Mi}", "{memory: -1Gi}",
                            "{memory: 99999999Gi}", "{memory: [1]}", "{threadPercentage: 0}",
                            "{threadPercentage: 101}", "{threadPercentage: half}", "7"}) {
    Result<Effective> e = limits(wrong);
    ASSERT_FALSE(e.has_value()) << wrong;
    EXPECT_NE(e.error().text().find("limits"), std::string::npos) << e.error().text();
    EXPECT_FALSE(e.error().hint.empty()) << wrong;
  }
  // Elsewhere it is a key that nobody knows.
  EXPECT_EQ(limits("{memory: 8Gi}", "timeSlicing")->findings.size(), 1U);
}

TEST(Load, ChecksTheSettingsOfTheProcess) {
  for (const char* good : {"none", ":2112", "127.0.0.1:0", "[::1]:9400", "0.0.0.0:65535"}) {
    EXPECT_EQ(load({{"listen", {good}}}, {}, no_file)->process.listen, good);
  }
  for (const char* bad : {"", "2112", ":", ":65536", ":http", "localhost"}) {
    EXPECT_FALSE(load({{"listen", {bad}}}, {}, no_file).has_value()) << bad;
  }
  EXPECT_FALSE(load({{"components", {"devices,coffee"}}}, {}, no_file).has_value());
  EXPECT_FALSE(load({{"kube-api-qps", {"-1"}}}, {}, no_file).has_value());
  EXPECT_FALSE(load({{"kube-api-burst", {"2.5"}}}, {}, no_file).has_value());
  EXPECT_EQ(load({{"kube-api-qps", {"2.5"}}}, {}, no_file)->process.kube_api_qps, 2.5);
  EXPECT_EQ(load({}, {{"KUBE_API_BURST", "7"}}, no_file)->process.kube_api_burst, 7U);
  EXPECT_FALSE(load({{"log-level", {"loud"}}}, {}, no_file).has_value());
  EXPECT_FALSE(load({{"root", {"here"}}}, {}, no_file).has_value());
  EXPECT_FALSE(load({{"no-such-flag", {"x"}}}, {}, no_file).has_value());
}

TEST(Arguments, AreReadAsNvidiasPluginReadsThem) {
  std::vector<std::string> args = {"--mig-strategy=single",
                                   "-driver-root",
                                   "/x",
                                   "--pass-device-specs",
                                   "--container-driver-root",
                                   "/y",
                                   "--fail-on-init-error=false"};
  Result<FlagValues> flags = parse_arguments(args);
  ASSERT_TRUE(flags.has_value()) << flags.error().text();
  EXPECT_EQ(*flags, (FlagValues{{"mig-strategy", {"single"}},
                                {"driver-root", {"/x"}},
                                {"pass-device-specs", {"true"}},
                                {"driver-root-ctr-path", {"/y"}},
                                {"fail-on-init-error", {"false"}}}));
}

TEST(Arguments, ThatAreWrongAreNamed) {
  auto says = [](std::vector<std::string> args) { return parse_arguments(args).error().text(); };
  EXPECT_EQ(says({"--mig-stratgy=x"}),
            "unknown flag: --mig-stratgy (did you mean --mig-strategy?)");
  EXPECT_EQ(says({"--driver-root"}),
            "flag needs a value: --driver-root (write --driver-root=VALUE)");
  EXPECT_EQ(says({"status"}), "unexpected argument 'status' (flags begin with --)");
}

TEST(FlagTable, IsConsistent) {
  std::set<std::string_view> names;
  std::set<std::string_view> envs;
  std::set<std::string_view> paths;
  for (const FlagSpec& spec : agent_flags()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    for (std::string_view alias : spec.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    for (std::string_view env : spec.env) EXPECT_TRUE(envs.insert(env).second) << env;
    bool has_path = !spec.file_path.empty();
    EXPECT_TRUE(!has_path || paths.insert(spec.file_path).second) << spec.file_path;
    EXPECT_FALSE(spec.help.empty()) << spec.name;
    EXPECT_EQ(to_text(default_value(spec)), spec.default_text) << spec.name;
    EXPECT_EQ(find_flag("--" + std::string(spec.name)), &spec);
  }
}

TEST(Environment, IsTakenApartAtTheFirstEqualsSign) {
  const char* const raw[] = {"A=b=c", "EMPTY=", "odd", "A=second", nullptr};
  EXPECT_EQ(env_from(raw), (Env{{"A", "b=c"}, {"EMPTY", ""}}));
  EXPECT_EQ(env_from(nullptr), Env{});
}

}  // namespace
}  // namespace kerf::config
