// A session with the driver for commands that ask or change GPUs and end. Calls run on a lane with
// a deadline, so that a driver that hangs ends a command with an error instead of with patience.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "inventory/builder.h"
#include "nvml/session.h"

namespace kerf::cli {

class DriverDoor {
 public:
  // Loads `library` (a path), or searches for one below `driver_root` when it is empty.
  static Result<std::unique_ptr<DriverDoor>> open(const std::string& library,
                                                  const std::string& driver_root);
  ~DriverDoor();
  DriverDoor(const DriverDoor&) = delete;
  DriverDoor& operator=(const DriverDoor&) = delete;

  inventory::DriverAccess access();
  const inventory::Driver& driver() const { return driver_; }

  // Runs `work` with the session on the lane and gives back the Result that it returns. `work` must
  // own all it uses.
  template <typename Work>
  auto ask(std::string_view subject, Work work) {
    using Answer = std::invoke_result_t<Work, const std::shared_ptr<const nvml::Session>&>;
    return access().lane.call(
        subject, kPatience,
        [slot = slot_, work = std::move(work)]() mutable -> Answer { return work(slot->get()); });
  }

 private:
  static constexpr std::chrono::milliseconds kPatience{10'000};
  DriverDoor() = default;

  nvml::Lane lane_;
  std::shared_ptr<nvml::SessionSlot> slot_ = std::make_shared<nvml::SessionSlot>();
  inventory::Driver driver_;
};

// Whether "0", "GPU-…" or "0000:3b:00.0" (also with eight digits of domain, in any case) names this
// GPU.
bool names_gpu(std::string_view text, unsigned index, std::string_view uuid,
               std::string_view bus_id);

}  // namespace kerf::cli
