#include "mps/layout.h"

#include "base/roots.h"

namespace kerf::mps {

Layout::Layout(std::string_view root, std::string_view resource)
    : directory(join_path(root, resource)),
      pipe(join_path(directory, "pipe")),
      log(join_path(directory, "log")),
      started(join_path(directory, ".started")) {}

std::string ready_file(std::string_view root) { return join_path(root, ".ready"); }

std::string shm_directory(std::string_view root) { return join_path(root, "shm"); }

}  // namespace kerf::mps
