// Selecting pieces for each sharing entry and multiplying them into replicas.
#include "plan/sharing.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/strings.h"
#include "plan/mps.h"
#include "plan/plan.h"

namespace kerf::plan {
namespace {

using config::SharedResource;

// Bytes of one device in a list message beyond its id: field tags, lengths, the health word and a
// NUMA node. Rounded up.
constexpr std::size_t kListOverhead = 32;

std::string field(const config::Config& config, std::size_t entry, std::string_view name) {
  const bool mps = config.sharing_strategy == config::SharingStrategy::kMps;
  return std::string("sharing.") + (mps ? "mps" : "timeSlicing") + ".resources[" +
         std::to_string(entry) + "]" + (name.empty() ? "" : ".") + std::string(name);
}

// UUIDs are compared without dashes and case: the configuration accepts both spellings.
std::string bare(std::string_view uuid) {
  std::string result;
  for (char c : uuid) {
    if (c != '-') result.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  return result;
}

std::string index_of(const config::ByIndex& ref) {
  std::string index = std::to_string(ref.gpu);
  if (ref.mig) index += ":" + std::to_string(*ref.mig);
  return index;
}

bool refers_to(const config::DeviceRef& ref, const Piece& piece, const inventory::Gpu& gpu) {
  if (const auto* by_index = std::get_if<config::ByIndex>(&ref)) {
    return index_of(*by_index) == piece.index;
  }
  if (const auto* by_pci = std::get_if<config::ByPci>(&ref)) {
    return by_pci->bus_id == gpu.pci_bus_id;
  }
  if (const auto* by_model = std::get_if<config::ByModel>(&ref)) {
    return matches_glob(by_model->pattern, gpu.name);
  }
  return bare(std::get<config::ByUuid>(ref).uuid) == bare(piece.uuid);
}

std::string no_match(const config::DeviceRef& ref) {
  if (const auto* by_index = std::get_if<config::ByIndex>(&ref)) {
    return "no matching device at index: " + index_of(*by_index);
  }
  if (const auto* by_pci = std::get_if<config::ByPci>(&ref)) {
    return "no matching device at PCI address: " + by_pci->bus_id;
  }
  if (const auto* by_model = std::get_if<config::ByModel>(&ref)) {
    return "no matching device of model: " + by_model->pattern;
  }
  return "no matching device with UUID: " + std::get<config::ByUuid>(ref).uuid;
}

// A pattern that also covers what an entry above has taken is no slip: "all other 3090s".
bool names_one(const config::DeviceRef& ref) {
  return !std::holds_alternative<config::ByModel>(ref);
}

class Sharer {
 public:
  Sharer(const inventory::Snapshot& snapshot, const config::Config& config, Pieces pieces,
         std::vector<std::string>& warnings)
      : snapshot_(snapshot), config_(config), pieces_(std::move(pieces)), warnings_(warnings) {}

  Result<std::vector<Resource>> run() {
    for (const auto& [name, list] : pieces_) taken_[name].resize(list.size());
    const auto& entries = config_.sharing.resources;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (Status status = apply(i, entries[i]); !status) return fail(status.error());
    }
    for (const auto& [name, list] : pieces_) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (!taken_[name][i]) add(name, list[i], std::nullopt);
      }
    }
    return collect();
  }

 private:
  Status apply(std::size_t at, const SharedResource& entry) {
    auto found = pieces_.find(entry.name);
    if (found == pieces_.end()) {
      if (!snapshot_.gpus.empty()) {
        warnings_.push_back(field(config_, at, "name") + ": this node has no device that is " +
                            entry.name + ".");
      }
      return {};
    }
    const std::string& target = entry.rename.value_or(entry.name);
    const std::vector<std::size_t> chosen = select(at, entry, found->second);
    if (entry.replicas < 2 || chosen.empty()) return {};
    if (Status status = claim(at, entry, target); !status) return status;
    std::vector<bool>& taken = taken_[entry.name];
    for (std::size_t i : chosen) {
      const Piece& piece = found->second[i];
      const std::size_t id_length = piece.uuid.size() + 2 + std::to_string(entry.replicas).size();
      list_bytes_[target] += (id_length + kListOverhead) * entry.replicas;
      if (list_bytes_[target] > kMaxListBytes) {
        return fail(Kind::kInvalid,
                    "too many replicas: the list of " + target +
                        " would exceed the 4 MiB that the kubelet accepts",
                    field(config_, at, "replicas"), "use fewer replicas");
      }
      taken[i] = true;
      if (config_.sharing_strategy == config::SharingStrategy::kMps) {
        Status allowed = check_mps(snapshot_.gpus[piece.gpu], piece.mig.has_value(), entry,
                                   field(config_, at, ""));
        if (!allowed) return allowed;
        mps_[target].push_back({piece.gpu, at});
      }
      for (unsigned n = 0; n < entry.replicas; ++n) add(target, piece, n);
    }
    return {};
  }

