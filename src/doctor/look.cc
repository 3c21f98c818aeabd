#include "doctor/look.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "doctor/node_checks.h"
#include "doctor/objects.h"
#include "host/driver_files.h"
#include "kube/client.h"

#include <asio/io_context.hpp>
#include <fmt/format.h>

namespace kerf::doctor {
namespace {

namespace fs = std::filesystem;

// Lists of a large cluster: five thousand nodes take about 80 MB.
constexpr std::size_t kLargestAnswer = 512u << 20;

std::string text_of(const std::string& path) { return read_file(path).value_or(""); }

unsigned count_gpu_nodes(const std::string& directory) {
  unsigned count = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    count += name.starts_with("nvidia") && parse_u64(name.substr(6)).has_value() ? 1 : 0;
  }
  return count;
}

void look_at_sockets(NodeFacts& node) {
  std::error_code error;
  fs::directory_iterator it(node.plugin_directory, error);
  node.plugin_directory_there = error != std::errc::no_such_file_or_directory;
  if (error && node.plugin_directory_there) node.plugin_directory_problem = error.message();
  for (fs::directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!it->is_socket(ignored)) continue;
    const std::string name = it->path().filename().string();
    if (name == "kubelet.sock") node.kubelet_socket_there = true;
    if (name.starts_with("nvidia")) node.plugin_sockets.push_back(name);
  }
  std::ranges::sort(node.plugin_sockets);
}

// Asks one question after the other.
class Asker {
 public:
  explicit Asker(const Question& question)
      : client_(loop_, question.access,
                {.response_limit = kLargestAnswer,
                 .requests_per_second = 0,
                 .user_agent = question.user_agent}) {}

  Result<std::string> ask(const std::string& path) {
    std::optional<Result<kube::Response>> answer;
    client_.request({kube::Verb::kGet, path, {}},
                    [&](Result<kube::Response> came) { answer = std::move(came); });
    loop_.restart();
    while (!answer && loop_.run_one() > 0) {
    }
    if (!answer) return fail(Kind::kInternal, "no answer", path);
    if (!*answer) return fail(std::move(answer->error()));
    return std::move((*answer)->body);
  }

  // The answer as `read` understands it; else why not is noted, and absent.
  template <typename T>
  std::optional<T> tell(const std::string& path, Result<T> (*read)(std::string_view),
                        ClusterFacts& facts) {
    Result<std::string> text = ask(path);
    Result<T> out = text ? read(*text) : Result<T>(fail(text.error()));
    if (out) return std::move(*out);
    facts.not_told.push_back(out.error().text());
    return std::nullopt;
  }

 private:
  asio::io_context loop_{1};
  kube::Client client_;
};

std::string selector_of(const std::map<std::string, std::string>& labels) {
  std::vector<std::string> parts;
  parts.reserve(labels.size());
  for (const auto& [key, value] : labels) parts.push_back(fmt::format("{}={}", key, value));
  return kube::escape(join(parts, ","));
}

void ask_about_plugins(Asker& asker, ClusterFacts& facts) {
  auto plugins = asker.tell("/apis/apps/v1/daemonsets", plugins_of, facts);
  if (!plugins) return;
  facts.plugins_known = true;
  facts.plugins = std::move(*plugins);
  for (DaemonSetObject& set : facts.plugins) {
    const std::string there = "/api/v1/namespaces/" + kube::escape(set.name_space);
    if (auto pods = asker.tell(there + "/pods?labelSelector=" + selector_of(set.pod_labels),
                               pods_of, facts)) {
      facts.plugin_pods.insert(facts.plugin_pods.end(), pods->begin(), pods->end());
    }
    // Events outlive what they tell of by an hour.
    if (set.ready > 0 && set.ready >= set.desired) continue;
    Result<std::string> events = asker.ask(there + "/events?fieldSelector=type%3DWarning");
    if (!events) continue;  // they add words, nothing else
    if (auto complaints = complaints_of(*events, "DaemonSet", set.name)) {
      set.complaints = std::move(*complaints);
    }
  }
}

}  // namespace

NodeFacts look_at_node(const Roots& roots, const std::string& plugin_directory) {
  NodeFacts node;
  const std::string extensions = text_of(join_path(roots.etc, "extensions.yaml"));
  if (!extensions.empty()) node.extensions = extension_names(extensions);
  node.talos = node.extensions ||
               text_of(join_path(roots.etc, "os-release")).find("ID=talos") != std::string::npos ||
               text_of(join_path(roots.proc, "version")).find("-talos") != std::string::npos;
  if (auto modules = host::loaded_modules(roots)) {
    std::vector<std::string>& names = node.modules.emplace();
    for (const host::Module& module : *modules) names.push_back(module.name);
  } else {
    node.modules_problem = modules.error().text();
  }
  node.gpus = host::pci_gpus(roots);
  node.control_nodes = host::control_nodes(roots);
  node.gpu_nodes = count_gpu_nodes(roots.dev);
  node.plugin_directory = plugin_directory;
  look_at_sockets(node);
  return node;
}

Result<ClusterFacts> ask_cluster(const Question& question) {
  ClusterFacts facts;
  facts.server = question.access.url();
  facts.one_node = !question.node.empty();
  Asker asker(question);
  Result<std::string> nodes =
      asker.ask(facts.one_node ? "/api/v1/nodes/" + kube::escape(question.node) : "/api/v1/nodes");
  if (nodes) {
    Result<std::vector<NodeObject>> read = nodes_of(*nodes);
    if (!read) return fail(std::move(read.error()));
    facts.nodes = std::move(*read);
  } else if (nodes.error().kind == Kind::kDenied && nodes.error().native != 0) {
    facts.not_told.push_back(nodes.error().text());
  } else {
    if (facts.one_node && nodes.error().kind == Kind::kNotFound) {
      nodes.error().hint = "kubectl get nodes lists their names; give one with --node-name";
    }
    return fail(std::move(nodes.error()));
  }
  ask_about_plugins(asker, facts);
  facts.runtime_classes = asker.tell("/apis/node.k8s.io/v1/runtimeclasses", names_of, facts);
  facts.gpu_pods = asker.tell(
      "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed", pods_of,
      facts);
  if (facts.gpu_pods) {
    std::erase_if(*facts.gpu_pods, [](const PodObject& pod) {
      return pod.requests.empty() || pod.phase == "Succeeded" || pod.phase == "Failed";
    });
  }
  return facts;
}

}  // namespace kerf::doctor
