#include "cli/config_command.h"

#include <algorithm>
#include <iostream>
#include <iterator>
#include <string_view>

#include "base/files.h"
#include "config/parse.h"
#include "config/render.h"

namespace kerf::cli {
namespace {

constexpr int kGood = 0;
constexpr int kErrors = 1;
constexpr int kUsage = 2;

constexpr std::string_view kCheckUsage =
    "usage: kerf config check [--json] FILE\n"
    "Checks a configuration file (- is the standard input) and prints all findings.\n"
    "Ends with 1 if there are errors, with 0 otherwise.\n";

constexpr std::string_view kExplainUsage =
    "usage: kerf config explain [flags of kerf agent]\n"
    "Prints the effective configuration as YAML, each value with where it came from.\n"
    "Ends with 1 if there are errors in it.\n";

bool is_help(const std::string& arg) { return arg == "--help" || arg == "-h"; }

// One byte more than the parser takes, so that it is the parser that says what is too long.
Result<std::string> read_input(const std::string& file) {
  if (file != "-") return read_file(file, config::kMaxFileBytes + 1);
  std::string text;
  while (text.size() <= config::kMaxFileBytes && std::cin) {
    char block[4096];
    std::cin.read(block, sizeof block);
    text.append(block, static_cast<std::size_t>(std::cin.gcount()));
  }
  return text;
}

config::Effective check_input(const std::string& file, const std::string& shown) {
  Result<std::string> text = read_input(file);
  if (text) return config::evaluate_file(*text, shown);
  config::Effective nothing;
  config::Diagnostic d;
  d.file = shown;
  d.message = text.error().what;
  d.hint = text.error().hint.empty() ? "check the path and its permissions" : text.error().hint;
  nothing.findings.push_back(std::move(d));
  return nothing;
}

void print_summary(const std::string& file, std::span<const config::Diagnostic> findings,
                   std::ostream& out) {
  auto errors = std::count_if(findings.begin(), findings.end(), [](const config::Diagnostic& d) {
    return d.severity == config::Severity::kError;
  });
  auto warnings = static_cast<std::ptrdiff_t>(findings.size()) - errors;
  auto counted = [](std::ptrdiff_t n, const char* word) {
    return std::to_string(n) + ' ' + word + (n == 1 ? "" : "s");
  };
  out << file << ": "
      << (findings.empty() ? "ok" : counted(errors, "error") + ", " + counted(warnings, "warning"))
      << '\n';
}

}  // namespace

int config_check(std::span<const std::string> args, std::ostream& out, std::ostream& err) {
  bool json = false;
  std::vector<std::string> files;
  for (const std::string& arg : args) {
    if (is_help(arg)) {
      out << kCheckUsage;
      return kGood;
    }
    if (arg == "--json") {
      json = true;
    } else if (arg.starts_with('-') && arg != "-") {
      err << "unknown flag: " << arg << '\n' << kCheckUsage;
      return kUsage;
    } else {
      files.push_back(arg);
    }
  }
  if (files.size() != 1) {
    err << kCheckUsage;
    return kUsage;
  }
  std::string shown = files[0] == "-" ? "<stdin>" : files[0];
  config::Effective checked = check_input(files[0], shown);
  if (json) {
    out << config::render_json(shown, checked.findings) << '\n';
  } else {
    for (const config::Diagnostic& d : checked.findings) out << config::render(d) << '\n';
    print_summary(shown, checked.findings, out);
  }
  return checked.ok() ? kGood : kErrors;
}

int config_explain(std::span<const std::string> args, const config::Env& env, std::ostream& out,
                   std::ostream& err) {
  if (std::any_of(args.begin(), args.end(), is_help)) {
    out << kExplainUsage;
    return kGood;
  }
  Result<config::FlagValues> flags = config::parse_arguments(args);
  if (!flags) {
    err << flags.error().text() << '\n' << kExplainUsage;
    return kUsage;
  }
  config::Effective effective = config::evaluate(*flags, env, read_input);
  for (const config::Diagnostic& d : effective.findings) err << config::render(d) << '\n';
  if (!effective.ok()) return kErrors;
  out << config::to_yaml(effective);
  return kGood;
}

int run_config(std::span<const std::string> args, const char* const* environment) {
  std::string_view which = args.empty() ? std::string_view() : std::string_view(args[0]);
  if (which == "check") return config_check(args.subspan(1), std::cout, std::cerr);
  if (which == "explain") {
    return config_explain(args.subspan(1), config::env_from(environment), std::cout, std::cerr);
  }
  bool help = !args.empty() && is_help(args[0]);
  (help ? std::cout : std::cerr) << kCheckUsage << '\n' << kExplainUsage;
  return help ? kGood : kUsage;
}

}  // namespace kerf::cli
