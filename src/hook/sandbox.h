// Runs a program of the host on a container's files so that it can do nothing else: in mount,
// process, network, IPC and host name namespaces of its own, with the container's root as its root,
// all mounts in it read-only but that root, nearly no capability, no environment and limits on time
// and size. The program comes as a descriptor, so that no name in the container is looked up for
// it.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "hook/container_root.h"

namespace kerf::hook {

// A sealed copy in memory of the program at `path` of this process; kInvalid unless it is an ELF
// program that needs no loader, which would be the container's.
Result<Fd> copy_static_program(const std::string& path);

// Runs it with these arguments (the first is its name) to its end, for at most half a minute. The
// error holds the first lines of what it complained about.
Status run_in_container(const ContainerRoot& root, const Fd& program,
                        const std::vector<std::string>& arguments);

}  // namespace kerf::hook
