// Every absolute path of the host that kerf reads comes from here, so that tests run on a tree of
// their own (`--root`).
#pragma once

#include <string>
#include <string_view>

namespace kerf {

struct Roots {
  std::string sys;   // "/sys"
  std::string proc;  // "/proc"
  std::string dev;   // "/dev"
  std::string etc;   // "/etc"
  std::string run;   // "/run"
  std::string var;   // "/var"

  // The six trees below `prefix` ("/" or "" for the real ones). No trailing slashes.
  static Roots below(std::string_view prefix);
};

// "a" + "b" with exactly one slash between.
std::string join_path(std::string_view directory, std::string_view name);

}  // namespace kerf
