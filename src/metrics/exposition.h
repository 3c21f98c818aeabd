// Prometheus text exposition, format 0.0.4: metric families as values, and their rendering. No
// registry, no locks: whoever has the facts makes the families when asked.
// Source of the format: Prometheus documentation, "Exposition formats".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kerf::metrics {

enum class Type { kCounter, kGauge, kHistogram };

// "counter", "gauge", "histogram"
std::string_view to_string(Type type);

using Labels = std::vector<std::pair<std::string, std::string>>;

// A histogram at one moment. `counts` holds one entry a bucket, each only its own observations (the
// rendering adds them up), plus a last one for everything above the highest bound.
struct HistogramValue {
  std::vector<double> bounds;         // upper bounds, ascending, without +Inf
  std::vector<std::uint64_t> counts;  // bounds.size() + 1 entries
  double sum = 0;
  std::uint64_t total() const;
};

struct Sample {
  Labels labels;  // unique names matching [a-zA-Z_][a-zA-Z0-9_]*, in the order to be written
  double value = 0;
};

struct HistogramSample {
  Labels labels;  // must not hold "le"
  HistogramValue value;
};

// One metric with all its samples. Counters' names end in "_total".
struct Family {
  std::string name;  // [a-zA-Z_:][a-zA-Z0-9_:]*
  std::string help;
  Type type = Type::kGauge;
  std::vector<Sample> samples;              // counter, gauge
  std::vector<HistogramSample> histograms;  // histogram
};

// The text for a scrape. A family without samples is written as HELP and TYPE alone, so that the
// list of names does not depend on the state of the node.
std::string render(std::span<const Family> families);

// The Content-Type that goes with `render`.
inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace kerf::metrics
