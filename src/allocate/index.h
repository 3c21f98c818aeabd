// Looking up device ids of one resource without scanning: built once per plan and resource, then
// read by every Allocate and GetPreferredAllocation. Pure; immutable once built, so any number of
// threads may read it.
//
// An id is looked up by its physical id and its replica number, so that a list of a thousand ids
// touches a table of sixteen GPUs and not a thousand strings. Ids are those that plan/types.h
// promises; a device with any other would not be found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "plan/types.h"

namespace kerf::allocate {

// Devices with one physical id: the replicas of a GPU or MIG device, or that device alone.
struct Group {
  unsigned gpu = 0;                    // position in Snapshot::gpus
  std::vector<std::uint32_t> devices;  // positions in Resource::devices, ascending
};

class Index {
 public:
  // For plan->resources[resource]. Holds on to the plan, so that what is returned from here lives
  // as long as the index. `plan` must not be null and `resource` must be in range.
  Index(plan::PlanPtr plan, std::size_t resource);

  const plan::Plan& plan() const { return *plan_; }
  const plan::Resource& resource() const { return plan_->resources[resource_]; }

  // Position in resource().devices of the device with exactly that id.
  std::optional<std::uint32_t> find(std::string_view id) const {
    const std::uint32_t device = position(id);
    if (device == kNone) return std::nullopt;
    return device;
  }

  // Groups in order of their first device; the group of the device at a position.
  const std::vector<Group>& groups() const { return groups_; }
  std::uint32_t group_of(std::uint32_t device) const { return group_of_[device]; }

  // No device of the resource is a MIG device.
  bool whole_gpus_only() const { return whole_gpus_only_; }

  // One more than the highest position in Snapshot::gpus that a device of the resource has.
  std::size_t gpu_count() const { return gpu_count_; }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t group = kNone;
  };
  // The devices of a group by the two spellings of their ids.
  struct Members {
    std::string_view physical_id;
    std::uint32_t whole = kNone;            // "<physical_id>"
    std::vector<std::uint32_t> by_replica;  // "<physical_id>::<n>"
  };

  std::uint32_t position(std::string_view id) const;
  std::uint32_t group_named(std::string_view physical_id, std::uint32_t hash) const;
  std::uint32_t add_group(const plan::Device& device);
  void add_device(std::uint32_t at);

  plan::PlanPtr plan_;
  std::size_t resource_;
  std::vector<Slot> slots_;  // by physical id; open addressing, a power of two, at most half full
  std::vector<Group> groups_;
  std::vector<Members> members_;         // by group
  std::vector<std::uint32_t> group_of_;  // by device
  std::size_t usual_size_ = 0;           // of physical ids
  bool whole_gpus_only_ = true;
  std::size_t gpu_count_ = 0;
};

using IndexPtr = std::shared_ptr<const Index>;

// One index for each resource of the plan, in the plan's order.
std::vector<IndexPtr> index_all(const plan::PlanPtr& plan);

}  // namespace kerf::allocate
