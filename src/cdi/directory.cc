// Writing specifications so that a runtime never reads half of one.
#include "cdi/directory.h"

#include <cerrno>
#include <filesystem>
#include <unistd.h>

#include "base/put_file.h"
#include "base/roots.h"
#include "cdi/render.h"

namespace kerf::cdi {
namespace {

constexpr std::string_view kRemedy =
    "the plugin must be able to write where container runtimes look for CDI specifications: mount "
    "the host's directory there and give it access with `kerf prepare --cdi-dir` (component "
    "deploy/kustomize/components/cdi)";

}  // namespace

std::string file_name(std::string_view device_class) {
  return std::string(kVendor).append("-").append(device_class).append(".json");
}

Result<bool> Directory::write(const Spec& spec) {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) {
    return fail_errno("cannot make the directory for CDI specifications", path_, error.value(),
                      std::string(kRemedy));
  }
  return put_file(join_path(path_, file_name(spec.device_class)), render(spec),
                  {"CDI specification", 0644, std::string(kRemedy)});
}

Result<bool> Directory::remove(std::string_view device_class) {
  const std::string path = join_path(path_, file_name(device_class));
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail_errno("cannot remove the CDI specification", path, errno, std::string(kRemedy));
}

}  // namespace kerf::cdi
