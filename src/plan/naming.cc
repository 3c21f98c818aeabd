// Resource names by rule, then by MIG strategy; health by GPU, by MIG device, by strategy.
#include "plan/naming.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/strings.h"
#include "plan/plan.h"

namespace kerf::plan {
namespace {

using config::MigStrategy;
using inventory::DriverState;
using inventory::Gpu;
using inventory::MigDevice;
using inventory::Unhealthy;

constexpr std::string_view kGpuResource = "nvidia.com/gpu";
constexpr std::string_view kMigResourcePrefix = "nvidia.com/mig-";
// Room that "::<n>" takes for the largest n that fits into one list message.
constexpr std::size_t kReplicaSuffix = 7;

std::string label(const Gpu& gpu) {
  return "GPU " + std::to_string(gpu.index) + " (" + gpu.name + ")";
}

std::string label(const Gpu& gpu, const MigDevice& mig) {
  return "MIG device " + std::to_string(gpu.index) + ":" + std::to_string(mig.index) + " (" +
         mig.profile + ")";
}

bool drives_display(const Gpu& gpu) {
  return gpu.name == "DGX Display" || gpu.name == "NVIDIA DGX Display";
}

std::string words(const Unhealthy& unhealthy) {
  return unhealthy.detail.empty() ? unhealthy.reason : unhealthy.detail;
}

// The name of a rule that matches, marked as used.
std::optional<std::string> by_rule(const std::vector<config::ResourceRule>& rules,
                                   std::string_view name, std::vector<bool>& used) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (matches_glob(rules[i].pattern, name)) {
      used[i] = true;
      return rules[i].name;
    }
  }
  return std::nullopt;
}

class Namer {
 public:
  Namer(const inventory::Snapshot& snapshot, const config::Config& config,
        std::vector<std::string>& warnings)
      : snapshot_(snapshot),
        config_(config),
        warnings_(warnings),
        gpu_rule_used_(config.gpu_rules.size()),
        mig_rule_used_(config.mig_rules.size()) {}

  Pieces run() {
    for (unsigned at = 0; at < snapshot_.gpus.size(); ++at) {
      const Gpu& gpu = snapshot_.gpus[at];
      if (drives_display(gpu)) continue;
      if (gpu.mig_enabled && config_.mig_strategy != MigStrategy::kNone) {
        add_mig_devices(at, gpu);
      } else {
        add_gpu(at, gpu);
      }
    }
    if (config_.mig_strategy == MigStrategy::kSingle) agree_on_one_kind();
    warn_of_unused_rules();
    return std::move(pieces_);
  }

 private:
  void add_gpu(unsigned at, const Gpu& gpu) {
    Piece piece;
    piece.gpu = at;
    piece.uuid = gpu.uuid;
    piece.index = std::to_string(gpu.index);
    piece.unhealthy = why_unhealthy(gpu);
    auto rule = by_rule(config_.gpu_rules, gpu.name, gpu_rule_used_);
    piece.named_by_default = !rule;
    add(rule.value_or(std::string(kGpuResource)), std::move(piece), label(gpu));
  }

  void add_mig_devices(unsigned at, const Gpu& gpu) {
    if (gpu.mig_devices.empty()) {
      warnings_.push_back(label(gpu) +
                          " is in MIG mode but has no MIG devices configured, so that nothing is "
                          "advertised for it.");
    }
    for (unsigned position = 0; position < gpu.mig_devices.size(); ++position) {
      const MigDevice& mig = gpu.mig_devices[position];
      Piece piece;
      piece.gpu = at;
      piece.mig = position;
      piece.uuid = mig.uuid;
      piece.index = std::to_string(gpu.index) + ":" + std::to_string(mig.index);
      piece.unhealthy = why_unhealthy(gpu, mig);
      auto rule = by_rule(config_.mig_rules, mig.profile, mig_rule_used_);
      piece.named_by_default = !rule;
      auto name = rule ? std::move(rule) : default_mig_name(mig);
      if (!name) {
        warnings_.push_back("MIG profile '" + mig.profile +
                            "' does not match any resource patterns, so that " + label(gpu, mig) +
                            " is not advertised; name it in resources.mig.");
        continue;
      }
      add(std::move(*name), std::move(piece), label(gpu, mig));
    }
  }

  std::optional<std::string> default_mig_name(const MigDevice& mig) const {
    if (config_.mig_strategy == MigStrategy::kSingle) return std::string(kGpuResource);
    if (mig.compute_slices != mig.gpu_slices) return std::nullopt;
    std::string name(kMigResourcePrefix);
    for (char c : mig.profile) name.push_back(c == '+' ? '.' : c);
    return name;
  }

