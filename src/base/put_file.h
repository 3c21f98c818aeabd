// The door for files that others read while we write them.
#pragma once

#include <string>
#include <string_view>
#include <sys/types.h>

#include "base/result.h"

namespace kerf {

struct PutFile {
  std::string_view what = "file";  // for messages: "CDI specification"
  mode_t mode = 0644;              // whatever the umask is; readers may be other users
  std::string remedy;              // for a directory or file that may not be written
};

// Makes `path` hold `text`, at once: a reader sees the file of before or all of the new one, also
// after a power cut. The new one is written beside it under a hidden name of no known extension.
// False when the file holds the text with that mode already and was left alone. The directory must
// exist. Errors have the path as subject, and leave the file of before in place.
Result<bool> put_file(const std::string& path, std::string_view text, const PutFile& how);

}  // namespace kerf
