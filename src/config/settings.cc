#include "config/settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/strings.h"
#include "config/duration.h"
#include "config/flags_exporter.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

using Words = std::vector<std::string>;

// The contract's sentence for a word that is not allowed.
std::string refusal(const FlagSpec& spec, std::string_view word) {
  if (spec.name == "mig-strategy") return fmt::format("unknown MIG strategy: {}", word);
  if (spec.name == "device-list-strategy") {
    return fmt::format("invalid --{} option: invalid strategy: {}", spec.name, word);
  }
  if (spec.name == "device-discovery-strategy") {
    return fmt::format("invalid --{} option {}", spec.name, word);
  }
  return fmt::format("invalid --{} option: {}", spec.name, word);
}

std::optional<Problem> check_word(const FlagSpec& spec, const std::string& word) {
  const auto& allowed = spec.allowed;
  if (allowed.empty() || std::find(allowed.begin(), allowed.end(), word) != allowed.end()) {
    return {};
  }
  std::string hint = fmt::format("allowed: {}", fmt::join(allowed, ", "));
  if (word.find(',') != std::string::npos && spec.kind == FlagKind::kStringList) {
    hint = "in a file, write several as a list: [" + word + "]";
  }
  return Problem{refusal(spec, printable(word)), std::move(hint)};
}

std::optional<Problem> check_words(const FlagSpec& spec, const Value& value) {
  if (const auto* word = std::get_if<std::string>(&value)) return check_word(spec, *word);
  if (const auto* words = std::get_if<Words>(&value)) {
    for (const std::string& word : *words) {
      if (std::optional<Problem> problem = check_word(spec, word)) return problem;
    }
  }
  return {};
}

std::optional<Problem> check_supported(const FlagSpec& spec, const Value& value) {
  if (spec.name == "device-list-strategy") {
    const Words& words = std::get<Words>(value);
    if (words.empty()) {
      return Problem{"invalid --device-list-strategy option: no strategy given",
                     "write envvar, volume-mounts, cdi-annotations or cdi-cri"};
    }
  }
  if (spec.name == "device-discovery-strategy" && std::get<std::string>(value) == "tegra") {
    return Problem{"device discovery strategy tegra is not supported by this release",
                   "use auto or nvml"};
  }
  if (spec.name == "components" && std::get<Words>(value).empty()) {
    return Problem{"no component given", fmt::format("write {}", spec.default_text)};
  }
  return {};
}

std::optional<Problem> check_imex(const FlagSpec& spec, const Value& value) {
  if (spec.name != "imex-channel-ids") return {};
  const auto& ids = std::get<std::vector<int>>(value);
  if (ids.empty() || (ids.size() == 1 && ids[0] == 0)) return {};
  return Problem{fmt::format("invalid IMEX channel IDs: invalid IMEX config: channelIDs must be [] "
                             "or [0]; found [{}]",
                             fmt::join(ids, " ")),
                 "write [] or [0]"};
}

// A CDI annotation's name, the part after the '/', has at most 63 characters; 57 of them are ours.
std::optional<Problem> check_cdi(const FlagSpec& spec, const Value& value) {
  if (spec.name == "cdi-annotation-prefix") {
    const std::string& prefix = std::get<std::string>(value);
    const std::string name = prefix.substr(prefix.rfind('/') + 1);
    const bool begins = name.empty() || std::isalnum(static_cast<unsigned char>(name[0])) != 0;
    const bool clean = std::ranges::all_of(prefix, [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
    });
    if (begins && clean && name.size() <= 6) return {};
    return Problem{
        fmt::format("invalid --cdi-annotation-prefix option: {}", printable(prefix)),
        "write a DNS name and a slash, as cdi.k8s.io/; at most 6 characters may follow the slash"};
  }
  if (spec.name == "nvidia-cdi-hook-path") {
    const std::string& path = std::get<std::string>(value);
    if (path.empty() || path.starts_with('/')) return {};
    return Problem{fmt::format("invalid --nvidia-cdi-hook-path option: {}", printable(path)),
                   "write the hook program's absolute path on the host"};
  }
  return {};
}

// A decimal number from 0 to a million.
std::optional<double> number_of(std::string_view text) {
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || !(number >= 0 && number <= 1e6)) return {};
  return number;
}

