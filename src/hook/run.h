// The hook program from its command line to its exit status: what CDI specifications have a
// container runtime do while it creates a container. Reads the state, enters the container's root,
// does the one task. Holds no state and starts nothing that outlives it.
#pragma once

#include <span>
#include <string>

namespace kerf::hook {

// `words` are what follows the program's name. Returns the exit status: 0 done, also for hooks of
// other releases; 1 failed, and then the runtime does not start the container and shows what was
// written to standard error.
int run(std::span<const std::string> words);

}  // namespace kerf::hook
