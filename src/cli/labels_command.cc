#include "cli/labels_command.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <string_view>
#include <utility>

#include "agent/agent.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/strings.h"
#include "cli/driver_view.h"
#include "cli/usual.h"
#include "cli/version.h"
#include "config/load.h"
#include "labels/facts.h"
#include "labels/file.h"
#include "plan/plan.h"

namespace kerf::cli {
namespace {

using Args = std::span<const std::string>;

constexpr const char* kUsage =
    "usage: kerf labels [--json] [FLAGS of kerf agent]\n\n"
    "Prints the labels that this node would get, one key=value a line. Nothing is set.\n\n"
    "exit status: 0 printed, 1 they cannot be made, 2 wrong arguments\n";

// The flags of NVIDIA's program, in the order of its help.
constexpr std::string_view kDiscoveryFlags[] = {"mig-strategy",
                                                "fail-on-init-error",
                                                "oneshot",
                                                "no-timestamp",
                                                "sleep-interval",
                                                "output-file",
                                                "machine-type-file",
                                                "config-file",
                                                "use-node-feature-api",
                                                "device-discovery-strategy",
                                                "driver-root-ctr-path",
                                                "kubeconfig",
                                                "kube-api-qps",
                                                "kube-api-burst",
                                                "namespace",
                                                "node-name",
                                                "pod-name",
                                                "node-labels",
                                                "pci-labels"};

// Variables that hold for feature discovery before those which all programs read.
constexpr std::pair<std::string_view, std::string_view> kOwnVariables[] = {
    {"GFD_MIG_STRATEGY", "MIG_STRATEGY"},
    {"GFD_FAIL_ON_INIT_ERROR", "FAIL_ON_INIT_ERROR"},
    {"GFD_CONFIG_FILE", "CONFIG_FILE"},
    {"GFD_USE_NODE_FEATURE_API", "USE_NODE_FEATURE_API"},
};

void print_json(const labels::Labels& labels) {
  std::cout << '{';
  std::string_view comma;
  for (const auto& [key, value] : labels) {
    std::cout << comma << "\n  " << json_quote(key) << ": " << json_quote(value);
    comma = ",";
  }
  std::cout << "\n}\n";
}

void print_discovery_help() {
  std::cout << "usage: gpu-feature-discovery [FLAGS]\n\nLabels this node for its GPUs. Also takes "
               "the other flags of kerf agent.\n";
  for (std::string_view name : kDiscoveryFlags) {
    const config::FlagSpec& flag = *config::find_flag(name);
    std::cout << "\n  --" << flag.name;
    for (std::string_view alias : flag.aliases) {
      std::cout << (alias.size() == 1 ? ", -" : ", --") << alias;
    }
    if (!flag.default_text.empty()) std::cout << "  [" << flag.default_text << "]";
    std::cout << "\n      " << flag.help << "\n      env:";
    for (std::string_view env : flag.env) {
      for (const auto& [own, common] : kOwnVariables) {
        if (env == common) std::cout << ' ' << own;
      }
      std::cout << ' ' << env;
    }
    std::cout << '\n';
  }
}

// What is set for all programs and for this one: the latter.
config::Env own_environment(const char* const* environment) {
  config::Env env = config::env_from(environment);
  for (const auto& [own, common] : kOwnVariables) {
    if (auto found = env.find(own); found != env.end()) env[std::string(common)] = found->second;
  }
  return env;
}

int complain(const Error& error) {
  std::cerr << "kerf labels: " << error.text() << '\n';
  return 1;
}

}  // namespace

int run_labels(Args args, const char* const* environment) {
  if (given(args, "--help", "-h")) {
    std::cout << kUsage;
    return 0;
  }
  std::vector<std::string> rest(args.begin(), args.end());
  bool json = std::erase(rest, "--json") > 0;
  Result<config::FlagValues> flags = config::parse_arguments(rest);
  if (!flags) {
    std::cerr << "kerf labels: " << flags.error().text() << '\n';
    return 2;
  }
  Result<config::Effective> effective =
      config::load(*flags, config::env_from(environment),
                   [](const std::string& path) { return read_file(path); });
  if (!effective) return complain(effective.error());
  const config::Config& config = effective->config;
  Roots roots = Roots::below(effective->process.root);
  DriverView view =
      look_at_driver(effective->process.nvml_library, config.container_driver_root, roots);
  if (!view.why_not.empty()) std::cerr << "kerf labels: " << view.why_not << '\n';
  auto plan = plan::make_plan(std::make_shared<const inventory::Snapshot>(std::move(view.snapshot)),
                              config, 1);
  if (!plan) return complain(plan.error());
  labels::Found found = labels::read_facts(roots, config.labels.machine_type_file);
  Result<labels::Made> made =
      labels::make_labels(*plan, found.facts, system_clock().wall_ms() / 1000);
  if (!made) return complain(made.error());
  for (const auto& warnings : {found.warnings, made->warnings}) {
    for (const std::string& warning : warnings) std::cerr << "kerf labels: " << warning << '\n';
  }
  json ? print_json(made->labels) : void(std::cout << labels::to_text(made->labels));
  return !view.why_not.empty() && config.fail_on_init_error ? 1 : 0;
}

int run_feature_discovery(Args args, const char* const* environment) {
  if (answer_usual(args, print_discovery_help)) return 0;
  Result<config::FlagValues> flags = config::parse_arguments(args);
  if (!flags) {
    std::cerr << "gpu-feature-discovery: " << flags.error().text() << '\n';
    return 2;
  }
  config::Env env = own_environment(environment);
  // No pages: a pod that also runs the device plugin has them on the port already.
  if (!env.contains("KERF_COMPONENTS")) flags->try_emplace("components", 1, "labels");
  if (!env.contains("KERF_LISTEN")) flags->try_emplace("listen", 1, "none");
  return agent::serve(
      {std::move(*flags), std::move(env), std::string(kVersion), std::string(kCompatibility)});
}

}  // namespace kerf::cli
