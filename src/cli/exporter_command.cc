#include "cli/exporter_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>
#include <utility>

#include "agent/agent.h"
#include "base/log.h"
#include "base/strings.h"
#include "cli/usual.h"
#include "cli/version.h"
#include "config/flags.h"
#include "config/load.h"

namespace kerf::cli {
namespace {

using Args = std::span<const std::string>;

// A flag of the original and the agent's flag of the same meaning.
struct Flag {
  std::string_view name;
  std::string_view letter;  // empty: none
  std::string_view agent;   // empty: accepted, without effect
  bool is_switch = false;
  std::string_view env = {};  // of a flag without effect
  std::string_view why = {};  // it has none
};

constexpr std::string_view kNoDcgm = "there is no DCGM behind it: figures come from NVML";
constexpr std::string_view kNoDump = "nothing is dumped; see --log-level=debug";

constexpr Flag kFlags[] = {
    {"collectors", "f", "exporter-collectors"},
    {"address", "a", "exporter-address"},
    {"collect-interval", "c", "exporter-collect-interval"},
    {"kubernetes", "k", "exporter-kubernetes", true},
    {"kubernetes-enable-pod-labels", "", "exporter-kubernetes-enable-pod-labels", true},
    {"kubernetes-enable-pod-uid", "", "exporter-kubernetes-enable-pod-uid", true},
    {"kubernetes-pod-label-allowlist-regex", "", "exporter-kubernetes-pod-label-allowlist-regex"},
    {"kubernetes-virtual-gpus", "", "exporter-kubernetes-virtual-gpus", true},
    {"use-old-namespace", "o", "exporter-use-old-namespace", true},
    {"configmap-data", "m", "exporter-configmap-data"},
    {"devices", "d", "exporter-devices"},
    {"no-hostname", "n", "exporter-no-hostname", true},
    {"web-config-file", "", "exporter-web-config-file"},
    {"xid-count-window-size", "x", "exporter-xid-count-window-size"},
    {"clock-events-count-window-size", "", "exporter-clock-events-count-window-size"},
    {"replace-blanks-in-model-name", "", "exporter-replace-blanks-in-model-name", true},
    {"pod-resources-kubelet-socket", "", "pod-resources-socket"},
    {"hpc-job-mapping-dir", "", "exporter-hpc-job-mapping-dir"},
    {"hostname-label", "", "exporter-hostname-label"},
    {"shared-figures", "", "exporter-shared-figures"},
    {"ignore-unknown-counters", "", "exporter-ignore-unknown-counters", true},
    // Without effect.
    {"kubernetes-gpu-id-type", "", "", false, "DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE",
     "device ids of every form are recognised"},
    {"nvidia-resource-names", "", "", false, "NVIDIA_RESOURCE_NAMES",
     "resources of every name are recognised by their devices"},
    {"kubernetes-enable-dra", "", "", true, "KUBERNETES_ENABLE_DRA",
     "devices of resource claims are not attributed in this release"},
    {"cpu-devices", "p", "", false, "DCGM_EXPORTER_CPU_DEVICES_STR", kNoDcgm},
    {"switch-devices", "s", "", false, "DCGM_EXPORTER_OTHER_DEVICES_STR", kNoDcgm},
    {"remote-hostengine-info", "r", "", false, "DCGM_REMOTE_HOSTENGINE_INFO", kNoDcgm},
    // The original's word for GPUs that are not there.
    {"\x66"
     "ake-gpus",
     "", "", true, "DCGM_EXPORTER_USE_FAKE_GPUS",
     "GPUs are those of the NVML library: see --nvml-library"},
    {"enable-dcgm-log", "", "", true, "DCGM_EXPORTER_ENABLE_DCGM_LOG", kNoDcgm},
    {"dcgm-log-level", "", "", false, "DCGM_EXPORTER_DCGM_LOG_LEVEL", kNoDcgm},
    {"web-systemd-socket", "", "", true, "DCGM_EXPORTER_SYSTEMD_SOCKET",
     "sockets of systemd are not taken over"},
    {"disable-startup-validate", "", "", true, "DISABLE_STARTUP_VALIDATE",
     "nothing is validated that could be left out"},
    {"dump-enabled", "", "", true, "DCGM_EXPORTER_DUMP_ENABLED", kNoDump},
    {"dump-directory", "", "", false, "DCGM_EXPORTER_DUMP_DIRECTORY", kNoDump},
    {"dump-retention", "", "", false, "DCGM_EXPORTER_DUMP_RETENTION", kNoDump},
    {"dump-compression", "", "", true, "DCGM_EXPORTER_DUMP_COMPRESSION", kNoDump},
    {"enable-gpu-bind-unbind-watch", "", "", true, "DCGM_EXPORTER_ENABLE_GPU_BIND_UNBIND_WATCH",
     "GPUs that come and go are always noticed"},
    {"gpu-bind-unbind-poll-interval", "", "", false, "DCGM_EXPORTER_GPU_BIND_UNBIND_POLL_INTERVAL",
     "GPUs that come and go are always noticed"},
    {"enable-pprof", "", "", true, "DCGM_EXPORTER_ENABLE_PPROF", "it is no Go program"},
};

const Flag* find(std::string_view name) {
  const auto* found = std::ranges::find_if(kFlags, [&](const Flag& flag) {
    return flag.name == name || (!flag.letter.empty() && flag.letter == name);
  });
  return found == std::end(kFlags) ? nullptr : found;
}

void print_help() {
  std::cout << "usage: dcgm-exporter [FLAGS]\n\nServes metrics of this machine's GPUs as NVIDIA's "
               "program of that name does, without\nDCGM. Also takes the other flags of kerf "
               "agent.\n";
  for (const Flag& flag : kFlags) {
    std::cout << "\n  --" << flag.name;
    if (!flag.letter.empty()) std::cout << ", -" << flag.letter;
    const config::FlagSpec* spec = flag.agent.empty() ? nullptr : config::find_flag(flag.agent);
    if (spec == nullptr) {
      std::cout << "\n      without effect: " << flag.why << "\n      env: " << flag.env << '\n';
      continue;
    }
    if (!spec->default_text.empty()) std::cout << "  [" << spec->default_text << "]";
    std::string_view help = spec->help;
    if (help.starts_with("exporter: ")) help.remove_prefix(10);
    std::cout << "\n      " << help << "\n      env:";
    for (std::string_view env : spec->env) std::cout << ' ' << env;
    std::cout << '\n';
  }
  std::cout << "\n  --debug, --log-format text|json\n      env: DCGM_EXPORTER_DEBUG "
               "DCGM_EXPORTER_LOG_FORMAT\n";
}

bool is_true(std::string_view text) {
  Result<config::Value> value = config::parse_value(config::FlagKind::kBool, text);
  return value && std::get<bool>(*value);
}

std::string agents_log_format(std::string_view word) {
  return word == "text" ? "logfmt" : std::string(word);
}

// Variables that the agent knows under another name, and those without effect.
void take_environment(config::Env& env, std::vector<std::string>& notes) {
  auto value = [&](const char* name) {
    auto found = env.find(name);
    return found == env.end() ? std::string() : found->second;
  };
  if (is_true(value("DCGM_EXPORTER_DEBUG"))) env.try_emplace("KERF_LOG_LEVEL", "debug");
  if (const std::string format = value("DCGM_EXPORTER_LOG_FORMAT"); !format.empty()) {
    env.try_emplace("KERF_LOG_FORMAT", agents_log_format(format));
  }
  for (const Flag& flag : kFlags) {
    if (flag.env.empty()) continue;
    auto found = env.find(flag.env);
    if (found == env.end() || found->second.empty()) continue;
    if (flag.is_switch && !is_true(found->second)) continue;
    notes.push_back(std::string(flag.env) + " has no effect: " + std::string(flag.why));
  }
}

}  // namespace

Result<std::vector<std::string>> exporter_arguments(Args args, std::vector<std::string>& notes) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string_view word = args[i];
    const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(dashes, equals - dashes);
    const bool has_value = equals != std::string_view::npos;
    std::string value(has_value ? word.substr(equals + 1) : std::string_view());
    if (dashes == 0 || dashes > 2) {
      return fail(Kind::kInvalid, "unexpected argument", std::string(word), "see --help");
    }
    if (name == "debug") {
      if (!has_value || is_true(value)) out.emplace_back("--log-level=debug");
      continue;
    }
    const Flag* flag = find(name);
    const bool is_format = name == "log-format";
    if (flag == nullptr && !is_format) {
      // Of the agent, or unknown: that is its business.
      out.emplace_back(word);
      const config::FlagSpec* spec = config::find_flag(name);
      const bool takes = spec != nullptr && spec->kind != config::FlagKind::kBool && !has_value;
      if (takes && i + 1 < args.size()) out.push_back(args[++i]);
      continue;
    }
    const bool is_switch = flag != nullptr && flag->is_switch;
    if (!has_value && !is_switch) {
      if (i + 1 >= args.size()) {
        return fail(Kind::kInvalid, "flag needs a value", std::string(word), "see --help");
      }
      value = args[++i];
    }
    if (!has_value && is_switch) value = "true";
    if (is_format) {
      out.push_back("--log-format=" + agents_log_format(value));
    } else if (flag->agent.empty()) {
      notes.push_back("--" + std::string(flag->name) + " has no effect: " + std::string(flag->why));
    } else {
      out.push_back("--" + std::string(flag->agent) + "=" + value);
    }
  }
  return out;
}

int run_exporter(Args args, const char* const* environment) {
  if (answer_usual(args, print_help)) return 0;
  std::vector<std::string> notes;
  Result<std::vector<std::string>> words = exporter_arguments(args, notes);
  Result<config::FlagValues> flags =
      words ? config::parse_arguments(*words) : Result<config::FlagValues>(fail(words.error()));
  if (!flags) {
    std::cerr << "dcgm-exporter: " << flags.error().text() << '\n';
    return 2;
  }
  config::Env env = config::env_from(environment);
  take_environment(env, notes);
  for (const std::string& note : notes) log::warn("exporter", note);
  // No pages and no kubelet: the device plugin of the same pod has them.
  if (!env.contains("KERF_COMPONENTS")) flags->try_emplace("components", 1, "exporter");
  if (!env.contains("KERF_LISTEN")) flags->try_emplace("listen", 1, "none");
  // Metrics begin when a driver comes.
  if (!env.contains("FAIL_ON_INIT_ERROR")) flags->try_emplace("fail-on-init-error", 1, "false");
  return agent::serve(
      {std::move(*flags), std::move(env), std::string(kVersion), std::string(kCompatibility)});
}

}  // namespace kerf::cli
