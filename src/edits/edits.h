// The algebra of container edits: small values made by one function each and joined with `merge`.
// No I/O; nothing here asks whether a path exists. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "edits/types.h"

namespace kerf::edits {

// One of each. An empty Edits{} is the neutral element of `merge`.
Edits env(std::string name, std::string value);
Edits mount(std::string host_path, std::string container_path, bool read_only = false);
Edits device_node(std::string host_path, std::string container_path,
                  std::string permissions = "rw");
Edits annotation(std::string key, std::string value);
Edits cdi_device(std::string qualified_name);

// Adds `more` to `into`. Order of first appearance is kept, so the result depends on nothing but
// the arguments. What is there twice is kept once. Where both set the same thing differently, the
// later one wins and takes the place of the earlier: environment variables and annotations by
// name, mounts and device nodes by path in the container.
void merge(Edits& into, Edits more);

// `a` with `b` added.
Edits operator+(Edits a, Edits b);

// `path` below `root` without doubled slashes: join("/run/nvidia/driver/", "/dev/x") is
// "/run/nvidia/driver/dev/x"; an empty root counts as "/".
std::string below(std::string_view root, std::string_view path);

}  // namespace kerf::edits
