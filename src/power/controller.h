// When to look at the GPUs and what to do with what was seen: the memory behind the policy. Pure:
// time comes in as milliseconds, readings as values, and commands go out; whoever owns it makes the
// calls and says how they went. Not thread-safe.
//
//   observe/configure ──▶ due_ms ──▶ to_read ──▶ decide ──▶ may? ──▶ done … ──▶ finish ──▶ report
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/power.h"
#include "power/budget.h"
#include "power/types.h"

namespace kerf::power {

// What is known of the node without asking the driver.
struct Node {
  bool ready = false;        // the driver answers
  std::uint64_t starts = 0;  // of the driver: another number is another load
  std::vector<Gpu> gpus;
  bool operator==(const Node&) const = default;
};

// How one GPU fared at the last look.
struct GpuReport {
  Reading reading;  // before anything was changed
  Target target;
  Verdict verdict;
  std::optional<std::uint32_t> limit_mw;  // in force after the look, as far as is known
  std::optional<Error> failure;           // why a change did not work; the newest
  bool drifted = false;                   // found at another limit than it was left at
  std::uint64_t sets = 0;                 // changes of its limit that worked, since the start
  std::uint64_t drifts = 0;
};

struct BudgetReport {
  std::uint32_t total_mw = 0;
  std::uint64_t held_mw = 0;  // the sum of all limits
  bool impossible = false;    // the boards take more than that at least
};

// What a look found and did. An immutable value.
struct Report {
  std::uint64_t looks = 0;  // so far
  bool regular = false;     // due by the interval, or caused by an event; not a retry or a budget's
  std::vector<GpuReport> gpus;
  std::optional<BudgetReport> budget;
  std::map<std::string, std::uint64_t> failures;  // of changes, by kind of error, since the start
  std::optional<Error> unreachable;               // why the driver could not be asked
};

class Controller {
 public:
  // Failures are tried again after this long, then twice as long, up to the interval of looks.
  static constexpr std::int64_t kFirstRetryMs = 5'000;
  static constexpr std::int64_t kNever = INT64_MAX;

  explicit Controller(config::PowerOptions options) { use(std::move(options)); }

  // Both cause a look at once when something is different.
  void configure(config::PowerOptions options, std::int64_t now_ms);
  void observe(Node node, std::int64_t now_ms);

  // When to look next; kNever while there is no driver.
  std::int64_t due_ms() const;
  const std::vector<Gpu>& to_read() const { return node_.gpus; }

  // What to do, in this order. One reading for each GPU of `to_read`.
  std::vector<Command> decide(const std::vector<Reading>& readings, std::int64_t now_ms);
  // Whether the command may be given now: with a budget, limits rise only as others have fallen.
  bool may(const Command& command) const;
  // How it went. `held_mw`: the limit read back after a change of a limit that worked. Gives back
  // what that makes of it: a setting without effect is a failure, too.
  Status done(const Command& command, const Status& outcome, std::optional<std::uint32_t> held_mw,
              std::int64_t now_ms);
  // The look is over.
  void finish(std::int64_t now_ms);
  // The driver could not be asked at all.
  void unreachable(const Error& error, std::int64_t now_ms);

  const Report& report() const { return report_; }
  // What puts back the defaults of every GPU that was changed, by the last readings.
  std::vector<Command> restore() const;

 private:
  // A command that failed is not given again before this time.
  struct Block {
    std::int64_t until_ms = 0;
    std::int64_t pause_ms = 0;
  };
  struct Memory {
    Applied applied;
    std::optional<std::uint32_t> confirmed_mw;  // the limit it was left at
    bool changed = false;                       // by us
    std::map<Command::What, Block> blocks;
    std::uint64_t sets = 0;
    std::uint64_t drifts = 0;
  };

  void use(config::PowerOptions options);
  void remember(const Command& command, Memory& memory);
  std::int64_t interval_ms() const;
  std::optional<std::uint32_t> total_mw() const;
  void judge_all(const std::map<std::string, std::uint32_t>& shares);
  std::map<std::string, std::uint32_t> shares(const std::vector<Reading>& readings);
  bool is_blocked(const Command& command, std::int64_t now_ms) const;
  GpuReport* find(const std::string& uuid);
  void note_reading(GpuReport& gpu, std::int64_t now_ms);
  std::int64_t next_retry(std::int64_t now_ms) const;

  config::PowerOptions options_;
  Node node_;
  bool at_once_ = true;          // once the driver is there
  std::int64_t regular_ms_ = 0;  // the next look by the interval
  std::int64_t retry_ms_ = kNever;
  std::int64_t budget_ms_ = kNever;
  std::int64_t unreachable_pause_ms_ = 0;
  std::map<std::string, Memory> memory_;  // by uuid
  Sharing sharing_{{}};
  Ledger ledger_;
  Report report_;
};

}  // namespace kerf::power
