// `kerf config check` and `kerf config explain`. No logic of its own: it reads, asks the config
// room, and prints.
#pragma once

#include <ostream>
#include <span>
#include <string>

#include "config/load.h"

namespace kerf::cli {

// `kerf config check [--json] FILE`; FILE may be "-" for the standard input. Prints every finding
// on `out`. 0: no errors (there may be warnings). 1: errors. 2: wrong arguments.
int config_check(std::span<const std::string> args, std::ostream& out, std::ostream& err);

// `kerf config explain [agent flags]`: the configuration that `kerf agent` would use with the same
// flags and `env`, each value with where it came from, on `out`; findings on `err`. 0, 1 and 2 as
// above; with errors nothing is printed on `out`.
int config_explain(std::span<const std::string> args, const config::Env& env, std::ostream& out,
                   std::ostream& err);

// The command `kerf config`: chooses one of the two by the first argument, with the process's
// standard streams. `environment` is `environ`.
int run_config(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
