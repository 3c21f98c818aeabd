#include "cli/driver_door.h"

#include "base/strings.h"
#include "nvml/library.h"

namespace kerf::cli {

Result<std::unique_ptr<DriverDoor>> DriverDoor::open(const std::string& library,
                                                     const std::string& driver_root) {
  std::unique_ptr<DriverDoor> door(new DriverDoor());
  auto driver =
      inventory::start_driver(door->access(), nvml::library_candidates(library, driver_root),
                              std::make_shared<nvml::CallCounters>());
  if (!driver) return fail(std::move(driver.error()));
  door->driver_ = std::move(*driver);
  return door;
}

DriverDoor::~DriverDoor() {
  // The session must be let go of on the lane, where the driver may take its time.
  [[maybe_unused]] auto closed = lane_.call("driver", kPatience, [slot = slot_] {
    slot->clear();
    return Status();
  });
  lane_.stop(std::chrono::seconds(1));
}

inventory::DriverAccess DriverDoor::access() { return {lane_, slot_, kPatience}; }

bool names_gpu(std::string_view text, unsigned index, std::string_view uuid,
               std::string_view bus_id) {
  if (auto number = parse_u64(text)) return *number == index;
  std::string given = to_lower(text);
  if (given == to_lower(uuid)) return true;
  if (given.find(':') == 8 && given.starts_with("0000")) given.erase(0, 4);
  return given == to_lower(bus_id);
}

}  // namespace kerf::cli