  void add(std::string resource, Piece piece, const std::string& what) {
    if (piece.uuid.empty()) {
      warnings_.push_back(what + " has no UUID and is not advertised" +
                          (piece.unhealthy.empty() ? "." : ": " + piece.unhealthy + "."));
    } else if (piece.uuid.size() + kReplicaSuffix > kMaxIdLength) {
      warnings_.push_back(
          what + " has a UUID too long for the kubelet and is not advertised: " + piece.uuid + ".");
    } else if (!uuids_.insert(piece.uuid).second) {
      warnings_.push_back(
          what + " has the UUID of another device and is not advertised: " + piece.uuid + ".");
    } else {
      pieces_[std::move(resource)].push_back(std::move(piece));
    }
  }

  std::string why_unhealthy(const Gpu& gpu) const {
    if (snapshot_.driver.state != DriverState::kReady) {
      return snapshot_.driver.detail.empty()
                 ? "the driver does not answer"
                 : "the driver does not answer: " + snapshot_.driver.detail;
    }
    return gpu.unhealthy ? words(*gpu.unhealthy) : std::string();
  }

  std::string why_unhealthy(const Gpu& gpu, const MigDevice& mig) const {
    if (std::string why = why_unhealthy(gpu); !why.empty()) return why;
    if (mig.unhealthy) return words(*mig.unhealthy);
    if (!config_.pass_device_specs) return {};
    const std::string instance =
        "gpu" + std::to_string(gpu.minor) + "/mig/gi" + std::to_string(mig.gpu_instance);
    if (!mig.gpu_instance_minor) return "missing MIG GPU instance capability: " + instance;
    if (!mig.compute_instance_minor) {
      return "missing MIG compute instance capability: " + instance + "/ci" +
             std::to_string(mig.compute_instance);
    }
    return {};
  }

  // Under `single`, what the strategy calls nvidia.com/gpu must be of one kind: a pod asks for
  // "one" and has no word for which. The kind the strategy is about wins: MIG, and the profile
  // most of the devices have.
  void agree_on_one_kind() {
    auto found = pieces_.find(std::string(kGpuResource));
    if (found == pieces_.end()) return;
    std::map<std::string, unsigned> profiles;
    for (const Piece& piece : found->second) {
      if (piece.mig && piece.named_by_default) ++profiles[profile(piece)];
    }
    if (profiles.empty()) return;
    std::string chosen;
    unsigned most = 0;
    for (const Piece& piece : found->second) {  // in order of index, so that the first wins ties
      if (!piece.mig || !piece.named_by_default) continue;
      if (unsigned count = profiles[profile(piece)]; count > most) {
        most = count;
        chosen = profile(piece);
      }
    }
    for (Piece& piece : found->second) disagree(piece, chosen);
  }

  void disagree(Piece& piece, const std::string& chosen) {
    if (!piece.named_by_default) return;
    const Gpu& gpu = snapshot_.gpus[piece.gpu];
    std::string why;
    if (!piece.mig) {
      why = "all devices on the node must be configured with the same migEnabled value";
    } else if (profile(piece) != chosen) {
      why = "more than one MIG device type present on node";
    } else {
      return;
    }
    warnings_.push_back((piece.mig ? label(gpu, gpu.mig_devices[*piece.mig]) : label(gpu)) +
                        " is advertised as unhealthy under migStrategy single, where " + chosen +
                        " is in use: " + why + ".");
    if (piece.unhealthy.empty()) piece.unhealthy = std::move(why);
  }

  const std::string& profile(const Piece& piece) const {
    return snapshot_.gpus[piece.gpu].mig_devices[piece.mig.value_or(0)].profile;
  }

  void warn_of_unused_rules() {
    if (snapshot_.gpus.empty()) return;
    warn_of_unused_rules("gpus", config_.gpu_rules, gpu_rule_used_);
    if (config_.mig_strategy == MigStrategy::kNone && !config_.mig_rules.empty()) {
      warnings_.push_back("resources.mig has no effect while flags.migStrategy is none.");
      return;
    }
    warn_of_unused_rules("mig", config_.mig_rules, mig_rule_used_);
  }

  void warn_of_unused_rules(std::string_view list, const std::vector<config::ResourceRule>& rules,
                            const std::vector<bool>& used) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (used[i]) continue;
      std::string& warning = warnings_.emplace_back("resources.");
      warning.append(list).append("[").append(std::to_string(i)).append("].pattern '");
      warning.append(rules[i].pattern);
      warning.append("' names nothing on this node: nothing matches, or a pattern above matches.");
    }
  }

  const inventory::Snapshot& snapshot_;
  const config::Config& config_;
  std::vector<std::string>& warnings_;
  std::vector<bool> gpu_rule_used_;
  std::vector<bool> mig_rule_used_;
  std::unordered_set<std::string> uuids_;
  Pieces pieces_;
};

}  // namespace

Pieces name_devices(const inventory::Snapshot& snapshot, const config::Config& config,
                    std::vector<std::string>& warnings) {
  return Namer(snapshot, config, warnings).run();
}

}  // namespace kerf::plan
