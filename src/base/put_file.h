// The door for files that others read while we write them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>

#include "base/files.h"
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

// The same, always with a new file, which stays open. `claim` is called with it before it has its
// name, so that whoever finds the file finds it claimed (locked); false, with errno, gives up.
Result<Fd> put_open_file(const std::string& path, std::string_view text, const PutFile& how,
                         const std::function<bool(int fd)>& claim);

// Makes `path` a symbolic link that says `target`, at once, replacing a file or a link. Of two who
// do so at the same time one may fail. `how.mode` has no meaning here.
Status put_link(const std::string& path, const std::string& target, const PutFile& how);

}  // namespace kerf
