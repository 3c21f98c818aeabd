// NVLink facts that both the link calls and the field values answer.
#pragma once

#include "library.h"

namespace nvmlsim {

inline bool link_up(const View& v, u32 link) { return (v.fx.links_down >> link & 1U) == 0; }

// KiB moved since the counters' start, over all links or one; grows with load and time.
inline u64 link_kib(const View& v, bool transmit) {
  const u64 active = v.now / 1000000000ULL;
  return v.spec->link_count * (active * (transmit ? 1024U : 1000U) * (v.read().load_pct + 1U));
}

}  // namespace nvmlsim
