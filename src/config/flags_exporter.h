// The flags of the metrics exporter: their rows in the table of flags, what their values must be,
// and where they go. Internal to the room.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "config/exporter.h"
#include "config/flags.h"
#include "config/settings.h"

namespace kerf::config {

void add_exporter_flags(std::vector<FlagSpec>& table);

// What is wrong with a value; nothing also for flags of others.
std::optional<Problem> check_exporter(const FlagSpec& spec, const Value& value);

// Whether the flag is a number or an address, for which an empty text has no meaning.
bool is_exporter_number(const FlagSpec& spec);

// False for flags of others. The value has passed check_exporter.
bool store_exporter_option(std::string_view flag, const Value& value, ExporterOptions& options);

}  // namespace kerf::config
