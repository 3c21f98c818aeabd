#include "power/gpus.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "mps/process.h"
#include "nvml/control.h"
#include "nvml/errors.h"
#include "nvml/session.h"
#include "nvml/telemetry.h"

namespace kerf::power {
namespace {

using nvml::Control;
using nvml::Figure;
using nvml::Telemetry;
using SessionPtr = std::shared_ptr<const nvml::Session>;

constexpr std::chrono::seconds kSmiPatience{10};
constexpr const char* kRights =
    "limits can be set by root with CAP_SYS_ADMIN only: run this pod privileged, as the component "
    "power of deploy/kustomize does";

Result<SessionPtr> session_of(const nvml::SessionSlot& slot) {
  SessionPtr session = slot.get();
  if (!session) return fail(nvml::error_for(nvml::abi::kErrorUninitialized, "nvmlInit_v2"));
  return session;
}

// Codes that say that the GPU or the whole driver is gone, whatever was asked.
bool is_fatal(std::uint32_t code) {
  return code == nvml::abi::kErrorGpuIsLost || code == nvml::abi::kErrorResetRequired ||
         nvml::is_driver_failure(static_cast<int>(code));
}

class Asker {
 public:
  explicit Asker(Reading& reading) : reading_(reading) {}

  // What is pointed to is the figure's.
  template <typename T>
  const T* take(const Figure<T>&& figure, std::string_view function) = delete;
  template <typename T>
  const T* take(const Figure<T>& figure, std::string_view function) {
    if (figure) return &figure.value;
    if (is_fatal(figure.code) && !reading_.error) {
      reading_.error = nvml::error_for(figure.code, function);
    }
    return nullptr;
  }
  void number(std::optional<std::uint32_t>& into, const Telemetry::Number& figure,
              std::string_view function) {
    if (const std::uint32_t* value = take(figure, function)) into = *value;
  }

