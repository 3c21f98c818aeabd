// Any ids in any number as requests of the kubelet: Allocate and GetPreferredAllocation may refuse
// but not crash, and what they answer must hold together.
//
// Input: a first line "<gpus> <replicas> <size> <options>" in decimal, then one id a line; an empty
// line ends the available ids and begins those that must be included. GPUs are called G0, G1, …
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "allocate/allocate.h"
#include "allocate/preferred.h"
#include "plan/sample_nodes.h"

namespace {

using namespace kerf;
namespace sample = plan::sample;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fputs(what, stderr);
  std::abort();
}

struct Request {
  unsigned gpus = 0, replicas = 0, options = 0;
  std::int32_t size = 0;
  std::vector<std::string> available, must_include;
};

Request parse(std::string_view text) {
  std::istringstream in{std::string(text)};
  Request request;
  std::string line;
  std::getline(in, line);
  std::istringstream(line) >> request.gpus >> request.replicas >> request.size >> request.options;
  request.gpus %= 18;
  request.replicas = std::min(request.replicas, 120u);
  std::vector<std::string>* list = &request.available;
  while (std::getline(in, line)) {
    if (line.empty()) {
      list = &request.must_include;
    } else {
      list->push_back(line);
    }
  }
  return request;
}

plan::PlanPtr plan_for(const Request& request) {
  std::vector<inventory::Gpu> gpus;
  std::vector<inventory::Link> links;
  const bool mig = (request.options & 1) != 0;
  for (unsigned i = 0; i < request.gpus; ++i) {
    gpus.push_back(mig ? sample::mig_gpu(i, {"1g.10gb", "1g.10gb"}) : sample::gpu(i));
    gpus.back().uuid = "G" + std::to_string(i);
    // Eight at most, to keep the search short.
    for (unsigned j = 0; (request.options & 2) != 0 && request.gpus <= 8 && j < i; ++j) {
      links.push_back({j, i, static_cast<int>(10 * ((i * j) % 6)), (i + j) % 3});
    }
  }
  config::Config config = sample::shared(request.replicas);
  if (mig) config.mig_strategy = config::MigStrategy::kSingle;
  if ((request.options & 4) != 0) config.allocation_policy = config::AllocationPolicy::kPacked;
  if ((request.options & 8) != 0) config.device_id_strategy = config::DeviceIdStrategy::kIndex;
  config.pass_device_specs = (request.options & 16) != 0;
  if ((request.options & 32) != 0 && !config.sharing.resources.empty()) {
    config.sharing.resources[0].devices = config::FirstDevices{request.gpus / 2};
  }
  config.sharing.fail_requests_greater_than_one = (request.options & 64) != 0;
  return sample::plan(sample::node(std::move(gpus), std::move(links)), config);
}

void check_preferred(const allocate::Index& index, const std::vector<std::string_view>& available,
                     const std::vector<std::string_view>& required, std::int32_t size) {
  const auto answer = allocate::preferred(index, available, required, size);
  if (!answer) {
    require(!answer.error().text().empty(), "an error without text");
    return;
  }
  const std::set<std::string_view> offered(available.begin(), available.end());
  const std::set<std::string_view> demanded(required.begin(), required.end());
  std::set<std::string_view> chosen;
  for (std::string_view id : *answer) {
    require(offered.contains(id) || demanded.contains(id), "an id that was not offered");
    if (!demanded.contains(id)) require(chosen.insert(id).second, "an id chosen twice");
  }
  if (answer->empty() || size <= 0) return;
  require(answer->size() == std::max(static_cast<std::size_t>(size), required.size()),
          "not as many as asked for");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Request request = parse({reinterpret_cast<const char*>(data), size});
  const plan::PlanPtr plan = plan_for(request);
  const std::vector<std::string_view> available(request.available.begin(), request.available.end());
  const std::vector<std::string_view> required(request.must_include.begin(),
                                               request.must_include.end());
  allocate::HostFacts host;
  host.nvidiactl = host.uvm = true;
  for (const allocate::IndexPtr& index : allocate::index_all(plan)) {
    for (const plan::Device& device : index->resource().devices) {
      require(index->find(device.id).has_value(), "a device of the plan is not found");
    }
    const auto edits = allocate::allocate(*index, available, host);
    require(!edits || edits->envs.contains("NVIDIA_VISIBLE_DEVICES"), "no visible devices");
    check_preferred(*index, available, required, request.size);
  }
  return 0;
}
