// What it costs to find out whose a process is and who holds which device: the kubelet's list for a
// node with 80 pods beside protobuf's own reading of it, the devices in it, a control group.
#include <string>

#include "pods/attribute.h"
#include "pods/cgroup.h"
#include "pods/codec.h"
#include "proto/podresources.pb.h"

#include <benchmark/benchmark.h>

namespace kerf::pods {
namespace {

constexpr unsigned kGpus = 8;
constexpr unsigned kPods = 10;  // a GPU

std::string uuid(unsigned gpu) {
  return "GPU-5a3f1c0e-8d27-4b61-9c52-0e7ab4d1f39" + std::to_string(gpu);
}

std::string list() {
  v1::ListPodResourcesResponse answer;
  for (unsigned n = 0; n < kGpus * kPods; ++n) {
    auto* pod = answer.add_pod_resources();
    pod->set_name("inference-7c9d6f5b8-" + std::to_string(n));
    pod->set_namespace_("team-vision");
    auto* container = pod->add_containers();
    container->set_name("server");
    auto* devices = container->add_devices();
    devices->set_resource_name("nvidia.com/gpu");
    devices->add_device_ids(uuid(n % kGpus) + "::" + std::to_string(n / kGpus));
  }
  return answer.SerializeAsString();
}

inventory::Snapshot node() {
  inventory::Snapshot out;
  for (unsigned i = 0; i < kGpus; ++i) {
    inventory::Gpu& gpu = out.gpus.emplace_back();
    gpu.index = i;
    gpu.uuid = uuid(i);
  }
  return out;
}

void list_by_protobuf(benchmark::State& state) {
  const std::string bytes = list();
  for (auto _ : state) {
    v1::ListPodResourcesResponse answer;
    benchmark::DoNotOptimize(answer.ParseFromString(bytes));
  }
}
BENCHMARK(list_by_protobuf)->Unit(benchmark::kMicrosecond);

void decode_the_list(benchmark::State& state) {
  const std::string bytes = list();
  for (auto _ : state) benchmark::DoNotOptimize(decode_list(bytes));
}
BENCHMARK(decode_the_list)->Unit(benchmark::kMicrosecond);

void attribute_devices(benchmark::State& state) {
  Pods pods;
  pods.containers = decode_list(list()).value_or(std::vector<Container>());
  const inventory::Snapshot snapshot = node();
  for (auto _ : state) benchmark::DoNotOptimize(attribute(pods, snapshot));
}
BENCHMARK(attribute_devices)->Unit(benchmark::kMicrosecond);

void control_group(benchmark::State& state) {
  const std::string line =
      "0::/kubepods.slice/kubepods-burstable.slice/"
      "kubepods-burstable-pod1c8d4c1e_8f3b_4c0e_9a67_0d2f5b6a7c81.slice/cri-containerd-" +
      std::string(64, 'a') + ".scope\n";
  std::string text = line;
  // Version 1 has a line a controller, and the pod's is the last here.
  for (std::int64_t n = 0; n < state.range(0); ++n) text.insert(0, "12:memory:/user.slice\n");
  for (auto _ : state) benchmark::DoNotOptimize(parse_cgroup(text));
}
BENCHMARK(control_group)->Arg(0)->Arg(12)->ArgName("lines");

}  // namespace
}  // namespace kerf::pods
