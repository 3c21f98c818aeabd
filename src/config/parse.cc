// The door of the file reader: the top level and the parts that mirror flags. The sharing and
// resources sections are in parse_sharing.cc.
#include "config/parse.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/strings.h"
#include "config/duration.h"
#include "config/reader.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

// More than anybody reads; a hostile file could make tens of thousands.
constexpr std::size_t kMaxFindings = 100;

void read_version(Reader& reader, const Node& node, const std::string& path) {
  if (node.is(Node::Type::kNull) || node.text == "v1") return;
  if (node.is(Node::Type::kMap) || node.is(Node::Type::kList)) {
    reader.wrong_type(node, path, "a string", "write version: v1");
  } else if (!node.text.empty()) {
    reader.error(node, path, fmt::format("unknown version: {}", printable(node.text)),
                 "write version: v1");
  }
}

std::optional<Value> read_strategies(Reader& reader, const Node& node, const std::string& path) {
  if (node.is(Node::Type::kNull)) return {};
  if (node.is(Node::Type::kString)) return std::vector<std::string>{node.text};
  std::string_view key = std::string_view(path).substr(path.rfind('.') + 1);
  if (!node.is(Node::Type::kList)) {
    std::string found = node.is(Node::Type::kMap) ? "a mapping" : printable(node.text);
    reader.error(node, path, fmt::format("invalid {}: {}", key, found),
                 "write a word or a list of words");
    return {};
  }
  std::vector<std::string> words;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const Node& item = node.items[i];
    if (item.is(Node::Type::kString)) {
      words.push_back(item.text);
    } else {
      reader.wrong_type(item, below(path, i), "a string", "write a word");
    }
  }
  return words;
}

std::optional<Value> read_numbers(Reader& reader, const Node& node, const std::string& path) {
  const std::vector<Node>* items = reader.list(node, path, "numbers");
  if (items == nullptr) return {};
  std::vector<int> numbers;
  for (std::size_t i = 0; i < items->size(); ++i) {
    const Node& item = (*items)[i];
    if (item.is(Node::Type::kNull)) {
      reader.wrong_type(item, below(path, i), "a whole number", "write 0");
      continue;
    }
    std::optional<std::int64_t> number = reader.integer(item, below(path, i));
    if (!number) continue;
    if (*number < std::numeric_limits<int>::min() || *number > std::numeric_limits<int>::max()) {
      reader.error(item, below(path, i), fmt::format("{} is out of range", item.text), "write 0");
    } else {
      numbers.push_back(static_cast<int>(*number));
    }
  }
  return numbers;
}

std::optional<Value> read_value(Reader& reader, FlagKind kind, const Node& node,
                                const std::string& path) {
  switch (kind) {
    case FlagKind::kBool:
      if (auto value = reader.boolean(node, path)) return Value(*value);
      return {};
    case FlagKind::kString:
      if (auto value = reader.string(node, path)) return Value(*value);
      return {};
    case FlagKind::kStringList:
      return read_strategies(reader, node, path);
    case FlagKind::kIntList:
      return read_numbers(reader, node, path);
  }
  return {};
}

// A string, or a bare number of nanoseconds; kept as text that has a unit.
std::optional<Value> read_duration(Reader& reader, const Node& node, const std::string& path) {
  constexpr const char* kHint = "write it like 60s, 1m30s or infinite";
  if (node.is(Node::Type::kNull)) return {};
  if (node.is(Node::Type::kString)) {
    Result<std::int64_t> duration = parse_duration(node.text);
    if (duration) return Value(node.text);
    reader.error(node, path, duration.error().what, kHint);
  } else if (node.is(Node::Type::kInt) || node.is(Node::Type::kFloat)) {
    if (node.integer != 0 || !node.whole) {
      reader.warning(node.at, path, "a bare number means nanoseconds", "write a unit: 60s");
    }
    return Value(duration_text(node.integer));
  } else {
    reader.error(node, path, "invalid duration", kHint);
  }
  return {};
}

