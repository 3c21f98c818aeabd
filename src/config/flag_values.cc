// From the texts of a command line or environment to values, and back.
#include <algorithm>
#include <charconv>
#include <limits>

#include "base/strings.h"
#include "config/diagnostic.h"
#include "config/flags.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

Result<Value> parse_bool(std::string_view text) {
  constexpr std::string_view kTrue[] = {"1", "t", "T", "true", "TRUE", "True"};
  constexpr std::string_view kFalse[] = {"0", "f", "F", "false", "FALSE", "False"};
  if (std::count(std::begin(kTrue), std::end(kTrue), text) > 0) return Value(true);
  if (std::count(std::begin(kFalse), std::end(kFalse), text) > 0) return Value(false);
  return fail(Kind::kInvalid, fmt::format("'{}' is not a truth value", printable(text)), {},
              "use true or false");
}

Result<int> parse_int(std::string_view text) {
  std::string_view digits = text;
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  }
  long long number = 0;
  auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  bool whole = status == std::errc() && end == digits.data() + digits.size() && !digits.empty() &&
               digits[0] != '-';
  if (!whole || number > std::numeric_limits<int>::max()) {
    return fail(Kind::kInvalid, fmt::format("'{}' is not a whole number", printable(text)), {},
                "use decimal digits, several numbers separated by commas");
  }
  return static_cast<int>(negative ? -number : number);
}

std::vector<std::string> parse_list(std::string_view text) {
  std::vector<std::string> items;
  for (const std::string& item : split(text, ',')) items.emplace_back(trim(item));
  return items;
}

Result<Value> parse_ints(std::string_view text) {
  std::vector<int> numbers;
  if (trim(text).empty()) return Value(numbers);
  for (const std::string& item : parse_list(text)) {
    Result<int> number = parse_int(item);
    if (!number) return fail(number.error());
    numbers.push_back(*number);
  }
  return Value(numbers);
}

std::string unknown_flag_hint(std::string_view name) {
  std::vector<std::string_view> names;
  for (const FlagSpec& spec : agent_flags()) {
    names.push_back(spec.name);
    names.insert(names.end(), spec.aliases.begin(), spec.aliases.end());
  }
  std::optional<std::string> near = nearest(name.substr(0, 64), names);
  return near ? fmt::format("did you mean --{}?", *near) : "see kerf agent --help";
}

}  // namespace

Result<Value> parse_value(FlagKind kind, std::string_view text) {
  switch (kind) {
    case FlagKind::kBool:
      return parse_bool(text);
    case FlagKind::kString:
      return Value(std::string(text));
    case FlagKind::kStringList:
      return Value(text.empty() ? std::vector<std::string>{} : parse_list(text));
    case FlagKind::kIntList:
      return parse_ints(text);
  }
  return fail(Kind::kInternal, "unknown kind of flag");
}

std::string to_text(const Value& value) {
  struct Writer {
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(const std::string& s) const { return s; }
    std::string operator()(const std::vector<std::string>& list) const { return join(list, ","); }
    std::string operator()(const std::vector<int>& list) const {
      return fmt::format("{}", fmt::join(list, ","));
    }
  };
  return std::visit(Writer{}, value);
}

Value default_value(const FlagSpec& spec) {
  return parse_value(spec.kind, spec.default_text).value_or(Value(std::string()));
}

Result<FlagValues> parse_arguments(std::span<const std::string> arguments) {
  FlagValues given;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (!argument.starts_with('-') || argument == "-" || argument == "--") {
      return fail(Kind::kInvalid, fmt::format("unexpected argument '{}'", printable(argument)), {},
                  "flags begin with --");
    }
    argument.remove_prefix(argument.starts_with("--") ? 2 : 1);
    std::size_t equals = argument.find('=');
    std::string_view name = argument.substr(0, equals);
    const FlagSpec* spec = name.starts_with('-') ? nullptr : find_flag(name);
    if (spec == nullptr) {
      return fail(Kind::kInvalid, "unknown flag", fmt::format("--{}", printable(name)),
                  unknown_flag_hint(name));
    }
    std::string value = "true";
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (spec->kind != FlagKind::kBool) {
      if (++i == arguments.size()) {
        return fail(Kind::kInvalid, "flag needs a value", fmt::format("--{}", name),
                    fmt::format("write --{}=VALUE", name));
      }
      value = arguments[i];
    }
    given[std::string(spec->name)].push_back(std::move(value));
  }
  return given;
}

}  // namespace kerf::config
