// The memory that this program's own code takes.
#pragma once

namespace kerf {

// Lets go of the code that is mapped now: what runs again is mapped again, from the page cache, and
// what only the start needed stays away. Costs some hundred minor page faults, once. Debuggers'
// breakpoints go as well. Does nothing where the linker does not say where code begins and ends.
// Any thread, others may run meanwhile.
void let_go_of_idle_code();

}  // namespace kerf