  // Positions among `list` that the entry selects and no earlier entry has taken.
  std::vector<std::size_t> select(std::size_t at, const SharedResource& entry,
                                  const std::vector<Piece>& list) {
    std::vector<std::size_t> free;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (!taken_[entry.name][i]) free.push_back(i);
    }
    if (const auto* first = std::get_if<config::FirstDevices>(&entry.devices)) {
      if (first->count > free.size()) {
        warnings_.push_back(field(config_, at, "devices") + " asks for " +
                            std::to_string(first->count) + " devices of " + entry.name + " but " +
                            std::to_string(free.size()) + " are there.");
      }
      free.resize(std::min<std::size_t>(first->count, free.size()));
    } else if (const auto* refs = std::get_if<std::vector<config::DeviceRef>>(&entry.devices)) {
      return select_listed(at, *refs, list, free);
    } else if (free.empty()) {
      warnings_.push_back(field(config_, at, "devices") +
                          ": every device is taken by an entry above, so that this one has no "
                          "effect.");
    }
    return free;
  }

  std::vector<std::size_t> select_listed(std::size_t at, const std::vector<config::DeviceRef>& refs,
                                         const std::vector<Piece>& list,
                                         const std::vector<std::size_t>& free) {
    std::set<std::size_t> chosen;
    for (const config::DeviceRef& ref : refs) {
      bool any = false;
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (!refers_to(ref, list[i], snapshot_.gpus[list[i].gpu])) continue;
        any = true;
        if (std::binary_search(free.begin(), free.end(), i)) {
          chosen.insert(i);
        } else if (names_one(ref)) {
          warnings_.push_back(field(config_, at, "devices") + ": " + list[i].uuid +
                              " follows an entry above.");
        }
      }
      if (!any) {
        warnings_.push_back(field(config_, at, "devices") + ": " + no_match(ref) + ".");
      }
    }
    return {chosen.begin(), chosen.end()};
  }

  // A resource holds what one name meant before sharing. Anything else would give a pod a whole
  // GPU or a MIG device by chance.
  Status claim(std::size_t at, const SharedResource& entry, const std::string& target) {
    auto [owner, fresh] = owner_.emplace(target, entry.name);
    const bool taken_by_entry = !fresh && owner->second != entry.name;
    const bool taken_by_devices = target != entry.name && pieces_.count(target) > 0;
    if (!taken_by_entry && !taken_by_devices) return {};
    return fail(Kind::kConflict,
                "rename would mix " + entry.name + " with the devices of " +
                    (taken_by_entry ? owner->second : target) + " under the name " + target,
                field(config_, at, "rename"), "choose a name that nothing else has");
  }

  void add(const std::string& resource, const Piece& piece, std::optional<unsigned> replica) {
    Device device;
    device.id = replica ? piece.uuid + "::" + std::to_string(*replica) : piece.uuid;
    device.physical_id = piece.uuid;
    device.index = piece.index;
    device.gpu = piece.gpu;
    device.mig = piece.mig;
    device.replica = replica;
    const auto& numa = snapshot_.gpus[piece.gpu].numa_node;
    if (numa && *numa >= 0) device.numa_node = numa;
    device.healthy = piece.unhealthy.empty();
    device.unhealthy_reason = piece.unhealthy;
    by_name_[resource].push_back(std::move(device));
  }

  Result<std::vector<Resource>> collect() {
    std::vector<Resource> resources;
    for (auto& [name, devices] : by_name_) {
      std::sort(devices.begin(), devices.end(), [](const Device& a, const Device& b) {
        return std::tie(a.gpu, a.mig, a.replica) < std::tie(b.gpu, b.mig, b.replica);
      });
      Resource resource;
      resource.name = name;
      resource.shared = std::any_of(devices.begin(), devices.end(),
                                    [](const Device& d) { return d.replica.has_value(); });
      resource.fail_requests_greater_than_one =
          resource.shared && config_.sharing.fail_requests_greater_than_one;
      resource.devices = std::move(devices);
      if (auto found = mps_.find(name); found != mps_.end()) {
        resource.mps = std::move(found->second);
        std::ranges::sort(resource.mps, {}, &MpsGpu::gpu);
        if (auto odd = differing_threads(config_.sharing, resource.mps)) {
          return fail(Kind::kConflict,
                      "one MPS daemon serves " + name +
                          " and has one thread percentage, another entry has a different one",
                      field(config_, *odd, "limits.threadPercentage"),
                      "give both entries the same, or a rename of their own");
        }
      }
      resources.push_back(std::move(resource));
    }
    return resources;
  }

  const inventory::Snapshot& snapshot_;
  const config::Config& config_;
  Pieces pieces_;
  std::vector<std::string>& warnings_;
  std::map<std::string, std::vector<bool>> taken_;
  std::map<std::string, std::string> owner_;  // resource name → name before sharing
  std::map<std::string, std::size_t> list_bytes_;
  std::map<std::string, std::vector<MpsGpu>> mps_;  // by resource name
  std::map<std::string, std::vector<Device>> by_name_;
};

}  // namespace

Result<std::vector<Resource>> share_devices(const inventory::Snapshot& snapshot,
                                            const config::Config& config, Pieces pieces,
                                            std::vector<std::string>& warnings) {
  return Sharer(snapshot, config, std::move(pieces), warnings).run();
}

}  // namespace kerf::plan
