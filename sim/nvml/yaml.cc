#include "yaml.h"

#include <algorithm>
#include <cstddef>

namespace nvmlsim {
namespace {

struct Line {
  int number;
  std::size_t indent;
  std::string text;
};

class Parser {
 public:
  bool run(const std::string& text, YamlNode& root) {
    if (!split(text)) return false;
    if (lines_.empty()) return true;
    if (!block(lines_[0].indent, root)) return false;
    return at_ == lines_.size() || fail(lines_[at_].number, "unexpected indentation");
  }
  int error_line = 0;
  std::string error;

 private:
  bool fail(int line, std::string what) {
    if (error.empty()) {
      error_line = line;
      error = std::move(what);
    }
    return false;
  }

  // Cuts a comment that is not inside quotes.
  static std::string strip(const std::string& s) {
    char quote = 0;
    std::size_t end = s.size();
    for (std::size_t i = 0; i < s.size(); ++i) {
      if (quote) {
        if (s[i] == quote) quote = 0;
      } else if (s[i] == '"' || s[i] == '\'') {
        quote = s[i];
      } else if (s[i] == '#' && (i == 0 || s[i - 1] == ' ' || s[i - 1] == '\t')) {
        end = i;
        break;
      }
    }
    while (end > 0 && (s[end - 1] == ' ' || s[end - 1] == '\t' || s[end - 1] == '\r')) --end;
    return s.substr(0, end);
  }

  bool split(const std::string& text) {
    int number = 0;
    for (std::size_t pos = 0; pos <= text.size();) {
      const std::size_t end = std::min(text.find('\n', pos), text.size());
      ++number;
      const std::string raw = strip(text.substr(pos, end - pos));
      pos = end + 1;
      const std::size_t indent = raw.find_first_not_of(' ');
      if (indent == std::string::npos || (raw == "---" && lines_.empty())) continue;
      if (raw[indent] == '\t') return fail(number, "a tab cannot indent, use spaces");
      if (raw == "---" || raw == "...") return fail(number, "only one document is allowed");
      lines_.push_back({number, indent, raw.substr(indent)});
    }
    return true;
  }

  static bool is_item(const std::string& s) { return s == "-" || s.rfind("- ", 0) == 0; }

  bool block(std::size_t indent, YamlNode& node) {
    if (++depth_ > 32) return fail(lines_[at_].number, "nested too deeply");
    const bool ok = is_item(lines_[at_].text) ? sequence(indent, node) : mapping(indent, node);
    --depth_;
    return ok;
  }

  bool sequence(std::size_t indent, YamlNode& node) {
    node.kind = YamlNode::Kind::kSequence;
    node.line = lines_[at_].number;
    while (at_ < lines_.size() && lines_[at_].indent == indent && is_item(lines_[at_].text)) {
      Line& line = lines_[at_];
      YamlNode item;
      item.line = line.number;
      const std::size_t body = line.text.find_first_not_of(' ', 1);
      if (body == std::string::npos) {
        ++at_;
        if (at_ < lines_.size() && lines_[at_].indent > indent && !block(lines_[at_].indent, item))
          return false;
      } else if (key_end(line.text.substr(body)) != std::string::npos) {
        line.text = line.text.substr(body);  // "- a: 1" opens a mapping two columns in
        line.indent = indent + body;
        if (!block(line.indent, item)) return false;
      } else {
        if (!scalar_line(line.text.substr(body), line.number, item)) return false;
        ++at_;
      }
      node.items.push_back(std::move(item));
    }
    return true;
  }

  // Position of the colon that ends a mapping key, npos if this is no "key: value".
  static std::size_t key_end(const std::string& s) {
    if (s.empty() || s[0] == '{' || s[0] == '[') return std::string::npos;
    if (s[0] == '"' || s[0] == '\'') {
      const std::size_t close = s.find(s[0], 1);
      return close != std::string::npos && close + 1 < s.size() && s[close + 1] == ':'
                 ? close + 1
                 : std::string::npos;
    }
    for (std::size_t i = 0; i < s.size(); ++i)
      if (s[i] == ':' && (i + 1 == s.size() || s[i + 1] == ' ')) return i;
    return std::string::npos;
  }

  bool mapping(std::size_t indent, YamlNode& node) {
    node.kind = YamlNode::Kind::kMapping;
    node.line = lines_[at_].number;
    while (at_ < lines_.size() && lines_[at_].indent == indent && !is_item(lines_[at_].text)) {
      const Line line = lines_[at_];
      const std::size_t colon = key_end(line.text);
      if (colon == std::string::npos) return fail(line.number, "expected 'key: value'");
      YamlNode value;
      value.line = line.number;
      const std::size_t body = line.text.find_first_not_of(' ', colon + 1);
      ++at_;
      if (body != std::string::npos) {
        if (!scalar_line(line.text.substr(body), line.number, value)) return false;
      } else if (at_ < lines_.size() &&
                 (lines_[at_].indent > indent ||
                  (lines_[at_].indent == indent && is_item(lines_[at_].text)))) {
        if (!block(lines_[at_].indent, value)) return false;
      }
      if (!add(node, unquote(line.text.substr(0, colon)), std::move(value))) return false;
    }
    if (at_ < lines_.size() && lines_[at_].indent > indent)
      return fail(lines_[at_].number, "unexpected indentation");
    return true;
  }

