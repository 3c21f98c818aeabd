#include "config/flags_exporter.h"

#include <algorithm>
#include <regex>
#include <string>
#include <variant>

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

using enum FlagKind;

constexpr std::int64_t kLeastInterval = 100;        // ms
constexpr std::int64_t kGreatestTime = 86'400'000;  // ms, a day
constexpr std::string_view kPatterns = "exporter-kubernetes-pod-label-allowlist-regex";

struct Row {
  std::string_view flag;  // without "exporter-"
  std::string_view env;
  FlagKind kind;
  std::string_view by_default;
  std::string_view help;
};

constexpr Row kRows[] = {
    {"collectors", "DCGM_EXPORTER_COLLECTORS", kString, "/etc/dcgm-exporter/default-counters.csv",
     "exporter: list of counters; the lists of NVIDIA's image are built in"},
    {"configmap-data", "DCGM_EXPORTER_CONFIGMAP_DATA", kString, "none",
     "exporter: ConfigMap with the list under the key metrics, as namespace:name; none: the file"},
    {"address", "DCGM_EXPORTER_LISTEN", kString, ":9400",
     "exporter: address of its /metrics and /health: host:port or :port"},
    {"collect-interval", "DCGM_EXPORTER_INTERVAL", kString, "30000",
     "exporter: milliseconds between two readings of the GPUs"},
    {"devices", "DCGM_EXPORTER_DEVICES_STR", kString, "f",
     "exporter: f (MIG instances where there are any, else GPUs), g or i (only these), g:0,2-3"},
    {"kubernetes", "DCGM_EXPORTER_KUBERNETES", kBool, "false",
     "exporter: say which pod holds a GPU"},
    {"kubernetes-virtual-gpus", "KUBERNETES_VIRTUAL_GPUS", kBool, "false",
     "exporter: a line for every pod that shares a GPU"},
    {"shared-figures", "KERF_EXPORTER_SHARED_FIGURES", kString, "own",
     "exporter: lines of pods that share a GPU say what is their own, or the device's figure "
     "(kerf)"},
    {"kubernetes-enable-pod-labels", "DCGM_EXPORTER_KUBERNETES_ENABLE_POD_LABELS", kBool, "false",
     "exporter: add the labels of the pod"},
    {"kubernetes-enable-pod-uid", "DCGM_EXPORTER_KUBERNETES_ENABLE_POD_UID", kBool, "false",
     "exporter: add the UID of the pod"},
    {"kubernetes-pod-label-allowlist-regex", "DCGM_EXPORTER_KUBERNETES_POD_LABEL_ALLOWLIST_REGEX",
     kStringList, "", "exporter: regular expressions for the labels to add; empty: all"},
    {"use-old-namespace", "DCGM_EXPORTER_USE_OLD_NAMESPACE", kBool, "false",
     "exporter: labels uuid, pod_name, pod_namespace, container_name as in its first versions"},
    {"no-hostname", "DCGM_EXPORTER_NO_HOSTNAME", kBool, "false", "exporter: leave out the host"},
    {"hostname-label", "KERF_EXPORTER_HOSTNAME_LABEL", kString, "Hostname",
     "exporter: how the label with the host is spelled; newer versions write hostname (kerf)"},
    {"replace-blanks-in-model-name", "DCGM_EXPORTER_REPLACE_BLANKS_IN_MODEL_NAME", kBool, "false",
     "exporter: dashes for blanks in the label modelName"},
    {"xid-count-window-size", "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", kString, "300000",
     "exporter: milliseconds that DCGM_EXP_XID_ERRORS_COUNT looks back"},
    {"clock-events-count-window-size", "DCGM_EXPORTER_CLOCK_EVENTS_COUNT_WINDOW_SIZE", kString,
     "300000", "exporter: milliseconds that DCGM_EXP_CLOCK_EVENTS_COUNT looks back"},
    {"web-config-file", "DCGM_EXPORTER_WEB_CONFIG_FILE", kString, "",
     "exporter: TLS and passwords, in the format of Prometheus's exporter-toolkit"},
    {"hpc-job-mapping-dir", "DCGM_HPC_JOB_MAPPING_DIR", kString, "",
     "exporter: directory that says which job runs on which GPU; empty: none"},
    {"ignore-unknown-counters", "KERF_EXPORTER_IGNORE_UNKNOWN_COUNTERS", kBool, "false",
     "exporter: leave unknown fields out instead of refusing the list (kerf)"},
};

constexpr std::string_view kPrefix = "exporter-";
constexpr std::string_view kHostLabels[] = {"Hostname", "hostname", "both"};
constexpr std::string_view kSharedFigures[] = {"own", "device"};

// Names with the prefix, kept for as long as the program runs.
const std::vector<std::string>& names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> out;
    for (const Row& row : kRows) out.push_back(std::string(kPrefix) + std::string(row.flag));
    return out;
  }();
  return kNames;
}

bool is_time(std::string_view flag) {
  return flag == "exporter-collect-interval" || flag == "exporter-xid-count-window-size" ||
         flag == "exporter-clock-events-count-window-size";
}

