// What an answer's status means, as an error for people. Pure. Internal to the room.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/client.h"

namespace kerf::kube {

// "PATCH /api/v1/nodes/a/status": verb and path as errors name them, without the query.
std::string title(Verb verb, std::string_view path);

// "patch on nodes/status", "create on nodefeatures.nfd.k8s-sigs.io": what RBAC calls it.
std::string permission(Verb verb, std::string_view path);

// The error for an answer whose status is not 2xx. `body` is a Status object, or something else.
Error refusal(Verb verb, std::string_view path, const std::string& server, int status,
              std::string_view body);

}  // namespace kerf::kube
