#include "power/journal.h"

#include <algorithm>

#include "base/log.h"
#include "power/policy.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

std::string or_dash(const std::optional<std::uint32_t>& milliwatts) {
  return milliwatts ? watts(*milliwatts) : "-";
}

std::string draw_of(const Reading& reading) {
  return reading.draw_mw ? drawn(*reading.draw_mw) : "-";
}

std::string percent(const std::optional<std::uint32_t>& value) {
  return value ? std::to_string(*value) + "%" : "-";
}

std::string result_text(const GpuReport& gpu) {
  if (gpu.failure) return "failed: " + gpu.failure->what;
  const Verdict& v = gpu.verdict;
  if (v.clamped) return "clamped: " + v.why;
  switch (v.standing) {
    case Standing::kHeld:
      return "ok";
    case Standing::kDrifted:
      return gpu.drifted ? "drifted, set again" : "set";
    case Standing::kUnmanaged:
      return "unmanaged";
    default:
      return std::string(to_string(v.standing)) + ": " + v.why;
  }
}

}  // namespace

bool Journal::is_new(const std::string& key, const std::string& text) {
  if (text.empty()) {
    said_.erase(key);
    return false;
  }
  std::string& last = said_[key];
  if (last == text) return false;
  last = text;
  return true;
}

void Journal::tell(const Command& command, const GpuReport& gpu, const Status& outcome) {
  const std::string subject(subject_of(command.what));
  const std::string key = command.uuid + " " + subject;
  if (!outcome) {
    const Error& why = outcome.error();
    if (is_new(key, why.text())) log::error("power", subject + " not set", why);
    return;
  }
  is_new(key, "");
  const bool is_limit = command.what == Command::What::kLimit;
  if (is_limit && gpu.drifted) {
    log::warn("power", "power limit had drifted and was set again",
              {{"gpu", gpu.reading.gpu.index},
               {"name", gpu.reading.gpu.name},
               {"found", or_dash(gpu.reading.limit_mw)},
               {"limit", value_of(command)},
               {"uuid", command.uuid}});
    return;
  }
  log::info("power", subject + " set",
            {{"gpu", gpu.reading.gpu.index},
             {"name", gpu.reading.gpu.name},
             {"was", is_limit ? or_dash(gpu.reading.limit_mw) : "-"},
             {"now", value_of(command)},
             {"rule", gpu.target.rule},
             {"uuid", command.uuid}});
}

void Journal::tell_gpu(const GpuReport& gpu, bool regular) {
  const Reading& r = gpu.reading;
  const std::string& uuid = r.gpu.uuid;
  auto once = [&](const std::string& about, const std::string& text, const char* message) {
    if (!is_new(uuid + about, text)) return;
    log::warn("power", message,
              {{"gpu", r.gpu.index}, {"name", r.gpu.name}, {"why", text}, {"uuid", uuid}});
  };
  const Verdict& v = gpu.verdict;
  const bool skipped = v.standing == Standing::kRefused || v.standing == Standing::kUnsupported ||
                       v.standing == Standing::kUnreadable;
  once(" skipped", skipped ? v.why : "", "power limit left as it is");
  once(" clamped", v.clamped ? v.why : "", "power limit clamped");
  std::string odd;
  for (const std::string& oddity : r.oddities) odd += (odd.empty() ? "" : ", ") + oddity;
  // The figure differs each time; what it is of does not.
  once(" odd", odd.empty() ? "" : odd.substr(0, odd.find(" of ")),
       "the driver answers what cannot be; it is not used");
  const bool capped = r.enforced_mw && gpu.limit_mw && v.wanted_mw && r.limit_mw &&
                      *r.enforced_mw + kToleranceMw < *r.limit_mw;
  once(" capped", capped ? "enforced " + or_dash(r.enforced_mw) : "",
       "something else limits this GPU further");
  if (!regular || r.error || v.standing != Standing::kHeld) return;
  log::info("power", "power limit holds",
            {{"gpu", r.gpu.index},
             {"name", r.gpu.name},
             {"limit", or_dash(gpu.limit_mw)},
             {"draw", draw_of(r)},
             {"utilization", percent(r.utilization)},
             {"memory_utilization", percent(r.memory_utilization)}});
}

void Journal::tell(const Report& report) {
  if (const auto& gone = report.unreachable) {
    if (is_new("driver", gone->text())) log::warn("power", "the driver cannot be asked", *gone);
    return;
  }
  is_new("driver", "");
  for (const GpuReport& gpu : report.gpus) tell_gpu(gpu, report.regular);
  if (const auto& budget = report.budget) {
    const bool over = budget->impossible || budget->held_mw > budget->total_mw;
    const std::string text = over ? "cannot be held" : "is held";
    if (is_new("budget", text)) {
      log::write(over ? log::Level::kWarn : log::Level::kInfo, "power", "power budget " + text,
                 {{"total", watts(budget->total_mw)},
                  {"limits", std::to_string(budget->held_mw / 1000) + " W"}});
    }
  }
}

std::string table(const Report& report) {
  constexpr const char* kRow = "{:<4}{:<28}{:>9}{:>16}{:>10}{:>10}{:>9}{:>6}  {}\n";
  std::string out = fmt::format(kRow, "GPU", "NAME", "DEFAULT", "RANGE", "BEFORE", "AFTER", "DRAW",
                                "UTIL", "RESULT");
  for (const GpuReport& gpu : report.gpus) {
    const Reading& r = gpu.reading;
    const std::string range =
        r.min_mw && r.max_mw
            ? fmt::format("{}-{}", watts(*r.min_mw).substr(0, watts(*r.min_mw).size() - 2),
                          watts(*r.max_mw))
            : "-";
    out += fmt::format(kRow, r.gpu.index, r.gpu.name.substr(0, 27), or_dash(r.default_mw), range,
                       or_dash(r.limit_mw), or_dash(gpu.limit_mw), draw_of(r),
                       percent(r.utilization), result_text(gpu));
  }
  return out;
}

}  // namespace kerf::power