std::optional<Problem> check_shape(const FlagSpec& spec, const Value& value) {
  if (spec.name == "listen") {
    const std::string& address = std::get<std::string>(value);
    if (address == "none") return {};
    std::size_t colon = address.rfind(':');
    std::string_view digits =
        std::string_view(address).substr(colon == std::string::npos ? address.size() : colon + 1);
    std::optional<std::uint64_t> port = parse_u64(digits);
    if (port && *port <= 65535) return {};
    return Problem{fmt::format("invalid --listen option: {}", printable(address)),
                   "write host:port, :port or none; the port is 0 to 65535"};
  }
  if (spec.name == "kube-api-qps" || spec.name == "kube-api-burst") {
    const std::string& text = std::get<std::string>(value);
    if (number_of(text) && (spec.name == "kube-api-qps" || parse_u64(text))) return {};
    return Problem{fmt::format("invalid --{} option: {}", spec.name, printable(text)),
                   "write a number from 0 to 1000000"};
  }
  if (spec.name == "sleep-interval") {
    Result<std::int64_t> duration = parse_duration(std::get<std::string>(value));
    if (duration) return {};
    return Problem{duration.error().what, duration.error().hint};
  }
  if (spec.name == "root" && !std::get<std::string>(value).starts_with('/')) {
    return Problem{
        fmt::format("invalid --root option: {}", printable(std::get<std::string>(value))),
        "write an absolute path"};
  }
  return {};
}

std::optional<Problem> check_power(const FlagSpec& spec, const Value& value) {
  auto problem_of = [](const Error& error) { return Problem{error.what, error.hint}; };
  if (spec.name == "power-limit") {
    const std::string& text = std::get<std::string>(value);
    auto amount = parse_power_amount(text);
    if (!text.empty() && !amount) return problem_of(amount.error());
  }
  if (spec.name == "power-reapply") {
    auto time = parse_reapply(std::get<std::string>(value));
    if (!time) return problem_of(time.error());
  }
  return {};
}

// Position of the word among the allowed ones; the enums of types.h are in the same order.
template <typename Enum>
Enum enum_of(const FlagSpec& spec, const std::string& word) {
  auto at = std::find(spec.allowed.begin(), spec.allowed.end(), word);
  return static_cast<Enum>(at - spec.allowed.begin());
}

bool store_api_limit(std::string_view flag, const Value& value, ProcessOptions& process) {
  if (flag != "kube-api-qps" && flag != "kube-api-burst") return false;
  double number = number_of(std::get<std::string>(value)).value_or(0);
  if (flag == "kube-api-qps") process.kube_api_qps = number;
  if (flag == "kube-api-burst") process.kube_api_burst = static_cast<unsigned>(number);
  return true;
}

// The flags of the labels component.
bool store_label_option(std::string_view flag, const Value& value, LabelOptions& options) {
  bool* truth = flag == "use-node-feature-api" ? &options.use_node_feature_api
                : flag == "oneshot"            ? &options.oneshot
                : flag == "no-timestamp"       ? &options.no_timestamp
                : flag == "node-labels"        ? &options.node_labels
                : flag == "pci-labels"         ? &options.pci_labels
                                               : nullptr;
  std::string* text = flag == "output-file"         ? &options.output_file
                      : flag == "machine-type-file" ? &options.machine_type_file
                                                    : nullptr;
  if (truth != nullptr) *truth = std::get<bool>(value);
  if (text != nullptr) *text = std::get<std::string>(value);
  bool is_interval = flag == "sleep-interval";
  if (is_interval) {
    options.interval_ns = parse_duration(std::get<std::string>(value)).value_or(0);
  }
  return truth != nullptr || text != nullptr || is_interval;
}

bool store_power_option(std::string_view flag, const Value& value, PowerOptions& options) {
  if (flag == "power-limit") {
    auto amount = parse_power_amount(std::get<std::string>(value));
    options.all.limit = amount ? std::optional(*amount) : std::nullopt;
  } else if (flag == "power-reapply") {
    if (auto time = parse_reapply(std::get<std::string>(value))) options.reapply_ns = *time;
  } else {
    return false;
  }
  return true;
}

// Flags whose value is stored as it is.
template <typename T>
struct Plain {
  std::string_view flag;
  T Config::* in_config = nullptr;
  T ProcessOptions::* in_process = nullptr;
};

constexpr Plain<bool> kBools[] = {
    {"fail-on-init-error", &Config::fail_on_init_error},
    {"pass-device-specs", &Config::pass_device_specs},
    {"gdrcopy-enabled", &Config::gdrcopy_enabled},
    {"gds-enabled", &Config::gds_enabled},
    {"mofed-enabled", &Config::mofed_enabled},
    {"imex-required", &Config::imex_required},
};

