#include "power/budget.h"

#include <algorithm>

namespace kerf::power {
namespace {

constexpr std::uint32_t kWatt = 1000;
// A GPU that draws this much of its limit (in hundredths) would draw more if it might.
constexpr std::uint64_t kHungry = 95;
// Above what a GPU draws it is left room to grow into before the next look, in hundredths.
constexpr std::uint64_t kHeadroom = 115;

std::uint32_t hundredths(std::uint32_t value, std::uint64_t of) {
  return static_cast<std::uint32_t>(value * of / 100);
}

// Gives `pool` to the shares by weight, none above its ceiling. What is left over is returned: less
// than a watt for each, or all that nobody may have.
std::uint64_t pour(std::uint64_t pool, std::span<const Sharer> sharers,
                   std::span<const std::uint32_t> ceilings, std::vector<Share>& shares) {
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].limit_mw < ceilings[i]) open.push_back(i);
  }
  while (!open.empty() && pool >= kWatt) {
    std::uint64_t weights = 0;
    for (std::size_t i : open) weights += sharers[i].weight;
    const std::uint64_t round = pool;
    for (std::size_t i : open) {
      const std::uint64_t part = round * sharers[i].weight / weights;
      const std::uint64_t room = ceilings[i] - shares[i].limit_mw;
      const std::uint64_t give = std::min({std::max<std::uint64_t>(part, kWatt), room, pool});
      shares[i].limit_mw += static_cast<std::uint32_t>(give);
      pool -= give;
    }
    std::erase_if(open, [&](std::size_t i) { return shares[i].limit_mw >= ceilings[i]; });
  }
  return pool;
}

std::uint64_t sum_of_limits(std::span<const Sharer> sharers) {
  std::uint64_t sum = 0;
  for (const Sharer& sharer : sharers) sum += sharer.limit_mw;
  return sum;
}

bool is_hungry(const Sharer& sharer) {
  return !sharer.draw_mw || *sharer.draw_mw >= hundredths(sharer.limit_mw, kHungry);
}

}  // namespace

Shares share_out(std::uint32_t total_mw, std::span<const Sharer> sharers,
                 std::span<const std::uint32_t> wants) {
  Shares out;
  std::uint64_t least = 0;
  for (const Sharer& sharer : sharers) {
    out.shares.push_back({sharer.uuid, sharer.min_mw});
    least += sharer.min_mw;
  }
  out.impossible = least > total_mw;
  if (out.impossible) return out;
  std::vector<std::uint32_t> needs;
  std::vector<std::uint32_t> tops;
  for (std::size_t i = 0; i < sharers.size(); ++i) {
    const std::uint32_t top = std::max(sharers[i].min_mw, sharers[i].max_mw);
    tops.push_back(top);
    needs.push_back(std::clamp(wants[i], sharers[i].min_mw, top));
  }
  const std::uint64_t left = pour(total_mw - least, sharers, needs, out.shares);
  pour(left, sharers, tops, out.shares);
  for (std::size_t i = 0; i < sharers.size(); ++i) {
    std::uint32_t& limit = out.shares[i].limit_mw;
    limit = std::max(sharers[i].min_mw, limit - limit % kWatt);
  }
  return out;
}

std::uint32_t Sharing::wanted(const Sharer& sharer) {
  std::deque<std::uint32_t>& wants = history_[sharer.uuid].wants;
  const std::uint32_t now =
      is_hungry(sharer)
          ? sharer.max_mw
          : std::min(sharer.max_mw, hundredths(sharer.draw_mw.value_or(0), kHeadroom));
  wants.push_back(now);
  while (wants.size() > std::max(1U, settings_.memory)) wants.pop_front();
  return *std::ranges::max_element(wants);
}

Shares Sharing::look(std::uint32_t total_mw, std::span<const Sharer> sharers) {
  std::vector<std::uint32_t> wants;
  bool over = sum_of_limits(sharers) > total_mw;
  for (const Sharer& sharer : sharers) {
    wants.push_back(wanted(sharer));
    over = over || sharer.limit_mw < sharer.min_mw || sharer.limit_mw > sharer.max_mw;
  }
  std::erase_if(history_, [&](const auto& entry) {
    return std::ranges::none_of(sharers, [&](const Sharer& s) { return s.uuid == entry.first; });
  });
  Shares ideal = share_out(total_mw, sharers, wants);
  if (over || ideal.impossible) return ideal;
  // Somebody lacks something and would get enough of it to be worth the move.
  bool worth = false;
  for (std::size_t i = 0; i < sharers.size(); ++i) {
    const std::uint32_t now = sharers[i].limit_mw;
    const std::uint32_t then = ideal.shares[i].limit_mw;
    worth = worth || (is_hungry(sharers[i]) && then >= now + settings_.hysteresis_mw);
  }
  if (worth) return ideal;
  for (std::size_t i = 0; i < sharers.size(); ++i) ideal.shares[i].limit_mw = sharers[i].limit_mw;
  return ideal;
}

std::uint64_t Ledger::sum() const {
  std::uint64_t sum = 0;
  for (const auto& [uuid, limit] : held_) sum += limit;
  return sum;
}

std::optional<std::uint32_t> Ledger::held(const std::string& uuid) const {
  auto found = held_.find(uuid);
  if (found == held_.end()) return {};
  return found->second;
}

bool Ledger::fits(const std::string& uuid, std::uint32_t limit_mw, std::uint32_t total_mw) const {
  auto now = held(uuid);
  if (now && limit_mw <= *now) return true;
  return sum() - now.value_or(0) + limit_mw <= total_mw;
}

}  // namespace kerf::power
