// `lsmod` and `ls` as they are asked for inside the plugin's container. The image holds no shell
// and no tools; links of these names to the binary answer the questions one has about a node's GPU
// set-up: which kernel modules are loaded, and what lies in the kubelet's directory. Not a
// replacement for the real ones.
#pragma once

#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::cli {

// The table of kmod's `lsmod`: a heading, then module, size in bytes, use count and users. `text`
// is the content of /proc/modules; kCorrupt names the line that is not in its form.
Result<std::string> render_modules(std::string_view text);

// The same for this machine. kUnsupported when its kernel knows no modules.
Result<std::string> list_modules(const Roots& roots);

// How `ls` shows a directory.
struct ListStyle {
  bool all = false;         // -a: also names that begin with a dot, and "." and ".."
  bool almost_all = false;  // -A: the same without "." and ".."
  bool longer = false;      // -l: mode, links, owner, group, bytes, time, name, link target
};

// One directory (its entries by name) or one file. Owners are named as roots.etc has them, else
// numbers; a '+' after the mode says that there is an ACL; times are in UTC, with the year in place
// of the time of day when more than half a year from `now`. Errors: kNotFound, kDenied.
Result<std::string> list_files(const std::string& path, ListStyle style, const Roots& roots,
                               std::time_t now);

// What the commands print and return: 0 done, 1 failed, 2 wrong usage. `args` are what follows the
// command's name.
int run_lsmod(std::span<const std::string> args, const Roots& roots);
int run_ls(std::span<const std::string> args, const Roots& roots);

}  // namespace kerf::cli
