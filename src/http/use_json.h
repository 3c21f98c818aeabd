// Who uses a GPU, as JSON: the part of the status that the component usage fills. Internal to the
// room.
#pragma once

#include <optional>

#include "http/json_writer.h"
#include "metrics/node_status.h"

#include <nlohmann/json_fwd.hpp>

namespace kerf::http {

// Writes the member "use" of a GPU, null when there is none.
void write_use(JsonWriter& out, const std::optional<metrics::GpuUse>& use);
// What write_use has written; whatever is missing or of another type is absent.
std::optional<metrics::GpuUse> read_use(const nlohmann::json& from);

}  // namespace kerf::http
