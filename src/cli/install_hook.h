// Puts the CDI hook program where the host's container runtime finds it: from the image into a
// directory of the host. A subcommand for an init container of its own, so that the plugin, which
// listens on the network, can never change what the host runs as root.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace kerf::cli {

// Copies "kerf-cdi-hook" and, where `from` has it, "ldconfig" into `directory`, which is made
// (0755) if missing: at once, so that a container that is being created runs the old or the new
// one, and only what differs. Returns what it did, in words. Errors, with a remedy: a directory on
// a file system that is read-only or mounted noexec, or that somebody else may write to (kDenied).
Result<std::vector<std::string>> install_hook(const std::string& from,
                                              const std::string& directory);

// The subcommand `install-hook`: `args` are what follows it.
//   --to DIR    default /opt/kerf/bin
//   --from DIR  default /usr/libexec/kerf, where the image has them
// Returns the exit status: 0 done, 1 failed, 2 wrong usage.
int run_install_hook(std::span<const std::string> args);

}  // namespace kerf::cli
