#include "base/roots.h"

namespace kerf {

Roots Roots::below(std::string_view prefix) {
  while (!prefix.empty() && prefix.back() == '/') prefix.remove_suffix(1);
  std::string p(prefix);
  return Roots{p + "/sys", p + "/proc", p + "/dev", p + "/etc", p + "/run", p + "/var"};
}

std::string join_path(std::string_view directory, std::string_view name) {
  while (!directory.empty() && directory.back() == '/') directory.remove_suffix(1);
  while (!name.empty() && name.front() == '/') name.remove_prefix(1);
  return std::string(directory) + "/" + std::string(name);
}

}  // namespace kerf
