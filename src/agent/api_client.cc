#include "agent/api_client.h"

#include <algorithm>
#include <unistd.h>

#include "base/roots.h"
#include "config/load.h"

namespace kerf::agent {

Result<kube::Access> find_api(const config::ProcessOptions& process) {
  return kube::find_access(process.kubeconfig, config::env_from(environ), Roots::below("/"));
}

kube::ClientOptions api_options(const config::ProcessOptions& process, const std::string& version) {
  kube::ClientOptions options;
  options.requests_per_second = process.kube_api_qps;
  options.burst = std::max(process.kube_api_burst, 1U);
  options.user_agent = "kerf/" + version;
  return options;
}

Status needs_node_name(const config::ProcessOptions& process) {
  if (!process.node_name.empty()) return {};
  return fail(Kind::kInvalid, "required flag node-name not set", "--node-name",
              "set NODE_NAME from the field spec.nodeName");
}

}  // namespace kerf::agent
