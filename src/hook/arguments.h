// The hook program's command line, which is NVIDIA's: `create-symlinks --link target::path ...`.
// Runtime contract §2.3. Pure.
#pragma once

#include <span>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/result.h"

namespace kerf::hook {

enum class Task {
  kCreateSymlinks,
  kUpdateLdcache,
  kEnableCudaCompat,
  kChmod,
  kDisableDeviceNodeModification,
  kUpdateApplicationProfile,
  kUnknown,  // a hook of another release: nothing is done, with a word
};

struct Link {
  std::string target;  // as it will stand in the link
  std::string path;
  bool operator==(const Link&) const = default;
};

struct Arguments {
  Task task = Task::kUnknown;
  std::string word;                  // the task as it was written
  std::string state = "-";           // file with the container's state; "-": standard input
  std::vector<Link> links;           // create-symlinks
  std::vector<std::string> folders;  // update-ldcache, absolute
  std::string ldconfig;              // update-ldcache: program on the host
  std::string driver_version;        // enable-cuda-compat, of the host
  std::string compat_root = "/usr/local/cuda/compat";
  mode_t mode = 0;                 // chmod, permission bits
  std::vector<std::string> paths;  // chmod
  bool operator==(const Arguments&) const = default;
};

// `words` are what follows the program's name; a leading "hook" is passed over. Every option is
// written `--name value` or `--name=value`.
Result<Arguments> parse_arguments(std::span<const std::string> words);

// What --help prints.
std::string help();

}  // namespace kerf::hook
