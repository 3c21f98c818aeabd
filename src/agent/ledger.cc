#include "agent/ledger.h"

#include <set>

namespace kerf::agent {

void Ledger::allocated(std::span<const std::string> ids, std::int64_t now_ms) {
  for (const std::string& id : ids) uses_[id] = Use{now_ms, Source::kAllocate, {}};
}

void Ledger::available(std::span<const std::string> healthy, std::span<const std::string> available,
                       std::int64_t now_ms) {
  std::set<std::string_view> free(available.begin(), available.end());
  for (const std::string& id : healthy) {
    if (free.contains(id)) {
      uses_.erase(id);
    } else {
      uses_.try_emplace(id, Use{now_ms, Source::kPreferredAllocation, {}});
    }
  }
  exact_ = true;
}

void Ledger::pod_resources(std::span<const ContainerDevices> containers, std::int64_t asked_ms,
                           std::int64_t now_ms) {
  std::map<std::string, Use> next;
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
  exact_ = true;
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
