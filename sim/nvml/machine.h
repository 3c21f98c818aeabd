// Reads a machine file (docs/simulator.md describes the format) into the plain data of shared.h.
// Every mistake is reported as one line "file:line: field: what is wrong".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shared.h"

namespace nvmlsim {

struct Declared {
  Machine machine{};
  std::vector<Process> processes;
  uint64_t hash = 0;  // of the file's content
};

// `path` names the file in errors; `text` is its content.
bool parse_machine(const std::string& path, const std::string& text, Declared& out,
                   std::string& error);

uint64_t hash_text(const std::string& text, uint64_t seed = 0);
// GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, or with another prefix, from a number.
std::string make_uuid(const char* prefix, uint64_t a, uint64_t b);
std::string bus_id_text(const BusId& id);   // 00000000:3B:00.0
std::string bus_id_sysfs(const BusId& id);  // 0000:3b:00.0
bool parse_bus_id(const std::string& text, BusId& id);

}  // namespace nvmlsim
