// The flags of the agent in one table: command line, environment, config file, default, help. The
// command-line parser, the loader and `kerf config explain` all read it. Sources: device-plugin
// contract §2.1; kerf's own flags are marked as such in their help.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace kerf::config {

enum class FlagKind { kBool, kString, kStringList, kIntList };

// A value of a flag, wherever it came from.
using Value = std::variant<bool, std::string, std::vector<std::string>, std::vector<int>>;

struct FlagSpec {
  std::string_view name;                  // "mig-strategy", without dashes
  std::vector<std::string_view> aliases;  // the same
  std::vector<std::string_view> env;      // the first that is present counts
  FlagKind kind = FlagKind::kString;
  std::string_view default_text;          // as one would type it; "" for empty
  std::string_view file_path;             // "flags.migStrategy"; "" if it cannot be in the file
  std::vector<std::string_view> allowed;  // words; empty: anything
  std::string_view help;
};

// All flags of `kerf agent`, in the order of the help text. `--help` and `--version` are not here.
// Lives for the whole program; any thread.
std::span<const FlagSpec> agent_flags();

// By name or alias, with or without leading dashes; nullptr when there is none.
const FlagSpec* find_flag(std::string_view name);
// By its place in the config file; nullptr when there is none.
const FlagSpec* find_file_flag(std::string_view file_path);

// What was given on a command line: canonical flag name -> raw texts in the order given. A switch
// without a value counts as "true".
using FlagValues = std::map<std::string, std::vector<std::string>, std::less<>>;

// Reads "--name=value", "--name value", "--switch", with one dash or two, as NVIDIA's plugin does;
// a bool takes its value only after '='. Anything else is an error (kInvalid) that names the
// nearest flag. For callers without a command-line library.
Result<FlagValues> parse_arguments(std::span<const std::string> arguments);

// A raw text as a value of this kind: bool words of Go's strconv, lists split at commas with their
// items trimmed. Does not look at `allowed`. kInvalid when it is not of the kind.
Result<Value> parse_value(FlagKind kind, std::string_view text);

// The other way: "true", "a,b", "[0]" -> "0".
std::string to_text(const Value& value);

// The default of a flag as a value.
Value default_value(const FlagSpec& spec);

}  // namespace kerf::config