constexpr Plain<std::string> kStrings[] = {
    {"driver-root", &Config::driver_root},
    {"dev-root", &Config::dev_root},
    {"mps-root", &Config::mps_root},
    {"cdi-annotation-prefix", &Config::cdi_annotation_prefix},
    {"nvidia-cdi-hook-path", &Config::cdi_hook_path},
    {"driver-root-ctr-path", &Config::container_driver_root},
    {"disable-healthchecks", &Config::disable_health_checks},
    {"enable-healthchecks", &Config::enable_health_checks},
    {"config-file", nullptr, &ProcessOptions::config_file},
    {"kubelet-socket", nullptr, &ProcessOptions::kubelet_socket},
    {"pod-resources-socket", nullptr, &ProcessOptions::pod_resources_socket},
    {"listen", nullptr, &ProcessOptions::listen},
    {"mps-dir", nullptr, &ProcessOptions::mps_dir},
    {"nvml-library", nullptr, &ProcessOptions::nvml_library},
    {"root", nullptr, &ProcessOptions::root},
    {"state-dir", nullptr, &ProcessOptions::state_dir},
    {"log-level", nullptr, &ProcessOptions::log_level},
    {"log-format", nullptr, &ProcessOptions::log_format},
    {"node-name", nullptr, &ProcessOptions::node_name},
    {"config-file-srcdir", nullptr, &ProcessOptions::config_srcdir},
    {"node-label", nullptr, &ProcessOptions::node_label},
    {"default-config", nullptr, &ProcessOptions::default_config},
    {"kubeconfig", nullptr, &ProcessOptions::kubeconfig},
    {"namespace", nullptr, &ProcessOptions::name_space},
    {"pod-name", nullptr, &ProcessOptions::pod_name},
};

constexpr Plain<Words> kLists[] = {
    {"cdi-feature-flags", &Config::cdi_feature_flags},
    {"cdi-disable-hooks", &Config::cdi_disable_hooks},
    {"components", nullptr, &ProcessOptions::components},
    {"fallback-strategies", nullptr, &ProcessOptions::fallback_strategies},
};

template <typename T, std::size_t n>
bool store_plain(const Plain<T> (&table)[n], std::string_view flag, const Value& value,
                 Effective& effective) {
  for (const Plain<T>& row : table) {
    if (row.flag != flag) continue;
    const T& plain = std::get<T>(value);
    if (row.in_config != nullptr) effective.config.*row.in_config = plain;
    if (row.in_process != nullptr) effective.process.*row.in_process = plain;
    return true;
  }
  return false;
}

void store_word(const FlagSpec& spec, const Value& value, Config& config) {
  const auto* word = std::get_if<std::string>(&value);
  if (spec.name == "mig-strategy") {
    config.mig_strategy = enum_of<MigStrategy>(spec, *word);
  } else if (spec.name == "device-id-strategy") {
    config.device_id_strategy = enum_of<DeviceIdStrategy>(spec, *word);
  } else if (spec.name == "shared-devices-allocation-policy") {
    config.allocation_policy = enum_of<AllocationPolicy>(spec, *word);
  } else if (spec.name == "device-discovery-strategy") {
    config.discovery = enum_of<DiscoveryStrategy>(spec, *word);
  } else if (spec.name == "device-list-strategy") {
    config.device_list_strategies.clear();
    for (const std::string& one : std::get<Words>(value)) {
      auto strategy = enum_of<DeviceListStrategy>(spec, one);
      auto& all = config.device_list_strategies;
      if (std::find(all.begin(), all.end(), strategy) == all.end()) all.push_back(strategy);
    }
  } else if (spec.name == "imex-channel-ids") {
    config.imex_channel_ids = std::get<std::vector<int>>(value);
  }
}

}  // namespace

std::optional<Problem> apply(const FlagSpec& spec, const Value& value, Effective& effective) {
  using Check = std::optional<Problem> (*)(const FlagSpec&, const Value&);
  for (Check check :
       {Check(check_words), Check(check_supported), Check(check_imex), Check(check_cdi),
        Check(check_shape), Check(check_power), Check(check_exporter)}) {
    if (std::optional<Problem> problem = check(spec, value)) return problem;
  }
  bool stored = store_plain(kBools, spec.name, value, effective) ||
                store_plain(kStrings, spec.name, value, effective) ||
                store_plain(kLists, spec.name, value, effective) ||
                store_api_limit(spec.name, value, effective.process) ||
                store_label_option(spec.name, value, effective.config.labels) ||
                store_power_option(spec.name, value, effective.config.power) ||
                store_exporter_option(spec.name, value, effective.process.exporter);
  if (!stored) store_word(spec, value, effective.config);
  return {};
}

bool allows_empty(const FlagSpec& spec) {
  return spec.allowed.empty() && spec.name != "listen" && spec.name != "root" &&
         spec.name != "sleep-interval" && spec.name != "power-reapply" &&
         !is_exporter_number(spec) && !spec.name.starts_with("kube-api-");
}

}  // namespace kerf::config
