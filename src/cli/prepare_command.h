// `kerf prepare`: lets the plugin, which runs without root, use the kubelet's device-plugin
// directory. It is not part of the plugin: it runs beside it, as the owner of that directory (root,
// with no capability), and touches nothing else.
//
// The kubelet makes its directory root:root 0750 and its socket root:root 0755 (a socket is
// connected to by those who may write it). Linux applies the binder's umask to a socket before a
// default ACL is looked at, so no set-up done once survives a restart of the kubelet; hence
// --watch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace kerf::cli {

// What is prepared, and for whom.
struct PrepareTarget {
  std::string directory;      // holds kubelet.sock
  std::uint32_t uid = 65534;  // may create sockets in it and connect to kubelet.sock afterwards
  // Where container runtimes look for CDI specifications; empty: not touched.
  std::string cdi_directory = {};
};

// Brings the directory and, where it exists, kubelet.sock into this state:
//   directory     ACL entry user:<uid>:rwx, and the sticky bit, so that the uid can remove and
//                 rename only what it made itself
//   kubelet.sock  ACL entry user:<uid>:rw-
//   nvidia-*.sock of other owners on which nobody listens any more: removed, since the sticky bit
//                 keeps the uid from doing so
//   cdi_directory made (root's, 0755) where it is missing, then as the directory above
//   k8s.device-plugin.nvidia.com-*.json of other owners in it: removed, for the same reason
// Returns what it changed, in words, for the log; empty when all was so already. Never follows a
// symbolic link. Errors: kNotFound (no directory), kDenied (not its owner), kUnsupported (the file
// system keeps no ACLs), each with a remedy.
Result<std::vector<std::string>> prepare_once(const PrepareTarget& target);

// Prepares once, then again whenever something appears in the directory, until SIGTERM or SIGINT.
// Blocks those two signals in the calling thread. Errors: those of prepare_once, and kGone when the
// directory itself is replaced (the caller ends, and is started anew on the new directory).
Status prepare_and_watch(const PrepareTarget& target);

// The subcommand: `args` are what follows "prepare" on the command line.
//   --kubelet-dir DIR   default /var/lib/kubelet/device-plugins
//   --uid N             default 65534
//   --cdi-dir DIR       default none; /var/run/cdi where the plugin writes CDI specifications
//   --watch             stay, and prepare anew whenever the kubelet has made a new socket
// Returns the exit status: 0 done, 1 failed, 2 wrong usage.
int run_prepare(std::span<const std::string> args);

}  // namespace kerf::cli
