#include "cli/driver_view.h"

#include <chrono>
#include <memory>
#include <utility>

#include "inventory/builder.h"
#include "nvml/library.h"

namespace kerf::cli {
namespace {

constexpr std::chrono::seconds kPatience{10};

void refuse(DriverView& view, Error error) {
  view.why_not = error.text();
  error.hint.clear();
  view.brief = error.text();
}

}  // namespace

DriverView look_at_driver(const std::string& library, const std::string& container_driver_root,
                          const Roots& roots) {
  nvml::Lane lane;
  inventory::DriverAccess access{lane, std::make_shared<nvml::SessionSlot>(), kPatience};
  Result<inventory::Driver> driver =
      inventory::start_driver(access, nvml::library_candidates(library, container_driver_root),
                              std::make_shared<nvml::CallCounters>());
  DriverView view;
  if (!driver) {
    refuse(view, std::move(driver.error()));
  } else if (Result<inventory::Reading> reading = inventory::read_gpus(access, roots, {});
             !reading) {
    refuse(view, std::move(reading.error()));
  } else {
    view.snapshot.driver = std::move(*driver);
    view.snapshot.gpus = std::move(reading->gpus);
  }
  // The session must be let go of on the lane, where the driver may take its time.
  [[maybe_unused]] auto closed = lane.call("driver", kPatience, [slot = access.slot] {
    slot->clear();
    return Status();
  });
  lane.stop(std::chrono::seconds(1));
  return view;
}

}  // namespace kerf::cli