// One field for each flag whose place in the file is directly below `section`.
std::vector<Field> fields_of(Reader& reader, std::string_view section) {
  std::vector<Field> fields;
  for (const FlagSpec& spec : agent_flags()) {
    std::size_t dot = spec.file_path.rfind('.');
    if (dot == std::string_view::npos || spec.file_path.substr(0, dot) != section) continue;
    fields.push_back({spec.file_path.substr(dot + 1),
                      [&reader, &spec](const Node& node, const std::string& path) {
                        auto value = spec.name == "sleep-interval"
                                         ? read_duration(reader, node, path)
                                         : read_value(reader, spec.kind, node, path);
                        if (value) {
                          reader.values().settings[std::string(spec.name)] = std::move(*value);
                        }
                      }});
  }
  return fields;
}

void read_top(Reader& reader, const Node& root) {
  auto part = [&reader](void (*read)(Reader&, const Node&, const std::string&)) {
    return [&reader, read](const Node& node, const std::string& path) { read(reader, node, path); };
  };
  reader.map(root, "", KeyCase::kIgnored,
             {{"version", part(read_version)},
              {"flags", part(read_flags)},
              {"resources", part(read_resources)},
              {"sharing", part(read_sharing)},
              {"imex", part(read_imex)},
              {"health", part(read_health)},
              {"power", part(read_power)},
              {"usage", part(read_usage)}});
}

// By position, keeping the order of what stands at the same one. Not std::stable_sort, whose helper
// clang reports as deprecated.
std::vector<Diagnostic> in_file_order(std::vector<Diagnostic> all) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&all](std::size_t a, std::size_t b) {
    return std::tuple(all[a].at.line, all[a].at.column, a) <
           std::tuple(all[b].at.line, all[b].at.column, b);
  });
  std::vector<Diagnostic> sorted;
  sorted.reserve(all.size());
  for (std::size_t i : order) sorted.push_back(std::move(all[i]));
  return sorted;
}

void finish(Parsed& parsed, std::string_view text, std::string_view file_name) {
  std::vector<Diagnostic>& all = parsed.findings;
  all = in_file_order(std::move(all));
  if (all.size() > kMaxFindings) {
    Diagnostic more;
    more.severity =
        has_errors(std::span(all).subspan(kMaxFindings)) ? Severity::kError : Severity::kWarning;
    more.message = fmt::format("{} more findings are not shown", all.size() - kMaxFindings);
    more.hint = "put the first ones right";
    all.resize(kMaxFindings);
    all.push_back(std::move(more));
  }
  for (Diagnostic& d : all) {
    d.file = file_name;
    attach_excerpt(d, text);
  }
}

}  // namespace

void read_flags(Reader& reader, const Node& node, const std::string& path) {
  std::vector<Field> fields = fields_of(reader, "flags");
  fields.push_back({"plugin", [&reader](const Node& plugin, const std::string& plugin_path) {
                      reader.map(plugin, plugin_path, KeyCase::kIgnored,
                                 fields_of(reader, "flags.plugin"));
                    }});
  fields.push_back({"gfd", [&reader](const Node& gfd, const std::string& gfd_path) {
                      reader.map(gfd, gfd_path, KeyCase::kIgnored, fields_of(reader, "flags.gfd"));
                    }});
  reader.map(node, path, KeyCase::kIgnored, fields);
}

void read_imex(Reader& reader, const Node& node, const std::string& path) {
  reader.map(node, path, KeyCase::kIgnored, fields_of(reader, "imex"));
}

Parsed parse(std::string_view text, std::string_view file_name) {
  Parsed parsed;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // byte order mark
  Tree tree = read_tree(text);
  parsed.findings = std::move(tree.findings);
  if (tree.valid) {
    Reader reader(parsed.values, parsed.findings);
    read_top(reader, tree.root);
  }
  finish(parsed, text, file_name);
  return parsed;
}

}  // namespace kerf::config
