// The list of counters: which figures are wanted, under which names. Reads the CSV format of
// NVIDIA's dcgm-exporter. Pure: text in, values and findings out. Source: metrics contract §1.2.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/fields.h"

namespace kerf::exporter {

struct Counter {
  std::string name;  // as the list spells it: also the name of the metric
  std::string type;  // "gauge", "counter", "histogram", "summary"; "label" in Counters::labels
  std::string help;
  const Field* field = nullptr;  // never null in a valid list; lives as long as the program
};

// A list in the order of the exposition: by field number, then name.
struct Counters {
  std::vector<Counter> values;    // one metric each
  std::vector<Counter> labels;    // no metric, but a label on every other one
  std::vector<Counter> computed;  // DCGM_EXP_…
  // Whether any of them needs performance monitoring.
  bool profiling() const;
};

struct Finding {
  bool error = false;   // else a warning: the line is left out or has no samples
  std::string where;    // "default-counters.csv:12"
  std::string message;  // "'DCGM_FI_DEV_GPU_TMP' is no field"
  std::string remedy;
};

struct ParsedCounters {
  Counters counters;
  std::vector<Finding> findings;
  bool ok() const;
};

// `name` is the file's, for findings. With `skip_unknown`, an unknown field is a warning.
ParsedCounters parse_counters(std::string_view text, std::string_view name, bool skip_unknown);

// "default-counters.csv:12: 'X' is no field (did you mean Y?)"
std::string to_string(const Finding& finding);

}  // namespace kerf::exporter
