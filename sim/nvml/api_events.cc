// Event sets. Events come from the shared ring; a waiting thread sleeps on the shared futex word,
// so an injected event wakes it at once and an idle wait costs nothing.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "abi_extra.h"
#include "library.h"

using namespace nvmlsim;

namespace {

constexpr u32 kMagic = 0x5e7e7e7e;
constexpr u32 kMaxSets = 256;

struct Set {
  std::atomic<u32> magic{0};
  u32 epoch = 0;
  std::atomic<u64> mask[kMaxGpus]{};
  u64 from[kMaxGpus] = {};  // events after this number, per GPU
  u32 generation[kMaxGpus] = {};
  std::atomic<u64> cursor{0};
};

// A table, so that a freed or foreign pointer is recognised without being touched.
Set sets[kMaxSets];

constexpr u64 kSupported = kEventXid | kEventPState | kEventClock;
constexpr u64 kWithEcc = kEventSingleBitEcc | kEventDoubleBitEcc | kEventSingleBitEccStorm |
                         kEventDramRetirement | kEventDramRetirementFailure;
constexpr u64 kNewer = kEventGpuUnavailable | kEventRecoveryAction;

u64 supported_types(const View& v) {
  u64 types = kSupported;
  if (v.spec->ecc) types |= kWithEcc;
  if (v.spec->architecture >= kArchHopper) types |= kNewer;
  if (v.spec->mig_table) types |= kEventMigConfig;
  return types;
}

Set* find_set(EventSet set) {
  const auto at = reinterpret_cast<std::uintptr_t>(set);
  const auto base = reinterpret_cast<std::uintptr_t>(&sets[0]);
  if (at < base || at >= base + sizeof(sets) || (at - base) % sizeof(Set) != 0) return nullptr;
  Set* found = &sets[(at - base) / sizeof(Set)];
  return found->magic.load() == kMagic ? found : nullptr;
}

enum class Found { kNothing, kEvent, kLost };

// The next event of the set after its cursor, else a lost GPU that it watches.
Found look(const Set& set, const Shared& shared, u64 now, Event& event, u64& cursor) {
  const u64 head = shared.event_count;
  u64 at = cursor;
  if (head > kMaxEvents && at < head - kMaxEvents) at = head - kMaxEvents;
  for (; at < head; ++at) {
    const Event& e = shared.events[at % kMaxEvents];
    if (e.gpu >= kMaxGpus || (set.mask[e.gpu].load() & e.type) == 0 || e.number <= set.from[e.gpu])
      continue;
    event = e;
    cursor = at + 1;
    return Found::kEvent;
  }
  cursor = head;
  for (u32 i = 0; i < shared.machine.gpu_count && i < kMaxGpus; ++i)
    if (set.mask[i].load() &&
        (effects_on(shared, i, now).lost || set.generation[i] != shared.live[i].generation))
      return Found::kLost;
  return Found::kNothing;
}

struct Delivery {
  Found found = Found::kNothing;
  Event event{};
  uint32_t wake = 0;
  u64 transition = 0;
};

Delivery poll_set(Set& set) {
  Delivery d;
  u64 cursor = set.cursor.load();
  for (;;) {
    u64 next = cursor;
    const u64 now = now_ns();
    d.wake = store().wake_word();
    store().read([&](const Shared& shared) {
      next = cursor;
      d.found = look(set, shared, now, d.event, next);
      d.transition = next_transition(shared, now);
    });
    if (set.cursor.compare_exchange_strong(cursor, next)) return d;
  }
}

// Fault rules on the wait itself: an injected hang overruns the timeout.
Return wait_for(const char* symbol, EventSet handle, u32 timeout_ms, Event& event) {
  Return rc = enter(symbol);
  if (rc != kSuccess) return rc;
  Set* set = find_set(handle);
  if (!set) return kErrorInvalidArgument;
  const Sleeper sleeper;
  const u64 deadline = now_ns() + u64{timeout_ms} * 1000000ULL;
  for (;;) {
    rc = call_faults(symbol, kNone);
    if (rc == kSuccess) rc = enter(symbol);
    if (rc != kSuccess) return rc;
    if (set->epoch != store().shared().driver_epoch) return kErrorUnknown;
    const Delivery d = poll_set(*set);
    if (d.found == Found::kLost) return kErrorGpuIsLost;
    if (d.found == Found::kEvent) {
      event = d.event;
      return kSuccess;
    }
    if (now_ns() >= deadline) return kErrorTimeout;
    store().wait(d.wake, d.transition ? std::min(d.transition, deadline) : deadline);
  }
}

}  // namespace

SIM_API Return nvmlEventSetCreate(EventSet* out) {
  Return rc = enter(__func__);
  if (rc != kSuccess) return rc;
  if (!out) return kErrorInvalidArgument;
  rc = call_faults(__func__, kNone);
  if (rc != kSuccess) return rc;
  for (Set& set : sets) {
    u32 free = 0;
    if (!set.magic.compare_exchange_strong(free, 1)) continue;
    for (u32 i = 0; i < kMaxGpus; ++i) set.mask[i] = 0;
    set.epoch = store().shared().driver_epoch;
    store().read([&](const Shared& shared) { set.cursor = shared.event_count; });
    set.magic.store(kMagic);
    *out = reinterpret_cast<EventSet>(&set);
    return kSuccess;
  }
  return kErrorMemory;
}

SIM_API Return nvmlEventSetFree(EventSet handle) {
  const Return rc = enter(__func__);
  if (rc == kErrorUninitialized) return rc;
  Set* set = find_set(handle);
  if (!set) return kErrorInvalidArgument;
  set->magic.store(0);
  return kSuccess;
}

SIM_API Return nvmlDeviceGetSupportedEventTypes(Device device, u64* types) {
  return on_gpu(__func__, device, {types},
                [&](const View& v) { return give(types, supported_types(v)); });
}

SIM_API Return nvmlDeviceRegisterEvents(Device device, u64 types, EventSet handle) {
  return on_gpu(__func__, device, {handle}, [&](const View& v) {
    Set* set = find_set(handle);
    if (!set) return kErrorInvalidArgument;
    if (types & ~supported_types(v)) return kErrorNotSupported;
    if (set->mask[v.gpu].load() == 0) {
      store().read([&](const Shared& shared) { set->from[v.gpu] = shared.event_count; });
      set->generation[v.gpu] = v.live.generation;
    }
    set->mask[v.gpu].fetch_or(types);
    return kSuccess;
  });
}

SIM_API Return nvmlEventSetWait_v2(EventSet set, EventData* data, u32 timeout_ms) {
  if (!data) return enter(__func__) == kSuccess ? kErrorInvalidArgument : enter(__func__);
  Event e{};
  const Return rc = wait_for(__func__, set, timeout_ms, e);
  if (rc != kSuccess) return rc;
  *data = {gpu_handle(e.gpu), e.type, e.data, e.gi, e.ci};
  return kSuccess;
}

SIM_API Return nvmlEventSetWait(EventSet set, EventDataV1* data, u32 timeout_ms) {
  if (!data) return enter(__func__) == kSuccess ? kErrorInvalidArgument : enter(__func__);
  Event e{};
  const Return rc = wait_for(__func__, set, timeout_ms, e);
  if (rc != kSuccess) return rc;
  *data = {gpu_handle(e.gpu), e.type, e.data};
  return kSuccess;
}