std::optional<Problem> check_time(const FlagSpec& spec, const std::string& text) {
  const std::optional<std::uint64_t> number = parse_u64(text);
  const std::int64_t least = spec.name == "exporter-collect-interval" ? kLeastInterval : 1;
  if (number && *number >= static_cast<std::uint64_t>(least) &&
      *number <= static_cast<std::uint64_t>(kGreatestTime)) {
    return {};
  }
  return Problem{fmt::format("invalid --{} option: {}", spec.name, printable(text)),
                 fmt::format("write milliseconds, {} to {}", least, kGreatestTime)};
}

std::optional<Problem> check_address(const FlagSpec& spec, const std::string& text) {
  const std::size_t colon = text.rfind(':');
  const std::optional<std::uint64_t> port =
      colon == std::string::npos ? std::nullopt
                                 : parse_u64(std::string_view(text).substr(colon + 1));
  if (port && *port <= 65535) return {};
  return Problem{fmt::format("invalid --{} option: {}", spec.name, printable(text)),
                 "write host:port or :port; the port is 0 to 65535"};
}

std::optional<Problem> check_patterns(const FlagSpec& spec, const std::vector<std::string>& all) {
  for (const std::string& pattern : all) {
    try {
      const std::regex compiled(pattern, std::regex::ECMAScript);
    } catch (const std::regex_error&) {
      return Problem{fmt::format("invalid --{} option: {}", spec.name, printable(pattern)),
                     "write regular expressions, separated by commas"};
    }
  }
  return {};
}

}  // namespace

void add_exporter_flags(std::vector<FlagSpec>& table) {
  for (std::size_t i = 0; i < std::size(kRows); ++i) {
    const Row& row = kRows[i];
    FlagSpec spec;
    spec.name = names()[i];
    spec.env = {row.env};
    spec.kind = row.kind;
    spec.default_text = row.by_default;
    spec.help = row.help;
    if (row.flag == "hostname-label") spec.allowed.assign(kHostLabels, std::end(kHostLabels));
    if (row.flag == "shared-figures") {
      spec.allowed.assign(kSharedFigures, std::end(kSharedFigures));
    }
    table.push_back(std::move(spec));
  }
}

std::optional<Problem> check_exporter(const FlagSpec& spec, const Value& value) {
  if (!spec.name.starts_with(kPrefix)) return {};
  if (spec.name == kPatterns) {
    return check_patterns(spec, std::get<std::vector<std::string>>(value));
  }
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return {};
  if (is_time(spec.name)) return check_time(spec, *text);
  if (spec.name == "exporter-address") return check_address(spec, *text);
  const bool is_map = spec.name == "exporter-configmap-data";
  if (is_map && *text != "none" && split(*text, ':').size() != 2) {
    return Problem{fmt::format("invalid --{} option: {}", spec.name, printable(*text)),
                   "write namespace:name, or none"};
  }
  return {};
}

bool is_exporter_number(const FlagSpec& spec) {
  return is_time(spec.name) || spec.name == "exporter-address";
}

bool store_exporter_option(std::string_view flag, const Value& value, ExporterOptions& options) {
  if (!flag.starts_with(kPrefix)) return false;
  flag.remove_prefix(kPrefix.size());
  if (const bool* truth = std::get_if<bool>(&value)) {
    bool* target = flag == "kubernetes"                     ? &options.kubernetes
                   : flag == "kubernetes-virtual-gpus"      ? &options.virtual_gpus
                   : flag == "kubernetes-enable-pod-labels" ? &options.pod_labels
                   : flag == "kubernetes-enable-pod-uid"    ? &options.pod_uid
                   : flag == "use-old-namespace"            ? &options.old_namespace
                   : flag == "no-hostname"                  ? &options.no_hostname
                   : flag == "replace-blanks-in-model-name" ? &options.dashes_in_model
                                                            : &options.ignore_unknown;
    *target = *truth;
    return true;
  }
  if (const auto* words = std::get_if<std::vector<std::string>>(&value)) {
    options.pod_label_patterns = *words;
    std::erase(options.pod_label_patterns, std::string());
    return true;
  }
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return true;
  const auto number = static_cast<std::int64_t>(parse_u64(*text).value_or(0));
  if (flag == "collect-interval") options.interval_ms = number;
  if (flag == "xid-count-window-size") options.xid_window_ms = number;
  if (flag == "clock-events-count-window-size") options.clock_window_ms = number;
  if (flag == "collectors") options.collectors = *text;
  if (flag == "configmap-data") options.config_map = *text;
  if (flag == "address") options.address = *text;
  if (flag == "devices") options.devices = *text;
  if (flag == "hostname-label") options.hostname_label = *text;
  if (flag == "shared-figures") options.own_figures = *text == "own";
  if (flag == "web-config-file") options.web_config = *text;
  if (flag == "hpc-job-mapping-dir") options.job_directory = *text;
  return true;
}

}  // namespace kerf::config
