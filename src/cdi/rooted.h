// Looking at a directory tree as if it were the root: symbolic links are followed inside it, so
// that "/etc/alternatives/x" of another system's tree does not lead to a file of ours. Reads only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::cdi {

class Rooted {
 public:
  explicit Rooted(std::string root) : root_(std::move(root)) {}

  // Where `path` leads, as a path of the tree that holds no link; nothing when it leads nowhere.
  std::optional<std::string> resolve(std::string_view path) const;
  // The same, for directories alone.
  std::optional<std::string> resolve_directory(std::string_view path) const;
  // What a symbolic link says, as it stands there; nothing when `path` is no link.
  std::optional<std::string> read_link(std::string_view path) const;
  // Names in a directory, sorted; none when there is no such directory.
  std::vector<std::string> names(std::string_view directory) const;
  // `path` of the tree as a path of this process.
  std::string here(std::string_view path) const;

 private:
  std::string root_;
};

}  // namespace kerf::cdi
