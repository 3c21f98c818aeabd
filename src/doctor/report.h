// Writes findings down, for people and for programs. Pure.
#pragma once

#include <string>
#include <vector>

#include "doctor/types.h"

namespace kerf::doctor {

struct Section {
  std::string name;     // "node", "cluster"
  std::string subject;  // which one; may be empty
  Findings findings;
};

// The gravest severity of all; kOk of none. kSkipped counts less than kOk.
Severity gravest(const std::vector<Section>& sections);

// A heading a section, a line a finding with the remedy below it, and a last line that counts.
// Control characters are made harmless. `colour`: with ANSI colours.
std::string to_text(const std::vector<Section>& sections, bool colour);

// {"status": "ok|warn|error", "findings": [{"section", "severity", "check", "what", "remedy"}]},
// and a line end.
std::string to_json(const std::vector<Section>& sections);

}  // namespace kerf::doctor
