#include "config/reader.h"

#include <algorithm>

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

// Longer words are no slips of a known key, and comparing them costs time.
constexpr std::size_t kLongestSlip = 64;
constexpr std::size_t kManyFindings = 1000;  // nobody reads their hints

bool same_key(std::string_view a, std::string_view b, KeyCase key_case) {
  return key_case == KeyCase::kExact ? a == b : to_lower(a) == to_lower(b);
}

}  // namespace

std::string describe(const Node& node) {
  switch (node.type) {
    case Node::Type::kString:
      return fmt::format("the string \"{}\"", printable(node.text));
    case Node::Type::kBool:
      return fmt::format("the truth value {}", node.text);
    case Node::Type::kInt:
    case Node::Type::kFloat:
      return fmt::format("the number {}", printable(node.text));
    default:
      return std::string(to_string(node.type));
  }
}

std::string below(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

std::string below(const std::string& path, std::size_t index) {
  return fmt::format("{}[{}]", path, index);
}

void Reader::error(const Node& where, const std::string& path, std::string message,
                   std::string hint) {
  findings_.push_back(
      {Severity::kError, {}, where.at, path, std::move(message), std::move(hint), {}, 0});
}

void Reader::warning(Position where, const std::string& path, std::string message,
                     std::string hint) {
  findings_.push_back(
      {Severity::kWarning, {}, where, path, std::move(message), std::move(hint), {}, 0});
}

void Reader::wrong_type(const Node& node, const std::string& path, std::string_view wanted,
                        std::string hint) {
  error(node, path, fmt::format("expected {}, found {}", wanted, describe(node)), std::move(hint));
}

bool Reader::map(const Node& node, const std::string& path, KeyCase key_case,
                 const std::vector<Field>& fields) {
  if (node.is(Node::Type::kNull)) return true;
  if (!node.is(Node::Type::kMap)) {
    wrong_type(node, path, "a mapping", "write \"key: value\" lines below it");
    return false;
  }
  std::vector<bool> known(node.entries.size(), false);
  for (const Field& field : fields) {
    const Entry* chosen = nullptr;
    for (std::size_t i = 0; i < node.entries.size(); ++i) {
      const Entry& entry = node.entries[i];
      if (!same_key(entry.key, field.key, key_case)) continue;
      known[i] = true;
      if (chosen != nullptr) {
        warning(entry.at, below(path, field.key),
                fmt::format("key given again in another case; the one in line {} is ignored",
                            chosen->at.line),
                "keep one of them");
      }
      chosen = &entry;
    }
    if (chosen == nullptr) continue;
    std::string field_path = below(path, field.key);
    bool is_leaf = !chosen->value.is(Node::Type::kMap) && !chosen->value.is(Node::Type::kList) &&
                   !chosen->value.is(Node::Type::kNull);
    values_.positions[field_path] = is_leaf ? chosen->value.at : chosen->at;
    field.read(chosen->value, field_path);
  }
  for (std::size_t i = 0; i < node.entries.size(); ++i) {
    if (!known[i]) unknown_key(node.entries[i], path, key_case, fields);
  }
  return true;
}

void Reader::unknown_key(const Entry& entry, const std::string& path, KeyCase key_case,
                         const std::vector<Field>& fields) {
  std::vector<std::string_view> keys;
  keys.reserve(fields.size());
  for (const Field& field : fields) keys.push_back(field.key);
  std::string hint;
  std::optional<std::string> near;
  bool worth_it = entry.key.size() <= kLongestSlip && findings_.size() < kManyFindings;
  if (worth_it) near = nearest(entry.key, keys);
  if (near) {
    bool only_case = to_lower(*near) == to_lower(entry.key);
    hint = fmt::format("did you mean {}?", *near);
    if (only_case && key_case == KeyCase::kExact) hint += " upper and lower case matter here";
  } else if (path.empty() && (entry.key == "apiVersion" || entry.key == "kind")) {
    hint =
        "this looks like a Kubernetes object; the file must hold only the text of one of its "
        "keys below data:";
  } else if (path == "resources" && entry.value.is(Node::Type::kMap)) {
    hint = "resources are named in lists: gpus: [{pattern: \"*\", name: nvidia.com/gpu}]";
  } else {
    hint = fmt::format("known here: {}", fmt::join(keys, ", "));
  }
  warning(entry.at, below(path, printable(entry.key)), "unknown key, ignored", std::move(hint));
}

std::optional<bool> Reader::boolean(const Node& node, const std::string& path) {
  if (node.is(Node::Type::kBool)) return node.boolean;
  if (!node.is(Node::Type::kNull)) {
    wrong_type(node, path, "true or false", "write true or false without quotes");
  }
  return {};
}

std::optional<std::string> Reader::string(const Node& node, const std::string& path) {
  if (node.is(Node::Type::kString)) return node.text;
  bool scalar = !node.is(Node::Type::kMap) && !node.is(Node::Type::kList);
  if (!node.is(Node::Type::kNull)) {
    wrong_type(node, path, "a string",
               scalar
                   ? fmt::format("if that is meant, put it in quotes: \"{}\"", printable(node.text))
                   : "write a single word");
  }
  return {};
}

std::optional<std::int64_t> Reader::integer(const Node& node, const std::string& path) {
  bool number = node.is(Node::Type::kInt) || node.is(Node::Type::kFloat);
  if (number && node.whole) {
    std::string digits = to_lower(node.text);
    bool octal = node.is(Node::Type::kInt) && digits.size() > 1 && digits[0] == '0' &&
                 digits[1] >= '0' && digits[1] <= '9';
    if (octal) {
      warning(node.at, path, fmt::format("{} is octal and means {}", node.text, node.integer),
              "write the number without a leading 0");
    }
    return node.integer;
  }
  if (!node.is(Node::Type::kNull)) {
    wrong_type(node, path, "a whole number", "write decimal digits without quotes");
  }
  return {};
}

const std::vector<Node>* Reader::list(const Node& node, const std::string& path,
                                      std::string_view of) {
  if (node.is(Node::Type::kList)) return &node.items;
  if (!node.is(Node::Type::kNull)) {
    wrong_type(node, path, fmt::format("a list of {}", of), "begin each item with \"- \"");
  }
  return nullptr;
}

}  // namespace kerf::config
