#include "doctor/report.h"

#include <algorithm>

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::doctor {
namespace {

// A terminal must not be steered by what a pod calls itself or writes into its log.
std::string harmless(std::string_view text) {
  std::string out;
  for (const char c : valid_utf8(text)) {
    out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  }
  return out;
}

const char* colour_of(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "32";
    case Severity::kSkipped:
      return "2";
    case Severity::kWarning:
      return "33";
    case Severity::kError:
      return "31";
  }
  return "31";
}

std::size_t count(const std::vector<Section>& sections, Severity severity) {
  std::size_t sum = 0;
  for (const Section& section : sections) {
    sum += static_cast<std::size_t>(
        std::ranges::count(section.findings, severity, &Finding::severity));
  }
  return sum;
}

std::string counted(std::size_t n, std::string_view word) {
  return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s");
}

}  // namespace

Severity gravest(const std::vector<Section>& sections) {
  for (const Severity severity : {Severity::kError, Severity::kWarning, Severity::kOk}) {
    if (count(sections, severity) > 0) return severity;
  }
  return count(sections, Severity::kSkipped) > 0 ? Severity::kSkipped : Severity::kOk;
}

std::string to_text(const std::vector<Section>& sections, bool colour) {
  const auto paint = [&](const char* code, const std::string& text) {
    return colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  };
  std::string out;
  for (const Section& section : sections) {
    const std::string heading =
        section.name + (section.subject.empty() ? "" : " ") + section.subject;
    out += paint("1", harmless(heading)) + "\n";
    for (const Finding& finding : section.findings) {
      out += "  " +
             paint(colour_of(finding.severity), fmt::format("{:<5}", to_string(finding.severity)));
      out += "  " + harmless(finding.what) + "\n";
      if (!finding.remedy.empty()) out += "         " + harmless(finding.remedy) + "\n";
    }
    out += "\n";
  }
  const std::size_t errors = count(sections, Severity::kError);
  const std::size_t warnings = count(sections, Severity::kWarning);
  out += errors + warnings == 0 ? "nothing wrong found"
                                : counted(errors, "error") + ", " + counted(warnings, "warning");
  return out + "\n";
}

std::string to_json(const std::vector<Section>& sections) {
  const Severity worst = gravest(sections);
  std::string out = fmt::format("{{\"status\":\"{}\",\"findings\":[",
                                to_string(worst == Severity::kSkipped ? Severity::kOk : worst));
  std::string_view comma;
  for (const Section& section : sections) {
    for (const Finding& finding : section.findings) {
      out += fmt::format(
          "{}\n {{\"section\":{},\"severity\":\"{}\",\"check\":{},\"what\":{},\"remedy\":{}}}",
          comma, json_quote(section.name), to_string(finding.severity), json_quote(finding.check),
          json_quote(finding.what), json_quote(finding.remedy));
      comma = ",";
    }
  }
  return out + "\n]}\n";
}

}  // namespace kerf::doctor
