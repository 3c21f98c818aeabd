// The effective configuration: command line before environment before file before default, each
// field with the place it came from. Pure: arguments, environment and the reading of the file are
// handed in. Source: device-plugin contract §1.1, §1.6, §2.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/diagnostic.h"
#include "config/flags.h"
#include "config/types.h"

namespace kerf::config {

using Env = std::map<std::string, std::string, std::less<>>;

// The `environ` array as a value. nullptr gives an empty one.
Env env_from(const char* const* environment);

// Where one value came from.
struct Provenance {
  std::string path;  // in the file ("flags.migStrategy"), or the flag if it cannot be in one
                     // ("--listen")
  std::string
      source;  // "flag --mig-strategy", "env MIG_STRATEGY", "file config.yaml:3:5", "default"
};

struct Effective {
  Config config;
  ProcessOptions process;
  std::vector<Provenance>
      provenance;                    // flags in the order of agent_flags(), then sharing, resources
  std::vector<Diagnostic> findings;  // errors and warnings, those of the file first

  bool ok() const { return !has_errors(findings); }
};

// Reads the named file whole; its error is reported as a finding.
using ReadFile = std::function<Result<std::string>(const std::string& path)>;

// Always gives an answer; it may be used only if ok(). For callers that show all findings.
Effective evaluate(const FlagValues& flags, const Env& env, const ReadFile& read);

// The same, but errors become one Error (kInvalid; kNotFound or kDenied if the file could not be
// read): what = the first finding's text and how many more there are, subject = its
// file:line:column or flag, hint = its remedy. Warnings are in `findings`.
Result<Effective> load(const FlagValues& flags, const Env& env, const ReadFile& read);

// Only a file, as `kerf config check` sees it: defaults where it says nothing, no environment.
Effective evaluate_file(std::string_view text, std::string_view file_name);

}  // namespace kerf::config