  bool add(YamlNode& node, std::string key, YamlNode value) {
    if (node.find(key)) return fail(value.line, "'" + key + "' is given twice");
    node.entries.emplace_back(std::move(key), std::move(value));
    return true;
  }

  static std::string unquote(const std::string& s) {
    if (s.size() >= 2 && (s[0] == '"' || s[0] == '\'') && s.back() == s[0])
      return s.substr(1, s.size() - 2);
    return s;
  }

  bool scalar_line(const std::string& s, int line, YamlNode& node) {
    std::size_t pos = 0;
    if (!flow(s, pos, line, node, false)) return false;
    return s.find_first_not_of(' ', pos) == std::string::npos ||
           fail(line, "unexpected text after the value");
  }

  static void skip(const std::string& s, std::size_t& pos) {
    while (pos < s.size() && s[pos] == ' ') ++pos;
  }

  bool flow(const std::string& s, std::size_t& pos, int line, YamlNode& node, bool inside) {
    if (++depth_ > 32) return fail(line, "nested too deeply");
    skip(s, pos);
    node.line = line;
    bool ok = true;
    if (pos < s.size() && s[pos] == '[') {
      ok = flow_sequence(s, pos, line, node);
    } else if (pos < s.size() && s[pos] == '{') {
      ok = flow_mapping(s, pos, line, node);
    } else {
      ok = flow_scalar(s, pos, line, node, inside);
    }
    --depth_;
    return ok;
  }

  bool flow_sequence(const std::string& s, std::size_t& pos, int line, YamlNode& node) {
    node.kind = YamlNode::Kind::kSequence;
    for (++pos;;) {
      skip(s, pos);
      if (pos >= s.size()) return fail(line, "missing ']' on this line");
      if (s[pos] == ']') return ++pos, true;
      YamlNode item;
      if (!flow(s, pos, line, item, true)) return false;
      node.items.push_back(std::move(item));
      if (!separator(s, pos, line, ']')) return false;
    }
  }

  bool flow_mapping(const std::string& s, std::size_t& pos, int line, YamlNode& node) {
    node.kind = YamlNode::Kind::kMapping;
    for (++pos;;) {
      skip(s, pos);
      if (pos >= s.size()) return fail(line, "missing '}' on this line");
      if (s[pos] == '}') return ++pos, true;
      const std::size_t colon = s.find(':', pos);
      if (colon == std::string::npos) return fail(line, "expected 'key: value' inside { }");
      const std::string key = unquote(s.substr(pos, colon - pos));
      pos = colon + 1;
      YamlNode value;
      if (!flow(s, pos, line, value, true)) return false;
      if (!add(node, key, std::move(value))) return false;
      if (!separator(s, pos, line, '}')) return false;
    }
  }

  bool separator(const std::string& s, std::size_t& pos, int line, char closing) {
    skip(s, pos);
    if (pos < s.size() && s[pos] == ',') return ++pos, true;
    return (pos < s.size() && s[pos] == closing) ||
           fail(line, std::string("expected ',' or '") + closing + "' on this line");
  }

  bool flow_scalar(const std::string& s, std::size_t& pos, int line, YamlNode& node, bool inside) {
    node.kind = YamlNode::Kind::kScalar;
    if (pos < s.size() && (s[pos] == '"' || s[pos] == '\'')) {
      const std::size_t close = s.find(s[pos], pos + 1);
      if (close == std::string::npos) return fail(line, "missing closing quote");
      node.text = s.substr(pos + 1, close - pos - 1);
      pos = close + 1;
      return true;
    }
    if (pos < s.size() && std::string("&*!|>%@`").find(s[pos]) != std::string::npos)
      return fail(line, "anchors, tags and multi-line text are not read here");
    const std::size_t start = pos;
    while (pos < s.size() && !(inside && (s[pos] == ',' || s[pos] == ']' || s[pos] == '}'))) ++pos;
    std::size_t end = pos;
    while (end > start && s[end - 1] == ' ') --end;
    node.text = s.substr(start, end - start);
    if (node.text == "null" || node.text == "~" || node.text.empty())
      node.kind = YamlNode::Kind::kNull;
    return true;
  }

  std::vector<Line> lines_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(const std::string& key) const {
  for (const auto& [name, value] : entries)
    if (name == key) return &value;
  return nullptr;
}

bool parse_yaml(const std::string& text, YamlNode& root, int& error_line, std::string& error) {
  Parser parser;
  if (parser.run(text, root)) return true;
  error_line = parser.error_line;
  error = parser.error;
  return false;
}

}  // namespace nvmlsim
