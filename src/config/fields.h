// Fields of one value, for the sections of kerf's own. Internal to the room.
#pragma once

#include <cstdint>
#include <string_view>

#include "config/duration.h"
#include "config/reader.h"

namespace kerf::config {

struct Bounds {
  std::int64_t least = 0;
  std::int64_t most = kForever;
};

// A duration with a unit, within bounds; nanoseconds. `into` must outlive the field.
Field duration_field(Reader& reader, std::string_view key, std::int64_t& into, Bounds bounds);
// true or false.
Field truth_field(Reader& reader, std::string_view key, bool& into);

}  // namespace kerf::config
