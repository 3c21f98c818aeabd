// Writing a configuration out and reading it back; and bytes that are no configuration at all.
#include "config/render.h"

#include "config/parse.h"

#include <rapidcheck/gtest.h>

namespace kerf::config {
namespace {

rc::Gen<std::string> resource_names() {
  return rc::gen::map(
      rc::gen::nonEmpty(rc::gen::resize(
          40, rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcxyz0189"))))),
      [](const std::string& tail) { return "nvidia.com/" + tail; });
}

std::string any_uuid() {
  std::string uuid =
      *rc::gen::container<std::string>(32, rc::gen::elementOf(std::string("0123456789abcdef")));
  for (std::size_t at : {8u, 13u, 18u, 23u}) uuid.insert(at, 1, '-');
  return uuid;
}

DeviceRef any_device() {
  switch (*rc::gen::inRange(0, 7)) {
    case 5:
      return ByPci{"0000:" + any_uuid().substr(0, 2) + ":00.0"};
    case 6:
      return ByModel{"*" + any_uuid().substr(0, 2) + " 30?0"};
    case 0:
      return ByIndex{*rc::gen::inRange(0u, 16u), {}};
    case 1:
      return ByIndex{*rc::gen::inRange(0u, 16u), *rc::gen::inRange(0u, 7u)};
    case 2:
      return ByUuid{"GPU-" + any_uuid()};
    case 3:
      return ByUuid{"MIG-" + any_uuid()};
    default:
      return ByUuid{"MIG-GPU-" + any_uuid() + "/7/0"};
  }
}

DeviceSelector any_selector() {
  switch (*rc::gen::inRange(0, 3)) {
    case 0:
      return AllDevices{};
    case 1:
      return FirstDevices{*rc::gen::inRange(1u, 20u)};
    default:
      break;
  }
  std::vector<DeviceRef> devices;
  for (int n = *rc::gen::inRange(0, 5); n > 0; --n) {
    DeviceRef device = any_device();
    if (std::find(devices.begin(), devices.end(), device) == devices.end()) {
      devices.push_back(device);
    }
  }
  return devices;
}

Sharing any_sharing() {
  Sharing sharing;
  sharing.rename_by_default = *rc::gen::arbitrary<bool>();
  sharing.fail_requests_greater_than_one = *rc::gen::arbitrary<bool>();
  for (int n = *rc::gen::inRange(1, 4); n > 0; --n) {
    SharedResource r;
    r.name = *resource_names();
    r.devices = any_selector();
    r.replicas = *rc::gen::inRange(1u, kMaxReplicas + 1);
    if (*rc::gen::arbitrary<bool>()) {
      r.rename = *resource_names();
    } else if (sharing.rename_by_default) {
      r.rename = r.name + ".shared";
    }
    sharing.resources.push_back(r);
  }
  return sharing;
}

// Text that YAML could take for something else, and any printable text.
std::string any_text() {
  return *rc::gen::oneOf(
      rc::gen::elementOf(std::vector<std::string>{
          "",  "/",  "yes", "null", "~",  "1",  "0x10", "1e3",  "-",  "- a", "a: b", "#c",
          "'", "\"", "{}",  "[",    "*a", "&a", "!t",   "a\nb", "\t", "é",   ".5",   "..."}),
      rc::gen::container<std::string>(rc::gen::inRange<char>(0x20, 0x7f)));
}

Config any_config() {
  Config c;
  c.mig_strategy = static_cast<MigStrategy>(*rc::gen::inRange(0, 3));
  c.discovery = static_cast<DiscoveryStrategy>(*rc::gen::inRange(0, 2));
  c.device_id_strategy = static_cast<DeviceIdStrategy>(*rc::gen::inRange(0, 2));
  c.allocation_policy = static_cast<AllocationPolicy>(*rc::gen::inRange(0, 2));
  if (*rc::gen::arbitrary<bool>()) {
    c.device_list_strategies = {DeviceListStrategy::kVolumeMounts, DeviceListStrategy::kEnvvar};
  }
  c.fail_on_init_error = *rc::gen::arbitrary<bool>();
  c.pass_device_specs = *rc::gen::arbitrary<bool>();
  c.driver_root = any_text();
  c.dev_root = any_text();
  if (c.dev_root.empty()) c.dev_root = c.driver_root;
  c.mps_root = any_text();
  c.cdi_annotation_prefix = *rc::gen::element<std::string>("", "cdi.k8s.io/", "x.y/a-b");
  for (int n = *rc::gen::inRange(0, 3); n > 0; --n) {
    c.gpu_rules.push_back({any_text(), *resource_names()});
    c.mig_rules.push_back({any_text(), *resource_names()});
  }
  if (*rc::gen::arbitrary<bool>()) c.sharing = any_sharing();
  bool shared = std::any_of(c.sharing.resources.begin(), c.sharing.resources.end(),
                            [](const SharedResource& r) { return r.replicas > 1; });
  if (shared) c.sharing_strategy = SharingStrategy::kTimeSlicing;
  if (*rc::gen::arbitrary<bool>()) c.imex_channel_ids = {0};
  c.imex_required = *rc::gen::arbitrary<bool>();
  return c;
}

RC_GTEST_PROP(Render, ReadsBackAsTheSameConfiguration, ()) {
  Config config = any_config();
  std::string text = to_yaml(config);
  Effective back = evaluate_file(text, "config.yaml");
  if (!back.ok()) RC_LOG() << text << render(back.findings.front());
  RC_ASSERT(back.ok());
  RC_ASSERT(back.config == config);
}

RC_GTEST_PROP(Parse, AcceptsAnyBytesWithoutHarm, (const std::string& bytes)) {
  Effective e = evaluate_file(bytes, "config.yaml");
  for (const Diagnostic& d : e.findings) RC_ASSERT(!render(d).empty());
}

// Pieces of real files in any order reach deeper than random bytes do.
RC_GTEST_PROP(Parse, AcceptsAnyMixtureOfItsOwnWordsWithoutHarm, ()) {
  static const std::vector<std::string> kPieces = {
      "version",     "flags", "sharing",  "timeSlicing", "mps",    "resources",
      "gpus",        "name",  "replicas", "devices",     "rename", "nvidia.com/gpu",
      "all",         "2",     "-1",       "null",        "true",   ": ",
      ":",           "- ",    "\n",       "\n  ",        "\n    ", "{",
      "}",           "[",     "]",        ", ",          "&a ",    "*a",
      "<<: ",        "|",     ">",        "\"",          "'",      "#",
      "\t",          "? ",    "!!str ",   "!x ",         "---\n",  "...\n",
      "%YAML 1.1\n", "0:1",   "\r\n",     "0x",          "1e9",    "plugin"};
  auto pieces = *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces));
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  Effective e = evaluate_file(text, "config.yaml");
  // What is accepted can be written out and is then accepted without change.
  if (e.ok()) {
    Effective again = evaluate_file(to_yaml(e.config), "config.yaml");
    RC_ASSERT(again.ok());
    RC_ASSERT(again.config == e.config);
  }
}

TEST(Explain, SaysWhereEveryValueComesFromAndIsItselfAFile) {
  FlagValues flags = {{"config-file", {"config.yaml"}}, {"driver-root", {"/run/nvidia"}}};
  Env env = {{"FAIL_ON_INIT_ERROR", "false"}};
  auto read = [](const std::string&) -> Result<std::string> {
    return "version: v1\nsharing:\n  timeSlicing:\n    renameByDefault: true\n    resources:\n"
           "    - name: nvidia.com/gpu\n      replicas: 4\n";
  };
  Effective e = evaluate(flags, env, read);
  ASSERT_TRUE(e.ok());
  std::string text = to_yaml(e);
  auto has_line = [&text](std::string_view begin, std::string_view comment) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(begin) && line.ends_with(comment)) return true;
    }
    return false;
  };
  EXPECT_TRUE(has_line("  migStrategy: none ", "# from default")) << text;
  EXPECT_TRUE(has_line("  failOnInitError: false ", "# from env FAIL_ON_INIT_ERROR")) << text;
  EXPECT_TRUE(has_line("  nvidiaDriverRoot: /run/nvidia ", "# from flag --driver-root")) << text;
  EXPECT_TRUE(has_line("  nvidiaDevRoot: /run/nvidia ", "# from default, the driver root")) << text;
  EXPECT_TRUE(has_line("        replicas: 4 ", "# from file config.yaml:7:17")) << text;
  EXPECT_TRUE(has_line("        rename: nvidia.com/gpu.shared ", "# from renameByDefault")) << text;
  EXPECT_TRUE(has_line("#   --config-file: config.yaml ", "# from flag --config-file")) << text;
  EXPECT_EQ(evaluate_file(text, "f").config, e.config);
}

TEST(Findings, AsJsonAreCountedAndComplete) {
  Effective e = evaluate_file("version: v2\nx: 1\n", "c.yaml");
  EXPECT_EQ(render_json("c.yaml", e.findings),
            R"({"file":"c.yaml","errors":1,"warnings":1,"findings":[)"
            R"({"severity":"error","file":"c.yaml","line":1,"column":10,"path":"version",)"
            R"("message":"unknown version: v2","hint":"write version: v1"},)"
            R"({"severity":"warning","file":"c.yaml","line":2,"column":1,"path":"x",)"
            R"("message":"unknown key, ignored","hint":"known here: version, flags, resources, )"
            R"(sharing, imex, health, power, usage"}]})");
}

}  // namespace
}  // namespace kerf::config
