// The rest of what the library exports: programs bind these names lazily and must find them. Each
// passes the gate (uninitialised, driver gone, injected faults) and then says NOT_SUPPORTED. The
// arguments differ and stay where the caller put them, in registers nobody reads.

#include "library.h"

namespace {

nvmlsim::Return unsupported(const char* symbol) {
  nvmlsim::Return rc = nvmlsim::enter(symbol);
  if (rc == nvmlsim::kSuccess) rc = nvmlsim::call_faults(symbol, nvmlsim::kNone);
  return rc == nvmlsim::kSuccess ? nvmlsim::kErrorNotSupported : rc;
}

}  // namespace

#define STUB(name) \
  SIM_API nvmlsim::Return name() { return unsupported(#name); }
#include "stubs.inc"
