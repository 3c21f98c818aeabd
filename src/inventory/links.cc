// The link graph of inventory/builder.h.
#include <algorithm>

#include "inventory/builder.h"
#include "nvml/session.h"

namespace kerf::inventory {

namespace {

using nvml::Session;

constexpr unsigned kMaxNvLinks = 18;  // more are not counted, as in NVIDIA's allocator

// Scores of the aligned allocation policy.
int pcie_score(std::uint32_t level) {
  switch (level) {
    case nvml::abi::kTopologyInternal:
      return 60;
    case nvml::abi::kTopologySingleSwitch:
      return 50;
    case nvml::abi::kTopologyMultipleSwitches:
      return 40;
    case nvml::abi::kTopologyHostBridge:
      return 30;
    case nvml::abi::kTopologyNode:
      return 20;
    case nvml::abi::kTopologySystem:
      return 10;
    default:
      return 0;
  }
}

struct Peer {
  std::string uuid;
  std::string bus_id;
};

// The bus ids at the far ends of a GPU's active links. Links that the GPU does not have answer with
// an error and are passed over.
std::vector<std::string> remote_ends(const Session& session, nvml::abi::Device gpu) {
  std::vector<std::string> ends;
  for (unsigned link = 0; link < nvml::abi::kNvLinkMaxLinks; ++link) {
    auto active = session.nvlink_active(gpu, link);
    if (!active || !*active) continue;
    if (auto remote = session.nvlink_remote(gpu, link)) ends.push_back(std::move(remote->bus_id));
  }
  return ends;
}

// Links from peers[from] to all that come after it; runs on the lane.
Result<LinkReading> read_row(const Session& session, const std::vector<Peer>& peers,
                             unsigned from) {
  auto own = session.gpu_by_uuid(peers[from].uuid);
  if (!own) return fail(std::move(own.error()));
  std::vector<std::string> ends = remote_ends(session, *own);
  LinkReading row;
  for (unsigned to = from + 1; to < peers.size(); ++to) {
    Link link{from, to, 0, 0};
    auto other = session.gpu_by_uuid(peers[to].uuid);
    auto level = other ? session.topology(*own, *other)
                       : Result<std::uint32_t>(fail(std::move(other.error())));
    if (level) {
      link.pcie_score = pcie_score(*level);
    } else {
      row.warnings.push_back("the topology between " + peers[from].uuid + " and " + peers[to].uuid +
                             " cannot be read: " + level.error().text());
    }
    auto nvlinks = std::count(ends.begin(), ends.end(), peers[to].bus_id);
    link.nvlinks = std::min(static_cast<unsigned>(nvlinks), kMaxNvLinks);
    row.links.push_back(link);
  }
  return row;
}

}  // namespace

Result<LinkReading> read_links(const DriverAccess& access, const std::vector<Gpu>& gpus) {
  std::vector<Peer> peers;
  peers.reserve(gpus.size());
  for (const Gpu& gpu : gpus) peers.push_back({gpu.uuid, gpu.pci_bus_id});
  LinkReading all;
  for (unsigned from = 0; from + 1 < peers.size(); ++from) {
    auto row = access.lane.call("links of " + peers[from].uuid, access.limit,
                                [slot = access.slot, peers, from]() -> Result<LinkReading> {
                                  auto session = slot->get();
                                  if (!session) {
                                    return fail(Kind::kGone, "the driver is not initialised");
                                  }
                                  return read_row(*session, peers, from);
                                });
    if (!row) {
      if (row.error().kind == Kind::kTimeout) return fail(std::move(row.error()));
      all.warnings.push_back("the links of " + peers[from].uuid +
                             " cannot be read: " + row.error().text());
      for (unsigned to = from + 1; to < peers.size(); ++to) {
        all.links.push_back({from, to, 0, 0});
      }
      continue;
    }
    all.links.insert(all.links.end(), row->links.begin(), row->links.end());
    for (std::string& warning : row->warnings) all.warnings.push_back(std::move(warning));
  }
  return all;
}

}  // namespace kerf::inventory
