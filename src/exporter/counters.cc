#include "exporter/counters.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/strings.h"

namespace kerf::exporter {
namespace {

constexpr std::string_view kTypes[] = {"gauge", "counter", "histogram", "summary", "label"};

// The name of a metric, which is also the name of a label when the type says so.
bool is_metric_name(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// One record of CSV: fields between commas, in double quotes where they hold one, "" for a quote.
// Nothing when a quote is not closed on the line.
std::optional<std::vector<std::string>> split_record(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  bool begun = false;  // something other than blanks in this field
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c != '"') {
        out.back() += c;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        out.back() += line[++i];
      } else {
        quoted = false;
      }
    } else if (c == ',') {
      out.emplace_back();
      begun = false;
    } else if (c == '"' && !begun) {
      out.back().clear();
      quoted = true;
      begun = true;
    } else {
      begun = begun || (c != ' ' && c != '\t');
      out.back() += c;
    }
  }
  if (quoted) return {};
  for (std::string& field : out) field = std::string(trim(field));
  return out;
}

class Parser {
 public:
  Parser(std::string_view name, bool skip_unknown) : name_(name), skip_unknown_(skip_unknown) {}

  ParsedCounters run(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    unsigned number = 0;
    for (const std::string& line : split(text, '\n')) {
      ++number;
      const std::string_view body = trim(line);
      if (!body.empty() && body[0] != '#') read(body, number);
    }
    auto order = [](const Counter& a, const Counter& b) {
      return std::pair(a.field->id, std::string_view(a.name)) <
             std::pair(b.field->id, std::string_view(b.name));
    };
    std::ranges::sort(out_.counters.values, order);
    std::ranges::sort(out_.counters.labels, order);
    std::ranges::sort(out_.counters.computed, order);
    return std::move(out_);
  }

 private:
  void find(bool error, unsigned line, std::string message, std::string remedy) {
    out_.findings.push_back({error, std::string(name_) + ':' + std::to_string(line),
                             std::move(message), std::move(remedy)});
  }

  void read(std::string_view body, unsigned line) {
    auto record = split_record(body);
    if (!record) {
      return find(true, line, "a quote is opened and not closed", "close it, or double it");
    }
    if (record->size() != 3) {
      return find(true, line,
                  "there are " + std::to_string(record->size()) + " fields instead of 3",
                  record->size() > 3 ? "put the help text between double quotes when it holds a "
                                       "comma"
                                     : "write: FIELD, type, help text");
    }
    Counter counter{(*record)[0], (*record)[1], (*record)[2], find_field((*record)[0])};
    if (!is_metric_name(counter.name)) {
      return find(true, line, "'" + valid_utf8(counter.name) + "' can be no name of a metric",
                  "use letters, digits and underscores");
    }
    if (std::ranges::find(kTypes, counter.type) == std::end(kTypes)) {
      return find(true, line, "'" + valid_utf8(counter.type) + "' is no type of a metric",
                  "use gauge, counter, histogram, summary or label");
    }
    if (counter.field == nullptr) return unknown(counter.name, line);
    if (!names_.insert(counter.name).second) {
      return find(false, line, counter.name + " is listed twice", "the first line counts");
    }
    take(std::move(counter), line);
  }

  void unknown(const std::string& name, unsigned line) {
    const std::string_view meant = nearest_field(name);
    find(!skip_unknown_, line, "'" + name + "' is no field",
         !meant.empty()  ? "did you mean " + std::string(meant) + "?"
         : skip_unknown_ ? "it is left out"
                         : "correct it, or set --ignore-unknown-counters to leave it out");
  }

  void take(Counter counter, unsigned line) {
    Counters& counters = out_.counters;
    if (counter.field->source == Source::kNone) {
      find(false, line, counter.name + " cannot be read through NVML", "it has no samples");
    }
    const bool is_label = counter.type == "label";
    if (counter.field->source == Source::kComputed) {
      if (is_label) {
        return find(true, line, counter.name + " cannot be a label", "use gauge or counter");
      }
      counters.computed.push_back(std::move(counter));
    } else if (is_label) {
      counters.labels.push_back(std::move(counter));
    } else if (counter.field->source == Source::kText) {
      find(true, line, counter.name + " is a text", "give it the type label");
    } else {
      counters.values.push_back(std::move(counter));
    }
  }

  std::string_view name_;
  bool skip_unknown_;
  std::set<std::string> names_;
  ParsedCounters out_;
};

}  // namespace

bool Counters::profiling() const {
  return std::ranges::any_of(values, [](const Counter& c) { return c.field->profiling(); });
}

bool ParsedCounters::ok() const {
  return std::ranges::none_of(findings, [](const Finding& finding) { return finding.error; });
}

ParsedCounters parse_counters(std::string_view text, std::string_view name, bool skip_unknown) {
  return Parser(name, skip_unknown).run(text);
}

std::string to_string(const Finding& finding) {
  std::string out = finding.where + ": " + finding.message;
  if (!finding.remedy.empty()) out += " (" + finding.remedy + ")";
  return out;
}

}  // namespace kerf::exporter
