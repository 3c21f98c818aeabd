#include "power/controller.h"

#include <algorithm>

#include "config/duration.h"
#include "power/policy.h"

namespace kerf::power {
namespace {

constexpr std::int64_t kNsInMs = 1'000'000;

std::int64_t in_ms(std::int64_t ns) {
  return ns == config::kForever ? Controller::kNever : ns / kNsInMs;
}

std::int64_t later(std::int64_t now_ms, std::int64_t pause_ms) {
  return pause_ms >= Controller::kNever - now_ms ? Controller::kNever : now_ms + pause_ms;
}

// The next pause after one that did not help.
std::int64_t longer(std::int64_t pause_ms, std::int64_t interval_ms) {
  const std::int64_t first = Controller::kFirstRetryMs;
  return std::clamp(2 * pause_ms, first, std::max(first, interval_ms));
}

// Trying again soon cannot help: rights, hardware and configuration do not change by themselves.
bool is_lasting(const Error& error) {
  return error.kind == Kind::kDenied || error.kind == Kind::kUnsupported ||
         error.kind == Kind::kInvalid || error.kind == Kind::kNotFound;
}

bool raises(const Command& command, const Reading& reading) {
  return command.what == Command::What::kLimit && reading.limit_mw &&
         command.limit_mw > *reading.limit_mw;
}

bool is_managed(const Reading& reading, const Target& target) {
  using Unit = config::PowerAmount::Unit;
  const auto& limit = target.wanted.limit;
  return !reading.error && !reading.no_limits && reading.min_mw && reading.max_mw &&
         !(limit && limit->unit == Unit::kUnmanaged);
}

}  // namespace

void Controller::use(config::PowerOptions options) {
  options_ = std::move(options);
  Sharing::Settings settings;
  if (const auto& budget = options_.budget) {
    settings.total_mw = budget->total_mw;
    settings.hysteresis_mw = budget->hysteresis_mw;
  }
  sharing_ = Sharing(settings);
}

void Controller::configure(config::PowerOptions options, std::int64_t now_ms) {
  if (options == options_) return;
  use(std::move(options));
  for (auto& [uuid, memory] : memory_) memory.blocks.clear();
  at_once_ = true;
  regular_ms_ = now_ms;
}

void Controller::observe(Node node, std::int64_t now_ms) {
  if (node == node_) return;
  const bool reloaded = node.starts != node_.starts;
  for (const Gpu& gpu : node.gpus) {
    const auto before = std::ranges::find(node_.gpus, gpu.uuid, &Gpu::uuid);
    const bool is_back = before == node_.gpus.end() || before->lost;
    if (!reloaded && !is_back) continue;
    // What was done to it is gone.
    Memory& memory = memory_[gpu.uuid];
    memory.applied = {};
    memory.blocks.clear();
  }
  std::erase_if(memory_, [&](const auto& entry) {
    return std::ranges::find(node.gpus, entry.first, &Gpu::uuid) == node.gpus.end();
  });
  for (const auto& [uuid, held] : std::map(ledger_.all())) {
    if (std::ranges::find(node.gpus, uuid, &Gpu::uuid) == node.gpus.end()) ledger_.forget(uuid);
  }
  node_ = std::move(node);
  at_once_ = true;
  regular_ms_ = now_ms;
}

std::int64_t Controller::interval_ms() const { return in_ms(options_.reapply_ns); }

std::int64_t Controller::due_ms() const {
  if (!node_.ready) return kNever;
  if (at_once_) return 0;
  return std::min({regular_ms_, retry_ms_, budget_ms_});
}

std::optional<std::uint32_t> Controller::total_mw() const {
  const auto& budget = options_.budget;
  if (!budget) return {};
  return budget->total_mw;
}

GpuReport* Controller::find(const std::string& uuid) {
  for (GpuReport& gpu : report_.gpus) {
    if (gpu.reading.gpu.uuid == uuid) return &gpu;
  }
  return nullptr;
}

void Controller::note_reading(GpuReport& gpu, std::int64_t now_ms) {
  const Reading& r = gpu.reading;
  Memory& memory = memory_[r.gpu.uuid];
  gpu.limit_mw = memory.confirmed_mw;
  if (r.error) {
    // It may answer again without a word to anybody; one off the bus is announced.
    Block& block = memory.blocks[Command::What::kLimit];
    if (!r.gpu.lost && block.until_ms <= now_ms) {
      block.pause_ms = longer(block.pause_ms, interval_ms());
      block.until_ms = later(now_ms, block.pause_ms);
    }
    return;
  }
  if (!r.limit_mw) return;
  const std::uint32_t found = *r.limit_mw;
  if (const auto left = memory.confirmed_mw) {
    gpu.drifted = (found > *left ? found - *left : *left - found) > kToleranceMw;
    if (gpu.drifted) ++memory.drifts;
  }
  memory.confirmed_mw = found;
  gpu.limit_mw = found;
  ledger_.saw(r.gpu.uuid, found);
}

std::map<std::string, std::uint32_t> Controller::shares(const std::vector<Reading>& readings) {
  std::map<std::string, std::uint32_t> out;
  const auto total = total_mw();
  if (!total) return out;
  std::vector<Sharer> sharers;
  std::uint64_t taken = ledger_.sum();  // by those that take no part
  for (const Reading& r : readings) {
    const Target target = target_for(r, options_);
    const auto& limit = target.wanted.limit;
    if (!is_managed(r, target) || !r.limit_mw) continue;
    const std::uint32_t low = r.min_mw.value_or(0);
    const std::uint32_t high = r.max_mw.value_or(0);
    auto asked = limit ? asked_mw(r, target) : r.default_mw ? r.default_mw : r.max_mw;
    const bool clamp = options_.out_of_range == config::OutOfRange::kClamp;
    if (!asked || (!clamp && (*asked < low || *asked > high))) continue;
    taken -= ledger_.held(r.gpu.uuid).value_or(0);
    sharers.push_back(
        {r.gpu.uuid, low, std::clamp(*asked, low, high), target.weight, *r.limit_mw, r.draw_mw});
  }
  const auto left = static_cast<std::uint32_t>(*total > taken ? *total - taken : 0);
  Shares shares = sharing_.look(left, sharers);
  for (const Share& share : shares.shares) out[share.uuid] = share.limit_mw;
  report_.budget = BudgetReport{*total, ledger_.sum(), shares.impossible};
  return out;
}

void Controller::judge_all(const std::map<std::string, std::uint32_t>& shares) {
  for (GpuReport& gpu : report_.gpus) {
    Judging judging{options_.out_of_range, options_.persistence, {}};
    const std::string& uuid = gpu.reading.gpu.uuid;
    if (const auto share = shares.find(uuid); share != shares.end()) {
      judging.share_mw = share->second;
    }
    gpu.target = target_for(gpu.reading, options_);
    gpu.verdict = judge(gpu.reading, gpu.target, memory_[uuid].applied, judging);
    if (gpu.verdict.standing == Standing::kHeld) memory_[uuid].blocks.erase(Command::What::kLimit);
  }
}

bool Controller::is_blocked(const Command& command, std::int64_t now_ms) const {
  const auto memory = memory_.find(command.uuid);
  if (memory == memory_.end()) return false;
  const auto block = memory->second.blocks.find(command.what);
  return block != memory->second.blocks.end() && block->second.until_ms > now_ms;
}

std::vector<Command> Controller::decide(const std::vector<Reading>& readings, std::int64_t now_ms) {
  report_.regular = at_once_ || now_ms >= regular_ms_;
  report_.unreachable.reset();
  report_.budget.reset();
  report_.gpus.clear();
  unreachable_pause_ms_ = 0;
  if (report_.regular) {
    // What can only be helped from outside is tried once an interval.
    for (auto& [uuid, memory] : memory_) {
      for (auto& [what, block] : memory.blocks) block.until_ms = std::min(block.until_ms, now_ms);
    }
  }
  for (const Reading& reading : readings) {
    GpuReport gpu;
    gpu.reading = reading;
    report_.gpus.push_back(std::move(gpu));
    note_reading(report_.gpus.back(), now_ms);
  }
  judge_all(shares(readings));
  std::vector<Command> first;
  std::vector<Command> raising;
  for (const GpuReport& gpu : report_.gpus) {
    for (const Command& command : gpu.verdict.commands) {
      if (is_blocked(command, now_ms)) continue;
      (raises(command, gpu.reading) ? raising : first).push_back(command);
    }
  }
  first.insert(first.end(), raising.begin(), raising.end());
  return first;
}

bool Controller::may(const Command& command) const {
  const auto total = total_mw();
  if (!total || command.what != Command::What::kLimit) return true;
  return ledger_.fits(command.uuid, command.limit_mw, *total);
}

Status Controller::done(const Command& command, const Status& outcome,
                        std::optional<std::uint32_t> held_mw, std::int64_t now_ms) {
  Memory& memory = memory_[command.uuid];
  GpuReport* gpu = find(command.uuid);
  Status result = outcome;
  if (result && command.what == Command::What::kLimit && held_mw) {
    const std::uint32_t held = *held_mw;
    memory.confirmed_mw = held;
    ledger_.saw(command.uuid, held);
    const std::uint32_t off =
        held > command.limit_mw ? held - command.limit_mw : command.limit_mw - held;
    if (off > kToleranceMw) {
      result = fail(Kind::kConflict,
                    "the driver took the power limit and holds " + watts(held) + " all the same",
                    command.uuid, "see whether something else limits this GPU");
    }
  }
  if (gpu != nullptr) gpu->limit_mw = memory.confirmed_mw;
  if (result) {
    memory.blocks.erase(command.what);
    remember(command, memory);
    return result;
  }
  ++report_.failures[std::string(to_string(result.error().kind))];
  Block& block = memory.blocks[command.what];
  block.pause_ms = longer(block.pause_ms, interval_ms());
  block.until_ms = is_lasting(result.error()) ? kNever : later(now_ms, block.pause_ms);
  if (gpu != nullptr) gpu->failure = result.error();
  return result;
}

void Controller::remember(const Command& command, Memory& memory) {
  memory.changed = true;
  switch (command.what) {
    case Command::What::kPersistence:
      break;
    case Command::What::kLimit:
      ++memory.sets;
      break;
    case Command::What::kGraphicsClock:
      memory.applied.graphics_clock = command.clocks;
      break;
    case Command::What::kMemoryClock:
      memory.applied.memory_clock = command.clocks;
      break;
    case Command::What::kTimeSlice: {
      const GpuReport* gpu = find(command.uuid);
      const bool put_back = gpu != nullptr && !gpu->target.wanted.time_slice;
      memory.applied.time_slice = put_back ? std::nullopt : std::optional(command.time_slice);
      break;
    }
  }
}

std::int64_t Controller::next_retry(std::int64_t now_ms) const {
  std::int64_t next = kNever;
  for (const auto& [uuid, memory] : memory_) {
    for (const auto& [what, block] : memory.blocks) {
      if (block.until_ms > now_ms) next = std::min(next, block.until_ms);
    }
  }
  return next;
}

void Controller::finish(std::int64_t now_ms) {
  ++report_.looks;
  at_once_ = false;
  if (report_.regular) regular_ms_ = later(now_ms, interval_ms());
  retry_ms_ = next_retry(now_ms);
  const auto& budget = options_.budget;
  budget_ms_ = budget ? later(now_ms, in_ms(budget->interval_ns)) : kNever;
  for (GpuReport& gpu : report_.gpus) {
    const Memory& memory = memory_[gpu.reading.gpu.uuid];
    gpu.sets = memory.sets;
    gpu.drifts = memory.drifts;
  }
  if (auto& report = report_.budget) report->held_mw = ledger_.sum();
}

void Controller::unreachable(const Error& error, std::int64_t now_ms) {
  ++report_.looks;
  report_.unreachable = error;
  at_once_ = false;
  unreachable_pause_ms_ = longer(unreachable_pause_ms_, interval_ms());
  // A regular look was missed: the next that works is one.
  regular_ms_ = retry_ms_ = later(now_ms, unreachable_pause_ms_);
}

std::vector<Command> Controller::restore() const {
  std::vector<Command> out;
  for (const GpuReport& gpu : report_.gpus) {
    const std::string& uuid = gpu.reading.gpu.uuid;
    const auto memory = memory_.find(uuid);
    if (memory == memory_.end() || !memory->second.changed) continue;
    auto add = [&](Command::What what) -> Command& {
      Command command;
      command.what = what;
      command.uuid = uuid;
      out.push_back(command);
      return out.back();
    };
    const Applied& applied = memory->second.applied;
    const auto stock = gpu.reading.default_mw;
    if (memory->second.sets > 0 && stock) add(Command::What::kLimit).limit_mw = *stock;
    if (applied.graphics_clock) add(Command::What::kGraphicsClock);
    if (applied.memory_clock) add(Command::What::kMemoryClock);
    if (applied.time_slice) add(Command::What::kTimeSlice);
  }
  return out;
}

}  // namespace kerf::power
