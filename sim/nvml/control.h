// What a test or an operator does to a machine: faults, events, processes, load. All functions work
// on the shared state inside a write.
#pragma once

#include <cstdint>
#include <string>

#include "shared.h"
#include "store.h"

namespace nvmlsim {

// Returns the fault's id, 0 when the table is full.
uint32_t add_fault(Shared& shared, Fault fault);
void push_event(Shared& shared, uint32_t gpu, uint64_t type, uint64_t data, uint32_t gi = kNone,
                uint32_t ci = kNone);

struct XidOptions {
  uint32_t gi = kNone, ci = kNone;
  uint32_t link = 0;         // of XID 74
  bool vanish = false;       // of XID 79: the enumeration shrinks
  bool consequences = true;  // counters and states that this XID brings along
};
void raise_xid(Shared& shared, uint32_t gpu, uint32_t xid, const XidOptions& options);
void add_ecc(Shared& shared, uint32_t gpu, bool corrected, uint32_t location, uint64_t count);
// The lost GPU is found again: limits and counters by default, older handles dead.
void bring_back(Shared& shared, uint32_t gpu, uint32_t minor);
// `code` is what calls on old handles return meanwhile.
void unload_driver(Shared& shared, uint32_t code);
// Loads it again, perhaps another version: then processes started before get code 18.
void reload_driver(Shared& shared, const std::string& version);
// Ends faults: of one id, one GPU or one kind (all that are given must match).
uint32_t clear_faults(Shared& shared, uint32_t id, uint32_t gpu, FaultKind kind);
// Everything as after switching the machine on; open handles stay valid.
void reset_machine(Shared& shared, const Declared& declared);
bool add_process(Shared& shared, const Process& process);
uint32_t remove_processes(Shared& shared, uint32_t gpu, uint32_t pid);
void remove_instance_processes(Shared& shared, uint32_t gpu, uint32_t gi);

const char* kind_name(FaultKind kind);
FaultKind kind_by_name(const std::string& name);  // kUnused if there is none

// One line in the log beside the state file: what was done, for tests to read.
void log_action(const Store& store, const std::string& text);
std::string log_path(const Store& store);

}  // namespace nvmlsim
