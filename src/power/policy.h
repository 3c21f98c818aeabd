// What a GPU is to be held at, and what must be done so that it is. Pure.
// Source of the rules: metrics contract §4.3.
#pragma once

#include <cstdint>
#include <optional>

#include "config/power.h"
#include "power/types.h"

namespace kerf::power {

// Limits nearer than this are the same: boards round what they are told.
inline constexpr std::uint32_t kToleranceMw = 500;

// Of the rules that fit the GPU that with the most particular selector, of equal ones the first;
// what it leaves out is as for all GPUs.
Target target_for(const Reading& reading, const config::PowerOptions& options);

struct Judging {
  config::OutOfRange out_of_range = config::OutOfRange::kRefuse;
  bool persistence = true;
  std::optional<std::uint32_t> share_mw;  // of a budget; never above the target
};

// How the GPU stands to its target and which calls put it right: none when all is as asked for.
Verdict judge(const Reading& reading, const Target& target, const Applied& applied,
              const Judging& judging);

// The limit that the target asks for on this board, whatever the board takes; nothing when
// unmanaged or when its default or highest limit would have to be known and is not.
std::optional<std::uint32_t> asked_mw(const Reading& reading, const Target& target);

}  // namespace kerf::power
