#include "config/diagnostic.h"

#include <algorithm>

#include "base/strings.h"
#include "config/tree.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

// Longest part of a line that is shown, and how much of it stands before the caret.
constexpr std::size_t kExcerptBytes = 120;
constexpr std::size_t kExcerptBefore = 60;

bool continues_utf8(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::string_view line_of(std::string_view text, unsigned line) {
  for (unsigned i = 1; i < line; ++i) {
    std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string_view found = text.substr(0, text.find('\n'));
  if (found.ends_with('\r')) found.remove_suffix(1);
  return found;
}

// What goes below the excerpt: as wide as the text before the caret, TABs kept.
std::string caret_line(const Diagnostic& d) {
  std::string out;
  for (char c : std::string_view(d.excerpt).substr(0, d.caret)) {
    if (c == '\t') {
      out += '\t';
    } else if (!continues_utf8(c)) {
      out += ' ';
    }
  }
  return out + '^';
}

}  // namespace

std::string_view to_string(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

std::string Diagnostic::where() const {
  if (at.line == 0) return file;
  return fmt::format("{}:{}:{}", file, at.line, at.column);
}

std::string render(const Diagnostic& d) {
  std::string out = fmt::format("{}: {}: ", d.where(), to_string(d.severity));
  if (!d.path.empty()) out += d.path + ": ";
  out += d.message;
  if (!d.excerpt.empty()) out += fmt::format("\n{}\n{}", d.excerpt, caret_line(d));
  if (!d.hint.empty()) out += "\n  hint: " + d.hint;
  return out;
}

std::string render_json(std::string_view file, std::span<const Diagnostic> findings) {
  auto errors = std::count_if(findings.begin(), findings.end(),
                              [](const Diagnostic& d) { return d.severity == Severity::kError; });
  std::string out =
      fmt::format("{{\"file\":{},\"errors\":{},\"warnings\":{},\"findings\":[", json_quote(file),
                  errors, static_cast<std::ptrdiff_t>(findings.size()) - errors);
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const Diagnostic& d = findings[i];
    out += fmt::format(
        "{}{{\"severity\":\"{}\",\"file\":{},\"line\":{},\"column\":{},\"path\":{},\"message\":{},"
        "\"hint\":{}}}",
        i > 0 ? "," : "", to_string(d.severity), json_quote(d.file), d.at.line, d.at.column,
        json_quote(d.path), json_quote(d.message), json_quote(d.hint));
  }
  return out + "]}";
}

bool has_errors(std::span<const Diagnostic> findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Diagnostic& d) { return d.severity == Severity::kError; });
}

void attach_excerpt(Diagnostic& d, std::string_view text) {
  if (d.at.line == 0) return;
  std::string_view line = line_of(text, d.at.line);
  std::size_t column = std::min<std::size_t>(d.at.column > 0 ? d.at.column - 1 : 0, line.size());
  std::size_t from = 0;
  if (line.size() > kExcerptBytes && column > kExcerptBefore) from = column - kExcerptBefore;
  std::size_t end = std::min(line.size(), from + kExcerptBytes);
  while (from < column && continues_utf8(line[from])) ++from;
  for (int i = 0; i < 3 && end > column && end < line.size() && continues_utf8(line[end]); ++i) {
    --end;
  }
  d.excerpt = line.substr(from, end - from);
  // What a terminal would act upon, or could not show, must not reach it.
  bool clean = check_bytes(d.excerpt).empty();
  for (char& c : d.excerpt) {
    auto byte = static_cast<unsigned char>(c);
    if (!clean && c != '\t' && (byte < 0x20 || byte >= 0x7f)) c = '?';
  }
  d.caret = static_cast<unsigned>(column - from);
}

std::string printable(std::string_view value) {
  constexpr std::size_t kLongest = 80;
  bool cut = value.size() > kLongest;
  if (cut) {
    std::size_t end = kLongest;
    while (end > 0 && continues_utf8(value[end])) --end;
    value = value.substr(0, end);
  }
  std::string quoted = json_quote(value);
  std::string out = quoted.substr(1, quoted.size() - 2);
  // Only controls need the escapes; quotes and backslashes are shown as they were written.
  for (std::size_t at = 0; (at = out.find('\\', at)) != std::string::npos; ++at) {
    if (at + 1 < out.size() && (out[at + 1] == '"' || out[at + 1] == '\\')) out.erase(at, 1);
  }
  return cut ? out + "…" : out;
}

}  // namespace kerf::config
