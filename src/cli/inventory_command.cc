#include "cli/inventory_command.h"

#include <chrono>
#include <iostream>
#include <memory>
#include <string_view>

#include "base/roots.h"
#include "base/strings.h"
#include "host/pci.h"
#include "inventory/builder.h"
#include "nvml/library.h"

namespace kerf::cli {
namespace {

constexpr std::chrono::seconds kPatience{10};

struct Options {
  std::string root = "/";
  std::string library;
  bool json = false;
};

Result<Options> parse(std::span<const std::string> args) {
  Options options;
  for (const std::string& arg : args) {
    std::size_t equals = arg.find('=');
    std::string_view name = std::string_view(arg).substr(0, equals);
    std::string value = equals == std::string::npos ? "" : arg.substr(equals + 1);
    if (arg == "--json") {
      options.json = true;
    } else if (name == "--root" && !value.empty()) {
      options.root = value;
    } else if (name == "--nvml-library" && !value.empty()) {
      options.library = value;
    } else {
      return fail(Kind::kInvalid, "unknown argument", arg,
                  "usage: kerf gpus [--json] [--root=DIR] [--nvml-library=FILE]");
    }
  }
  return options;
}

// The driver's view; an empty list with a reason when there is none.
struct DriverView {
  std::vector<inventory::Gpu> gpus;
  std::string why_not;
};

DriverView driver_view(const Options& options, const Roots& roots) {
  nvml::Lane lane;
  inventory::DriverAccess access{lane, std::make_shared<nvml::SessionSlot>(), kPatience};
  Result<inventory::Driver> driver =
      inventory::start_driver(access, nvml::library_candidates(options.library, ""),
                              std::make_shared<nvml::CallCounters>());
  DriverView view;
  if (!driver) {
    view.why_not = driver.error().text();
  } else if (Result<inventory::Reading> reading = inventory::read_gpus(access, roots, {});
             !reading) {
    view.why_not = reading.error().text();
  } else {
    view.gpus = std::move(reading->gpus);
  }
  // The session must be let go of on the lane, where the driver may take its time.
  [[maybe_unused]] auto closed = lane.call("driver", kPatience, [slot = access.slot] {
    slot->clear();
    return Status();
  });
  lane.stop(std::chrono::seconds(1));
  return view;
}

const inventory::Gpu* find(const DriverView& view, const std::string& bus_id) {
  for (const inventory::Gpu& gpu : view.gpus) {
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
  Roots roots = Roots::below(options->root);
  std::vector<host::PciGpu> pci = host::pci_gpus(roots);
  DriverView view = driver_view(*options, roots);
  // A driver may know GPUs that the PCI tree does not show (integrated ones).
  for (const inventory::Gpu& gpu : view.gpus) {
    bool listed = false;
    for (const host::PciGpu& device : pci) listed |= device.bus_id == gpu.pci_bus_id;
    if (!listed) pci.push_back({gpu.pci_bus_id, 0, 0, "nvidia", gpu.numa_node});
  }
  options->json ? print_json(pci, view) : print_table(pci, view);
  return pci.empty() && !view.why_not.empty() ? 1 : 0;
}

}  // namespace kerf::cli
