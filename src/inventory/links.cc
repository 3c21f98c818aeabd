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

// Where a GPU's active links lead. Links that the GPU does not have answer with an error and are
// passed over.
struct Ends {
  std::vector<std::string> bus_ids;
  unsigned switched = 0;
};

Ends remote_ends(const Session& session, nvml::abi::Device gpu) {
  Ends ends;
  for (unsigned link = 0; link < nvml::abi::kNvLinkMaxLinks; ++link) {
    auto active = session.nvlink_active(gpu, link);
    if (!active || !*active) continue;
    if (auto to_switch = session.nvlink_to_switch(gpu, link); to_switch && *to_switch) {
      ++ends.switched;
    } else if (auto remote = session.nvlink_remote(gpu, link)) {
      ends.bus_ids.push_back(std::move(remote->bus_id));
    }
  }
  return ends;
}

struct Row {
  std::vector<Link> links;  // to all GPUs that come after it
  unsigned switched = 0;
  std::vector<std::string> warnings;
};

// Runs on the lane.
Result<Row> read_row(const Session& session, const std::vector<Peer>& peers, unsigned from) {
  auto own = session.gpu_by_uuid(peers[from].uuid);
  if (!own) return fail(std::move(own.error()));
  const Ends ends = remote_ends(session, *own);
  Row row;
  row.switched = std::min(ends.switched, kMaxNvLinks);
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
    auto nvlinks = std::count(ends.bus_ids.begin(), ends.bus_ids.end(), peers[to].bus_id);
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
  std::vector<unsigned> switched(peers.size(), 0);
  // The last one, too: how it is joined to switches.
  for (unsigned from = 0; peers.size() > 1 && from < peers.size(); ++from) {
    auto row = access.lane.call("links of " + peers[from].uuid, access.limit,
                                [slot = access.slot, peers, from]() -> Result<Row> {
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
    switched[from] = row->switched;
    all.links.insert(all.links.end(), row->links.begin(), row->links.end());
    for (std::string& warning : row->warnings) all.warnings.push_back(std::move(warning));
  }
  for (Link& link : all.links) link.switched = std::min(switched[link.from], switched[link.to]);
  return all;
}

}  // namespace kerf::inventory
