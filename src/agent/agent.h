// The daemon: builds the rooms' objects, runs the event loop, reloads, stops. The only place where
// rooms meet that do not know each other.
#pragma once

#include <string>

#include "config/load.h"

namespace kerf::agent {

struct Launch {
  config::FlagValues flags;
  config::Env env;
  std::string version;        // "0.1.0"
  std::string compatibility;  // "v0.17.2 ... v0.20.0"
};

// Serves until SIGTERM, SIGINT or SIGQUIT; SIGHUP reloads. Blocks the signals it handles in the
// calling thread, which must be the process's first. Returns the exit status: 0 after an orderly
// stop, 1 when it could not start.
int serve(Launch launch);

}  // namespace kerf::agent
