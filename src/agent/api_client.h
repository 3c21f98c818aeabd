// The API server as a component of the agent reaches it: with the rights of the service account
// that is mounted into its container, whatever the host's root is, and at the configured pace.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "config/types.h"
#include "kube/access.h"
#include "kube/client.h"

namespace kerf::agent {

// By --kubeconfig, or by the service account. Errors name what is missing, see kube/access.h.
Result<kube::Access> find_api(const config::ProcessOptions& process);

// Pace and name; a burst is at least 1, or nothing would ever be sent.
kube::ClientOptions api_options(const config::ProcessOptions& process, const std::string& version);

// kInvalid without --node-name (NODE_NAME), which what concerns this node alone cannot do without.
Status needs_node_name(const config::ProcessOptions& process);

}  // namespace kerf::agent
