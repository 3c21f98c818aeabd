#include "cli/config_manager_command.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/config_manager.h"
#include "base/strings.h"
#include "cli/usual.h"
#include "cli/version.h"
#include "config/flags.h"
#include "config/load.h"

namespace kerf::cli {
namespace {

using config::FlagKind;

struct Flag {
  std::string_view name, env, default_text, help;
  FlagKind kind = FlagKind::kString;
};

constexpr Flag kFlags[] = {
    {"oneshot", "ONESHOT", "false", "link the node's configuration once and end", FlagKind::kBool},
    {"kubeconfig", "KUBECONFIG", "",
     "how to reach the API server; empty: as the pod's service account"},
    {"node-name", "NODE_NAME", "", "name of this node; required"},
    {"node-label", "NODE_LABEL", "nvidia.com/device-plugin.config",
     "the label whose value names the configuration"},
    {"config-file-srcdir", "CONFIG_FILE_SRCDIR", "", "directory of named configurations; required"},
    {"config-file-dst", "CONFIG_FILE_DST", "", "the link to keep on one of them; required"},
    {"default-config", "DEFAULT_CONFIG", "", "the configuration of nodes without that label"},
    {"fallback-strategies", "FALLBACK_STRATEGIES", "",
     "without label and default: named, single, empty, in the order given", FlagKind::kStringList},
    {"send-signal", "SEND_SIGNAL", "true", "tell the process that reads it", FlagKind::kBool},
    {"signal", "SIGNAL", "1", "by this signal's number"},
    {"process-to-signal", "PROCESS_TO_SIGNAL", "nvidia-device-plugin", "its argv[0]"},
};

void print_help() {
  std::cout << "usage: kerf config-manager [FLAGS]\n\nKeeps a link on the configuration that the "
               "node's label chooses. `kerf agent\n--config-file-srcdir` does without.\n";
  for (const Flag& flag : kFlags) {
    std::cout << "\n  --" << flag.name;
    if (!flag.default_text.empty()) std::cout << "  [" << flag.default_text << "]";
    std::cout << "\n      " << flag.help << "\n      env: " << flag.env << '\n';
  }
}

using Texts = std::map<std::string_view, std::string>;

const Flag* find(std::string_view name) {
  auto found = std::ranges::find(kFlags, name, &Flag::name);
  return found == std::end(kFlags) ? nullptr : found;
}

// What was given: environment first, then arguments over it.
Result<Texts> read(std::span<const std::string> args, const config::Env& env) {
  Texts texts;
  for (const Flag& flag : kFlags) {
    texts[flag.name] = flag.default_text;
    auto found = env.find(flag.env);
    if (found == env.end()) continue;
    // As NVIDIA's: an empty variable makes a bool false and leaves a number alone.
    if (flag.kind == FlagKind::kBool && found->second.empty()) {
      texts[flag.name] = "false";
    } else if (flag.name != "signal" || !found->second.empty()) {
      texts[flag.name] = found->second;
    }
  }
  std::map<std::string_view, std::vector<std::string>> lists;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string_view word = args[i];
    std::size_t dashes = std::min<std::size_t>(word.find_first_not_of('-'), word.size());
    std::size_t equals = word.find('=');
    const Flag* flag = find(word.substr(dashes, equals - dashes));
    if (dashes == 0 || dashes > 2 || flag == nullptr) {
      return fail(Kind::kInvalid, "unknown argument", args[i], "see kerf config-manager --help");
    }
    bool has_value = equals != std::string_view::npos;
    if (!has_value && flag->kind != FlagKind::kBool && i + 1 == args.size()) {
      return fail(Kind::kInvalid, "flag needs a value", args[i], "write --FLAG=VALUE");
    }
    std::string value = has_value                       ? std::string(word.substr(equals + 1))
                        : flag->kind == FlagKind::kBool ? "true"
                                                        : args[++i];
    if (flag->kind == FlagKind::kStringList) {
      lists[flag->name].push_back(value);
      value = join(lists[flag->name], ",");
    }
    texts[flag->name] = value;
  }
  return texts;
}

Result<bool> truth(const Texts& texts, std::string_view name) {
  Result<config::Value> value = config::parse_value(FlagKind::kBool, texts.at(name));
  if (value) return std::get<bool>(*value);
  return fail(Kind::kInvalid, value.error().what, "--" + std::string(name), value.error().hint);
}

Result<agent::ConfigManagerOptions> options_from(const Texts& texts, const config::Env& env) {
  for (std::string_view name :
       {"node-name", "node-label", "config-file-srcdir", "config-file-dst"}) {
    if (texts.at(name).empty()) {
      return fail(Kind::kInvalid, "invalid <" + std::string(name) + ">: must not be empty string",
                  "--" + std::string(name),
                  "set it, or " + std::string(find(name)->env) + " in the environment");
    }
  }
  agent::ConfigManagerOptions out;
  Result<bool> oneshot = truth(texts, "oneshot");
  if (!oneshot) return fail(std::move(oneshot.error()));
  Result<bool> send = truth(texts, "send-signal");
  if (!send) return fail(std::move(send.error()));
  std::optional<std::uint64_t> number = parse_u64(texts.at("signal"));
  if (!number || *number == 0 || *number > 64) {
    return fail(Kind::kInvalid, "is not a signal's number", "--signal", "write 1 to 64");
  }
  for (const std::string& word : split(texts.at("fallback-strategies"), ',')) {
    std::string_view plain = trim(word);
    if (!plain.empty()) out.named.choices.fallbacks.emplace_back(plain);
  }
  out.roots = Roots::below("/");
  Result<kube::Access> access = kube::find_access(texts.at("kubeconfig"), env, out.roots);
  if (!access) return fail(std::move(access.error()));
  out.named.access = std::move(*access);
  out.named.user_agent = "kerf-config-manager/" + std::string(kVersion);
  out.named.node = texts.at("node-name");
  out.named.label = texts.at("node-label");
  out.named.directory = texts.at("config-file-srcdir");
  out.named.choices.default_name = texts.at("default-config");
  out.destination = texts.at("config-file-dst");
  out.oneshot = *oneshot;
  out.send_signal = *send;
  out.signal = static_cast<int>(*number);
  out.process = texts.at("process-to-signal");
  return out;
}

}  // namespace

int run_config_manager(std::span<const std::string> args, const char* const* environment) {
  if (answer_usual(args, print_help)) return 0;
  config::Env env = config::env_from(environment);
  Result<Texts> texts = read(args, env);
  if (!texts) {
    std::cerr << "kerf config-manager: " << texts.error().text() << '\n';
    return 2;
  }
  Result<agent::ConfigManagerOptions> options = options_from(*texts, env);
  if (!options) {
    std::cerr << "kerf config-manager: " << options.error().text() << '\n';
    return 1;
  }
  return agent::manage_config(std::move(*options));
}

}  // namespace kerf::cli
