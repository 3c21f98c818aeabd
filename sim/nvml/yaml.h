// A reader for the part of YAML that machine files use: block mappings and sequences, flow ones on
// a single line, plain and quoted scalars, comments. Anchors, tags, multi-line scalars and several
// documents are refused with their line. It exists because the simulator must load into any
// program, so it may not bring a C++ library along.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace nvmlsim {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  Kind kind = Kind::kNull;
  int line = 0;
  std::string text;
  std::vector<YamlNode> items;                            // of a sequence
  std::vector<std::pair<std::string, YamlNode>> entries;  // of a mapping, in order

  const YamlNode* find(const std::string& key) const;
};

// Parses `text`. On failure returns false and sets `error` to "line: what is wrong".
bool parse_yaml(const std::string& text, YamlNode& root, int& error_line, std::string& error);

}  // namespace nvmlsim
