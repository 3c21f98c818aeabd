#include "metrics/exposition.h"

#include <numeric>

#include "base/strings.h"

namespace kerf::metrics {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : valid_utf8(text)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void append_line(std::string& out, std::string_view name, std::string_view suffix,
                 const Labels& labels, std::string_view le, double value) {
  out += name;
  out += suffix;
  bool first = true;
  auto label = [&](std::string_view key, std::string_view text) {
    out += first ? '{' : ',';
    first = false;
    out += key;
    out += "=\"";
    append_escaped(out, text, true);
    out += '"';
  };
  for (const auto& [key, text] : labels) label(key, text);
  if (!le.empty()) label("le", le);
  if (!first) out += '}';
  out += ' ';
  out += format_number(value);
  out += '\n';
}

void append_histogram(std::string& out, const Family& family, const HistogramSample& sample) {
  const HistogramValue& value = sample.value;
  std::uint64_t running = 0;
  for (std::size_t i = 0; i < value.bounds.size(); ++i) {
    running += value.counts[i];
    append_line(out, family.name, "_bucket", sample.labels, format_number(value.bounds[i]),
                static_cast<double>(running));
  }
  auto total = static_cast<double>(value.total());
  append_line(out, family.name, "_bucket", sample.labels, "+Inf", total);
  append_line(out, family.name, "_sum", sample.labels, {}, value.sum);
  append_line(out, family.name, "_count", sample.labels, {}, total);
}

}  // namespace

std::string_view to_string(Type type) {
  switch (type) {
    case Type::kCounter:
      return "counter";
    case Type::kGauge:
      return "gauge";
    case Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

std::uint64_t HistogramValue::total() const {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::string render(std::span<const Family> families) {
  std::string out;
  for (const Family& family : families) {
    out += "# HELP " + family.name + ' ';
    append_escaped(out, family.help, false);
    out += "\n# TYPE " + family.name + ' ';
    out += to_string(family.type);
    out += '\n';
    for (const Sample& sample : family.samples) {
      append_line(out, family.name, {}, sample.labels, {}, sample.value);
    }
    for (const HistogramSample& sample : family.histograms) append_histogram(out, family, sample);
  }
  return out;
}

}  // namespace kerf::metrics
