#include "cli/inventory_command.h"

#include <iostream>
#include <string_view>

#include "base/roots.h"
#include "base/strings.h"
#include "cli/driver_view.h"
#include "host/pci.h"

namespace kerf::cli {
namespace {

constexpr const char* kUsage =
    "usage: kerf gpus [--json] [--root DIR] [--nvml-library FILE]\n\n"
    "Lists the NVIDIA GPUs on the PCI bus, and what the driver says of each.\n\n"
    "  --json               print JSON\n"
    "  --root DIR           prefix of the host's sys, proc and dev trees (default /)\n"
    "  --nvml-library FILE  exact path of libnvidia-ml.so.1 (default: searched)\n\n"
    "exit status: 0 listed, 1 neither a GPU nor a driver was found, 2 wrong arguments\n";

struct Options {
  std::string root = "/";
  std::string library;
  bool json = false;
  bool help = false;
};

Result<Options> parse(std::span<const std::string> args) {
  Options options;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    std::size_t equals = arg.find('=');
    std::string_view name = std::string_view(arg).substr(0, equals);
    std::string* value = name == "--root"           ? &options.root
                         : name == "--nvml-library" ? &options.library
                                                    : nullptr;
    if (arg == "--json") {
      options.json = true;
    } else if (arg == "--help" || arg == "-h") {
      options.help = true;
    } else if (value == nullptr) {
      return fail(Kind::kInvalid, "unknown argument", arg,
                  "usage: kerf gpus [--json] [--root DIR] [--nvml-library FILE]");
    } else {
      if (equals != std::string::npos) {
        *value = arg.substr(equals + 1);
      } else {
        *value = i + 1 < args.size() ? args[++i] : "";
      }
      if (value->empty()) return fail(Kind::kInvalid, "a value is missing", std::string(name));
    }
  }
  return options;
}

const inventory::Gpu* find(const DriverView& view, const std::string& bus_id) {
  for (const inventory::Gpu& gpu : view.snapshot.gpus) {
    if (gpu.pci_bus_id == bus_id) return &gpu;
  }
  return nullptr;
}

void print_json(const std::vector<host::PciGpu>& pci, const DriverView& view) {
  std::cout << "{\"driver\":" << json_quote(view.why_not.empty() ? "ready" : view.why_not)
            << ",\"gpus\":[";
  std::string_view comma;
  for (const host::PciGpu& device : pci) {
    const inventory::Gpu* gpu = find(view, device.bus_id);
    std::cout << comma << "{\"pci\":" << json_quote(device.bus_id)
              << ",\"device\":" << device.device_id << ",\"class\":" << device.class_code
              << ",\"kernel_driver\":" << json_quote(device.driver);
    if (gpu != nullptr) {
      std::cout << ",\"index\":" << gpu->index << ",\"uuid\":" << json_quote(gpu->uuid)
                << ",\"name\":" << json_quote(gpu->name);
    }
    std::cout << '}';
    comma = ",";
  }
  std::cout << "]}\n";
}

void print_table(const std::vector<host::PciGpu>& pci, const DriverView& view) {
  for (const host::PciGpu& device : pci) {
    const inventory::Gpu* gpu = find(view, device.bus_id);
    std::cout << device.bus_id << "  NVIDIA " << (device.driver.empty() ? "-" : device.driver);
    if (gpu != nullptr) {
      std::cout << "  GPU " << gpu->index << ": " << gpu->name << " (" << gpu->uuid << ")";
    }
    std::cout << '\n';
  }
  if (pci.empty()) std::cout << "no NVIDIA GPU on the PCI bus\n";
  if (!view.why_not.empty()) std::cout << "driver: " << view.why_not << '\n';
}

}  // namespace

int run_gpus(std::span<const std::string> args) {
  Result<Options> options = parse(args);
  if (!options) {
    std::cerr << "kerf gpus: " << options.error().text() << '\n';
    return 2;
  }
  if (options->help) {
    std::cout << kUsage;
    return 0;
  }
  Roots roots = Roots::below(options->root);
  std::vector<host::PciGpu> pci = host::pci_gpus(roots);
  DriverView view = look_at_driver(options->library, "", roots);
  // A driver may know GPUs that the PCI tree does not show (integrated ones).
  for (const inventory::Gpu& gpu : view.snapshot.gpus) {
    bool listed = false;
    for (const host::PciGpu& device : pci) listed |= device.bus_id == gpu.pci_bus_id;
    if (!listed) pci.push_back({gpu.pci_bus_id, 0, 0, "nvidia", gpu.numa_node});
  }
  options->json ? print_json(pci, view) : print_table(pci, view);
  return pci.empty() && !view.why_not.empty() ? 1 : 0;
}

}  // namespace kerf::cli
