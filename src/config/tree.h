// A YAML or JSON document as a tree of typed values with positions, bounded in size, depth and
// number of values. Internal to the room: what the keys mean is parse.cc's business. Follows YAML
// 1.1 as go-yaml v2 reads it, since that is what NVIDIA's plugin uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace kerf::config {

struct Entry;

struct Node {
  enum class Type { kNull, kBool, kInt, kFloat, kString, kMap, kList };

  Type type = Type::kNull;
  Position at;
  std::string text;            // a scalar as it was written, without quotes
  bool boolean = false;        // kBool
  std::int64_t integer = 0;    // kInt, and kFloat when `whole`
  bool whole = false;          // kInt, or a kFloat without a fraction that fits an int64
  std::vector<Entry> entries;  // kMap, in the order of the file; keys are unique
  std::vector<Node> items;     // kList

  bool is(Type wanted) const { return type == wanted; }
};

struct Entry {
  std::string key;
  Position at;
  Node value;
};

std::string_view to_string(Node::Type type);  // with article: "a string", "a list"

struct Tree {
  Node root;  // kNull for an empty document
  bool valid = false;
  std::vector<Diagnostic> findings;  // without file and excerpt
};

// Reads the first document of `text`. Never throws.
Tree read_tree(std::string_view text);

// Sets type and value of a plain (unquoted) scalar from its text.
void resolve_plain(Node& node);

// The first thing about the bytes that makes them no YAML text: size, encoding, control characters.
std::vector<Diagnostic> check_bytes(std::string_view text);

}  // namespace kerf::config
