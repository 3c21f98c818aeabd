#include "cli/doctor_command.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/roots.h"
#include "cli/driver_view.h"
#include "cli/status_command.h"
#include "cli/version.h"
#include "config/load.h"
#include "doctor/cluster_checks.h"
#include "doctor/look.h"
#include "doctor/node_checks.h"
#include "doctor/report.h"
#include "http/status_json.h"

namespace kerf::cli {
namespace {

using doctor::Severity;

constexpr int kAgentPatienceMs = 5'000;

constexpr const char* kUsage =
    "usage: kerf doctor [--json] [--node | --cluster] [FLAGS]\n\n"
    "Says why this node or the cluster gives pods no GPUs, and what to do about it. Changes\n"
    "nothing. Looks at this node, and asks the API server when there is a way to it.\n\n"
    "  --node                  look only at this node\n"
    "  --cluster               ask only the API server\n"
    "  --node-name NAME        ask about this node (env NODE_NAME; default: all with GPUs)\n"
    "  --kubeconfig FILE       how to reach the API server (env KUBECONFIG; default: as the pod's\n"
    "                          service account, then ~/.kube/config)\n"
    "  --root DIR              prefix of the host's sys, proc, dev, etc and var trees (default /)\n"
    "  --nvml-library FILE     exact path of libnvidia-ml.so.1 (default: searched)\n"
    "  --kubelet-socket FILE   (default /var/lib/kubelet/device-plugins/kubelet.sock below "
    "--root)\n"
    "  --address HOST:PORT     where the agent listens (default 127.0.0.1:2112)\n"
    "  --json                  print JSON\n\n"
    "exit status: 0 no error, 1 something keeps pods from getting GPUs, 2 wrong arguments\n";

struct Options {
  std::map<std::string_view, std::string> values = {
      {"--node-name", ""},    {"--kubeconfig", ""},     {"--root", "/"},
      {"--nvml-library", ""}, {"--kubelet-socket", ""}, {"--address", "127.0.0.1:2112"},
  };
  bool json = false, help = false, node = false, cluster = false;
  bool kubeconfig_given = false;

  const std::string& operator[](std::string_view name) const { return values.at(name); }
};

Result<Options> read_options(std::span<const std::string> args, const config::Env& env) {
  Options out;
  if (auto found = env.find("NODE_NAME"); found != env.end())
    out.values["--node-name"] = found->second;
  if (auto found = env.find("KUBECONFIG"); found != env.end()) {
    out.values["--kubeconfig"] = found->second;
  }
  const std::map<std::string_view, bool*> switches = {{"--json", &out.json},
                                                      {"--help", &out.help},
                                                      {"-h", &out.help},
                                                      {"--node", &out.node},
                                                      {"--cluster", &out.cluster}};
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (auto found = switches.find(arg); found != switches.end()) {
      *found->second = true;
      continue;
    }
    const std::size_t equals = arg.find('=');
    const std::string name = arg.substr(0, equals);
    auto found = out.values.find(name);
    if (found == out.values.end()) {
      return fail(Kind::kInvalid, "unknown argument", arg, "kerf doctor --help says what there is");
    }
    found->second = equals != std::string::npos ? arg.substr(equals + 1)
                    : i + 1 < args.size()       ? args[++i]
                                                : "";
    if (found->second.empty()) return fail(Kind::kInvalid, "a value is missing", name);
    out.kubeconfig_given |= name == "--kubeconfig";
  }
  if (out.node && out.cluster) {
    return fail(Kind::kInvalid, "--node and --cluster exclude each other", "",
                "leave both away to look at node and cluster");
  }
  return out;
}

doctor::AgentFacts ask_agent(const std::string& address) {
  doctor::AgentFacts out;
  Result<std::string> text = http_get(address, "/api/status", kAgentPatienceMs);
  if (!text) {
    out.unreachable = text.error().what + ": " + text.error().subject;
    return out;
  }
  Result<http::RemoteStatus> status = http::parse_status(*text);
  if (!status) {
    out.unreachable = status.error().text();
    return out;
  }
  out.status = status->status;
  for (const metrics::Problem& problem : status->node.problems) {
    Severity severity = Severity::kWarning;
    if (problem.severity == metrics::Severity::kFailed) severity = Severity::kError;
    out.problems.push_back({severity, "agent.problem",
                            problem.what + (problem.subject.empty() ? "" : ": " + problem.subject),
                            problem.remedy});
  }
  for (const metrics::ResourceStatus& r : status->node.resources) {
    out.resources.push_back({r.name, r.total, r.healthy, r.registered});
  }
  return out;
}

doctor::Section look_at_node(const Options& options) {
  const Roots roots = Roots::below(options["--root"]);
  std::string directory = join_path(roots.var, "lib/kubelet/device-plugins");
  if (const std::string& socket = options["--kubelet-socket"]; !socket.empty()) {
    directory = std::filesystem::path(socket).parent_path().string();
  }
  doctor::NodeFacts facts = doctor::look_at_node(roots, directory);
  const DriverView view = look_at_driver(options["--nvml-library"], "", roots);
  facts.driver_problem = view.brief;
  facts.driver_version = view.snapshot.driver.version;
  facts.driver_gpus = view.snapshot.gpus.size();
  facts.agent = ask_agent(options["--address"]);
  return {"node", "", doctor::examine_node(facts)};
}

Result<kube::Access> find_access(const Options& options, const config::Env& env) {
  const Roots roots = Roots::below("/");
  std::string kubeconfig = options["--kubeconfig"];
  if (kubeconfig.empty()) {
    Result<kube::Access> pod = kube::in_cluster(env, roots);
    const auto home = env.find("HOME");
    if (pod || home == env.end()) return pod;
    kubeconfig = home->second + "/.kube/config";
    std::error_code error;
    if (!std::filesystem::exists(kubeconfig, error)) return pod;
  }
  return kube::find_access(kubeconfig, env, roots);
}

doctor::Section ask_cluster(const Options& options, const config::Env& env) {
  doctor::Section out{"cluster", "", {}};
  const bool wanted = options.cluster || options.kubeconfig_given;
  Result<kube::Access> access = find_access(options, env);
  if (!access) {
    out.findings.push_back({wanted ? Severity::kError : Severity::kSkipped, "api",
                            "not asked: " + access.error().what + ": " + access.error().subject,
                            "Name a kubeconfig: kerf doctor --kubeconfig FILE."});
    return out;
  }
  out.subject = access->url();
  Result<doctor::ClusterFacts> facts = doctor::ask_cluster(
      {std::move(*access), "kerf-doctor/" + std::string(kVersion), options["--node-name"]});
  if (!facts) {
    const std::string& hint = facts.error().hint;
    out.findings.push_back({wanted ? Severity::kError : Severity::kWarning, "api",
                            facts.error().what, hint.empty() ? "" : hint + "."});
    return out;
  }
  out.findings = doctor::examine_cluster(*facts);
  return out;
}

}  // namespace

int run_doctor(std::span<const std::string> args, const char* const* environment) {
  const config::Env env = config::env_from(environment);
  Result<Options> options = read_options(args, env);
  if (!options) {
    std::fprintf(stderr, "kerf doctor: %s\n", options.error().text().c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  std::vector<doctor::Section> sections;
  if (!options->cluster) sections.push_back(look_at_node(*options));
  if (!options->node) sections.push_back(ask_cluster(*options, env));
  const std::string text = options->json ? doctor::to_json(sections)
                                         : doctor::to_text(sections, isatty(STDOUT_FILENO) != 0);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return doctor::gravest(sections) == Severity::kError ? 1 : 0;
}

}  // namespace kerf::cli
