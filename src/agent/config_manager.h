// The program "config-manager": keeps a symbolic link on the configuration that the node's label
// chooses and signals the process that reads it, for agents that cannot follow the label by
// themselves. Source: device-plugin contract §9.
#pragma once

#include <string>
#include <sys/types.h>

#include "agent/named_config.h"
#include "base/result.h"
#include "base/roots.h"

namespace kerf::agent {

struct ConfigManagerOptions {
  NamedConfigOptions named;
  std::string destination;  // the link
  bool oneshot = false;     // end after the first choice
  bool send_signal = true;
  int signal = 1;
  std::string process;  // whom to signal: its argv[0]
  Roots roots;          // dev/null and proc
};

// Until SIGTERM, SIGINT or SIGQUIT, or with oneshot until the label was read and its configuration
// linked. Returns the exit status: 1 when oneshot could not do all it was asked to.
int manage_config(ConfigManagerOptions options);

// Makes `link` a symbolic link to `target`, in one step: whoever opens it finds the old file or the
// new one. False when it leads there already. kInvalid when it is a directory; as errno.
Result<bool> point_link(const std::string& link, const std::string& target);

// The process to signal: the first whose argv[0] is `name`; if there is none, whose argv[0] has
// that last part; if there is none, which the kernel knows by that name (comm). Not ourselves.
// kNotFound when there is none.
Result<pid_t> find_process(const std::string& proc, const std::string& name);

}  // namespace kerf::agent
