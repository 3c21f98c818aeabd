// What is wrong, or merely odd, about a configuration, and where: the compiler-style findings that
// the log, `kerf config check` and the status page show. Pure values.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::config {

// A place in a file; both count from 1, columns in bytes. 0 means unknown.
struct Position {
  unsigned line = 0;
  unsigned column = 0;
  bool operator==(const Position&) const = default;
};

enum class Severity { kWarning, kError };

std::string_view to_string(Severity severity);  // "warning", "error"

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string file;  // the file, or "flag --x" / "env X" for a value that came from there
  Position at;       // in `file`
  std::string path;  // "sharing.timeSlicing.resources[0].replicas"; empty for the whole file
  std::string message;
  std::string hint;     // the remedy; may be empty
  std::string excerpt;  // the line of the file, cut to fit a terminal; empty when there is none
  unsigned caret = 0;   // byte offset of `at` in `excerpt`

  // "config.yaml:7:15", or the flag or environment variable.
  std::string where() const;
};

// As compilers write it, without a final newline:
//   config.yaml:7:15: error: sharing.timeSlicing.resources[0].replicas: no replicas specified
//       - name: nvidia.com/gpu
//         ^
//     hint: add replicas: 2 or more
std::string render(const Diagnostic& diagnostic);

// {"file":…,"errors":1,"warnings":0,"findings":[{severity,file,line,column,path,message,hint}…]}
std::string render_json(std::string_view file, std::span<const Diagnostic> findings);

bool has_errors(std::span<const Diagnostic> findings);

// Fills `excerpt` and `caret` of a finding from the text its position refers to.
void attach_excerpt(Diagnostic& diagnostic, std::string_view text);

// A value as it is safe to print in a message: at most 80 bytes, control characters escaped.
std::string printable(std::string_view value);

}  // namespace kerf::config
