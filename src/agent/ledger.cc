#include "agent/ledger.h"

#include <set>
#include <unordered_set>

namespace kerf::agent {

void Ledger::allocated(std::span<const std::string_view> ids, std::int64_t now_ms) {
  for (std::string_view id : ids) uses_[std::string(id)] = Use{now_ms, Source::kAllocate, {}};
}

void Ledger::available(std::span<const std::string_view> healthy,
                       std::span<const std::string_view> available, std::int64_t now_ms) {
  std::unordered_set<std::string_view> free(available.begin(), available.end());
  for (std::string_view id : healthy) {
    auto known = uses_.find(id);
    if (free.contains(id)) {
      if (known != uses_.end()) uses_.erase(known);
    } else if (known == uses_.end()) {
      uses_.emplace(id, Use{now_ms, Source::kPreferredAllocation, {}});
    }
  }
}

void Ledger::pod_resources(std::span<const ContainerDevices> containers, std::int64_t asked_ms,
                           std::int64_t now_ms) {
  decltype(uses_) next;
  for (const ContainerDevices& container : containers) {
    for (const std::string& id : container.ids) {
      auto known = uses_.find(id);
      bool same = known != uses_.end() &&
                  (known->second.owner == container.owner || known->second.owner.empty());
      next[id] =
          Use{same ? known->second.since_ms : now_ms, Source::kPodResources, container.owner};
    }
  }
  for (const auto& [id, use] : uses_) {
    if (use.source == Source::kAllocate && use.since_ms >= asked_ms) next.try_emplace(id, use);
  }
  uses_ = std::move(next);
}

void Ledger::keep_only(std::span<const std::string> ids) {
  std::set<std::string_view> keep(ids.begin(), ids.end());
  std::erase_if(uses_, [&](const auto& entry) { return !keep.contains(entry.first); });
}

const Use* Ledger::find(const std::string& id) const {
  auto at = uses_.find(id);
  return at == uses_.end() ? nullptr : &at->second;
}

}  // namespace kerf::agent
