#include "labels/facts.h"

#include <string_view>

#include "base/files.h"
#include "base/strings.h"

namespace kerf::labels {
namespace {

std::string below(const Roots& roots, const std::string& path) {
  std::string sys = Roots::below("/").sys + "/";
  return path.starts_with(sys) ? join_path(roots.sys, path.substr(sys.size())) : path;
}

}  // namespace

Found read_facts(const Roots& roots, const std::string& machine_type_file) {
  Found found;
  found.facts.pci = host::pci_gpus(roots);
  if (!machine_type_file.empty()) {
    std::string path = below(roots, machine_type_file);
    Result<std::string> machine = read_file(path, 4096);
    if (machine) found.facts.machine = trim(*machine);
    if (!machine && machine.error().kind != Kind::kNotFound) {
      found.warnings.push_back(
          "The machine's product name cannot be read: " + machine.error().text() + ".");
    }
  }
  Result<std::vector<host::Vgpu>> vgpus = host::vgpus(roots);
  if (vgpus) {
    found.facts.vgpus = std::move(*vgpus);
  } else {
    found.warnings.push_back("Whether there are virtual GPUs is unknown: " + vgpus.error().text() +
                             ".");
  }
  return found;
}

}  // namespace kerf::labels