 private:
  Reading& reading_;
};

void ask_limits(const Telemetry& ask, nvml::abi::Device gpu, Reading& r) {
  Asker asker(r);
  const auto limit = ask.power_limit(gpu);
  asker.number(r.limit_mw, limit, "nvmlDeviceGetPowerManagementLimit");
  const auto range = ask.power_limits(gpu);
  if (const auto* value = asker.take(range, "nvmlDeviceGetPowerManagementLimitConstraints")) {
    r.min_mw = value->low;
    r.max_mw = value->high;
  }
  if (!limit) r.no_limits = nvml::error_for(limit.code, "nvmlDeviceGetPowerManagementLimit");
  if (limit && !range) {
    r.no_limits = nvml::error_for(range.code, "nvmlDeviceGetPowerManagementLimitConstraints");
  }
  asker.number(r.enforced_mw, ask.enforced_power_limit(gpu), "nvmlDeviceGetEnforcedPowerLimit");
  asker.number(r.default_mw, ask.default_power_limit(gpu),
               "nvmlDeviceGetPowerManagementDefaultLimit");
}

void ask_state(const Telemetry& ask, nvml::abi::Device gpu, Reading& r) {
  Asker asker(r);
  asker.number(r.draw_mw, ask.power(gpu), "nvmlDeviceGetPowerUsage");
  const auto persistence = ask.persistence_mode(gpu);
  if (const auto* mode = asker.take(persistence, "nvmlDeviceGetPersistenceMode")) {
    r.persistence = *mode == nvml::abi::kEnabled;
  }
  asker.number(r.graphics_mhz, ask.clock(gpu, nvml::abi::kClockGraphics), "nvmlDeviceGetClockInfo");
  asker.number(r.memory_mhz, ask.clock(gpu, nvml::abi::kClockMem), "nvmlDeviceGetClockInfo");
  asker.number(r.temperature, ask.temperature(gpu), "nvmlDeviceGetTemperature");
  const auto use = ask.utilization(gpu);
  if (const auto* value = asker.take(use, "nvmlDeviceGetUtilizationRates")) {
    r.utilization = value->gpu;
    r.memory_utilization = value->memory;
  }
  if (auto serial = ask.serial(gpu)) r.serial = std::move(serial.value);
}

Status name_rights(Status status, const std::string& uuid) {
  if (status) return status;
  status.error().subject = uuid;
  if (status.error().kind == Kind::kDenied) status.error().hint = kRights;
  return status;
}

Status give(const Control& control, nvml::abi::Device gpu, const Command& command) {
  using Clock = Control::Clock;
  const Clock clock =
      command.what == Command::What::kMemoryClock ? Clock::kMemory : Clock::kGraphics;
  switch (command.what) {
    case Command::What::kPersistence:
      return control.set_persistence(gpu, true);
    case Command::What::kLimit:
      return control.set_power_limit(gpu, command.limit_mw);
    case Command::What::kGraphicsClock:
    case Command::What::kMemoryClock:
      if (!command.clocks) return control.unlock_clock(gpu, clock);
      return control.lock_clock(gpu, clock, command.clocks->min_mhz, command.clocks->max_mhz);
    case Command::What::kTimeSlice:
      break;
  }
  return fail(Kind::kInternal, "no command for the driver");
}

}  // namespace

Reading read_gpu(const inventory::DriverAccess& access, const Gpu& gpu) {
  Reading unread;
  unread.gpu = gpu;
  if (gpu.lost) {
    unread.error = Error{Kind::kGone, "the GPU is off the bus", gpu.uuid, {}, 0};
    return unread;
  }
  auto read =
      access.lane.call(gpu.uuid, access.limit, [slot = access.slot, gpu]() -> Result<Reading> {
        Result<SessionPtr> session = session_of(*slot);
        if (!session) return fail(std::move(session.error()));
        auto device = (*session)->gpu_by_uuid(gpu.uuid);
        if (!device) return fail(std::move(device.error()));
        const Telemetry ask(*session);
        Reading reading;
        reading.gpu = gpu;
        ask_limits(ask, *device, reading);
        if (!reading.error) ask_state(ask, *device, reading);
        return reading;
      });
  if (!read) {
    unread.error = std::move(read.error());
    return unread;
  }
  drop_absurd(*read);
  return std::move(*read);
}

Status apply(const inventory::DriverAccess& access, const Command& command) {
  return name_rights(access.lane.call(command.uuid, access.limit,
                                      [slot = access.slot, command]() -> Status {
                                        Result<SessionPtr> session = session_of(*slot);
                                        if (!session) return fail(std::move(session.error()));
                                        auto device = (*session)->gpu_by_uuid(command.uuid);
                                        if (!device) return fail(std::move(device.error()));
                                        return give(Control(*session), *device, command);
                                      }),
                     command.uuid);
}

Result<std::uint32_t> read_limit(const inventory::DriverAccess& access, const std::string& uuid) {
  return access.lane.call(
      uuid, access.limit, [slot = access.slot, uuid]() -> Result<std::uint32_t> {
        Result<SessionPtr> session = session_of(*slot);
        if (!session) return fail(std::move(session.error()));
        auto device = (*session)->gpu_by_uuid(uuid);
        if (!device) return fail(std::move(device.error()));
        const auto limit = Telemetry(*session).power_limit(*device);
        if (limit) return limit.value;
        return fail(nvml::error_for(limit.code, "nvmlDeviceGetPowerManagementLimit", uuid));
      });
}

Status set_time_slice(const Smi& smi, const Command& command, int stop_fd) {
  Result<std::string> program = mps::find_program("nvidia-smi", smi.driver_root, smi.path);
  std::error_code none;
  if (program && std::filesystem::equivalent(*program, smi.self, none)) {
    program = fail(Kind::kNotFound, "cannot find the driver's own nvidia-smi", smi.path,
                   "let the container have the driver's programs");
  }
  if (!program) return fail(std::move(program.error()));
  const auto number = static_cast<unsigned>(command.time_slice);
  Result<std::string> done =
      mps::run({*program,
                {"compute-policy", "-i", command.uuid, "--set-timeslice", std::to_string(number)},
                smi.environment},
               "", kSmiPatience, stop_fd);
  if (done) return {};
  done.error().during("setting the time slice");
  done.error().subject = command.uuid;
  return fail(std::move(done.error()));
}

}  // namespace kerf::power
