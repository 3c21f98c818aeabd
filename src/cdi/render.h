// A specification as the JSON text that container runtimes read, and the rules that it must keep.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cdi/types.h"

namespace kerf::cdi {

// The oldest version of the format that knows everything this specification uses; what is newer
// than a runtime knows, it refuses as a whole. Runtime contract §2.1.
std::string minimum_version(const Spec& spec);

// "k8s.device-plugin.nvidia.com/gpu=GPU-…"
std::string qualified_name(std::string_view device_class, std::string_view device);

// Letters and digits at both ends, "-_.:" allowed inside. Other names cannot be given to a runtime.
bool valid_device_name(std::string_view name);

// The rules that runtimes apply when they load a specification: names, at least one device, unique
// devices with edits of their own, variables with '=', absolute paths, known hooks and permissions.
// Error: kInvalid with the part concerned as its subject.
Status check(const Spec& spec);

// Indented JSON with a final newline. Equal specifications give equal text.
std::string render(const Spec& spec);

}  // namespace kerf::cdi
