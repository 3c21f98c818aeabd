#include "health/conditions.h"

#include <utility>

#include "nvml/session.h"

namespace kerf::health {

namespace {

using nvml::Session;
namespace abi = nvml::abi;

// Bits of Unsupported.
enum Question : unsigned {
  kErrors = 1,
  kRows = 2,
  kLinks = 4,
  kClocks = 8,
  kTemperature = 16,
  kShutdownTemperature = 32,
  kRecovery = 64,
};

struct Answer {
  Conditions conditions;
  unsigned unsupported = 0;
};

class Interview {
 public:
  Interview(const Session& session, abi::Device gpu, Answer& answer)
      : session_(session), gpu_(gpu), answer_(answer) {}

  void memory(const Settings& settings) {
    Conditions& into = answer_.conditions;
    if (settings.ecc) ask(kErrors, &Session::uncorrectable_errors, into.uncorrectable);
    if (!settings.row_remap_failure && !settings.row_remap_pending) return;
    std::optional<Session::RemappedRows> rows;
    ask(kRows, &Session::remapped_rows, rows);
    if (!rows) return;
    into.remap_pending = rows->pending;
    into.remap_failed = rows->failed;
  }

  void links() {
    if ((answer_.unsupported & kLinks) != 0) return;
    for (unsigned link = 0; link < abi::kNvLinkMaxLinks; ++link) {
      auto up = session_.nvlink_active(gpu_, link);
      if (!up && link == 0) note(kLinks, up.error());
      if (!up) return;  // beyond the last one
      LinkCondition found{link, *up, {}};
      if (*up) {
        if (auto remote = session_.nvlink_remote(gpu_, link)) found.remote = remote->bus_id;
      }
      answer_.conditions.links.push_back(std::move(found));
    }
  }

  void heat() {
    Conditions& into = answer_.conditions;
    std::optional<std::uint64_t> reasons;
    ask(kClocks, &Session::clock_reasons, reasons);
    if (reasons) {
      // Older GPUs say only that the hardware slows down; a weak power supply does that as well.
      bool braked = (*reasons & abi::kReasonHwPowerBrake) != 0;
      into.slowed_by_heat = (*reasons & abi::kReasonHwThermal) != 0 ||
                            ((*reasons & abi::kReasonHwSlowdown) != 0 && !braked);
    }
    ask(kTemperature, &Session::temperature, into.temperature);
    ask(kShutdownTemperature, &Session::shutdown_temperature, into.shutdown_temperature);
  }

  void recovery() { ask(kRecovery, &Session::recovery_action, answer_.conditions.recovery_action); }

 private:
  template <typename T>
  void ask(Question question, Result<T> (Session::*query)(abi::Device) const,
           std::optional<T>& into) {
    if ((answer_.unsupported & question) != 0) return;
    auto value = (session_.*query)(gpu_);
    if (value) {
      into = *value;
    } else {
      note(question, value.error());
    }
  }
  void note(Question question, const Error& error) {
    if (error.kind == Kind::kUnsupported) answer_.unsupported |= question;
  }

  const Session& session_;
  abi::Device gpu_;
  Answer& answer_;
};

Result<Answer> read_gpu(const Session& session, const std::string& uuid, const Settings& settings,
                        unsigned unsupported) {
  auto gpu = session.gpu_by_uuid(uuid);
  if (!gpu) return fail(std::move(gpu.error()));
  Answer answer;
  answer.conditions.gpu = uuid;
  answer.unsupported = unsupported;
  Interview interview(session, *gpu, answer);
  interview.memory(settings);
  if (settings.nvlink) interview.links();
  if (settings.thermal) interview.heat();
  interview.recovery();
  return answer;
}

}  // namespace

Result<std::vector<Conditions>> read_conditions(const inventory::DriverAccess& access,
                                                const std::vector<std::string>& gpus,
                                                const Settings& settings,
                                                Unsupported& unsupported) {
  std::vector<Conditions> all;
  for (const std::string& uuid : gpus) {
    unsigned& mask = unsupported[uuid];
    auto one = access.lane.call(
        uuid, access.limit, [slot = access.slot, uuid, settings, mask]() -> Result<Answer> {
          auto session = slot->get();
          if (!session) return fail(nvml::error_for(abi::kErrorUninitialized, "nvmlInit_v2"));
          return read_gpu(*session, uuid, settings, mask);
        });
    if (one) {
      mask = one->unsupported;
      all.push_back(std::move(one->conditions));
    } else if (one.error().kind == Kind::kTimeout && one.error().native == 0) {
      return fail(std::move(one.error()));
    }
  }
  return all;
}

}  // namespace kerf::health
