// Walks mappings of a tree by a list of known keys and collects findings. Internal to the room:
// shared by the files that read the parts of a configuration.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/parse.h"
#include "config/tree.h"

namespace kerf::config {

// Go's decoder folds case for plain structs, but not inside the sharing and resource objects.
enum class KeyCase { kIgnored, kExact };

struct Field {
  std::string_view key;
  // Called with the value and its path; not called for a key that is absent. Null is passed on.
  std::function<void(const Node& value, const std::string& path)> read;
};

class Reader {
 public:
  Reader(FileValues& values, std::vector<Diagnostic>& findings)
      : values_(values), findings_(findings) {}

  FileValues& values() { return values_; }
  std::size_t finding_count() const { return findings_.size(); }

  void error(const Node& where, const std::string& path, std::string message, std::string hint);
  void warning(Position where, const std::string& path, std::string message, std::string hint);

  // Null is an empty mapping; anything else that is not a mapping is an error. Fields are read in
  // the order of `fields`, unknown keys become warnings. False when it was no mapping.
  bool map(const Node& node, const std::string& path, KeyCase key_case,
           const std::vector<Field>& fields);

  // Each of these reports what does not fit and returns nullopt; null is nullopt without a finding.
  std::optional<bool> boolean(const Node& node, const std::string& path);
  std::optional<std::string> string(const Node& node, const std::string& path);
  std::optional<std::int64_t> integer(const Node& node, const std::string& path);
  // The items of a list.
  const std::vector<Node>* list(const Node& node, const std::string& path, std::string_view of);

  void wrong_type(const Node& node, const std::string& path, std::string_view wanted,
                  std::string hint);

 private:
  void unknown_key(const Entry& entry, const std::string& path, KeyCase key_case,
                   const std::vector<Field>& fields);

  FileValues& values_;
  std::vector<Diagnostic>& findings_;
};

// "a number, 2.5"; what a finding says was found.
std::string describe(const Node& node);
std::string below(const std::string& path, std::string_view key);  // "flags" + "plugin"
std::string below(const std::string& path, std::size_t index);     // "gpus" + 0

// The parts of a configuration, each in a file of its own.
void read_flags(Reader& reader, const Node& node, const std::string& path);
void read_imex(Reader& reader, const Node& node, const std::string& path);
void read_health(Reader& reader, const Node& node, const std::string& path);
void read_power(Reader& reader, const Node& node, const std::string& path);
void read_usage(Reader& reader, const Node& node, const std::string& path);
void read_resources(Reader& reader, const Node& node, const std::string& path);
void read_sharing(Reader& reader, const Node& node, const std::string& path);

}  // namespace kerf::config
