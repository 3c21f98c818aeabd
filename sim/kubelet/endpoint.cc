#include "kubelet/endpoint.h"

#include <chrono>
#include <thread>

#include "proto/deviceplugin.grpc.pb.h"

#include <grpcpp/grpcpp.h>

namespace kubelet_sim {
namespace {

std::string text_of(const grpc::Status& status) {
  return "rpc error: code = " + std::to_string(status.error_code()) +
         " desc = " + status.error_message();
}

void deadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
}

}  // namespace

struct Endpoint::Impl {
  void watch(const Listed& listed, const Ended& ended) {
    v1beta1::Empty empty;
    auto stream = stub->ListAndWatch(&context, empty);
    v1beta1::ListAndWatchResponse list;
    while (stream->Read(&list)) {
      std::vector<Device> devices;
      for (const v1beta1::Device& each : list.devices()) {
        Device device;
        device.id = each.id();
        device.healthy = each.health() == "Healthy";
        for (const auto& node : each.topology().nodes()) device.numa_nodes.push_back(node.id());
        devices.push_back(std::move(device));
      }
      listed(std::move(devices));
    }
    grpc::Status status = stream->Finish();
    ended(status.ok() ? "the plugin ended the stream" : text_of(status));
  }

  std::unique_ptr<v1beta1::DevicePlugin::Stub> stub;
  grpc::ClientContext context;
  bool preferred_allocation = false;
  std::thread thread;
};

Endpoint::Endpoint(const std::string& socket_path, bool preferred_allocation, Listed listed,
                   Ended ended)
    : impl_(std::make_unique<Impl>()) {
  grpc::ChannelArguments arguments;
  // Plugins come back at the same path; a shared subchannel would remember the old one's failures.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(16 << 20);
  impl_->stub = v1beta1::DevicePlugin::NewStub(grpc::CreateCustomChannel(
      "unix:" + socket_path, grpc::InsecureChannelCredentials(), arguments));
  impl_->preferred_allocation = preferred_allocation;
  impl_->thread = std::thread([this, listed = std::move(listed), ended = std::move(ended)] {
    impl_->watch(listed, ended);
  });
}

Endpoint::~Endpoint() {
  impl_->context.TryCancel();
  impl_->thread.join();
}

std::vector<std::string> Endpoint::preferred(const std::vector<std::string>& available, int count,
                                             std::string& error) {
  if (!impl_->preferred_allocation) return {};
  v1beta1::PreferredAllocationRequest request;
  auto* one = request.add_container_requests();
  for (const std::string& id : available) one->add_available_deviceids(id);
  one->set_allocation_size(count);
  v1beta1::PreferredAllocationResponse response;
  grpc::ClientContext context;
  deadline(context);
  grpc::Status status = impl_->stub->GetPreferredAllocation(&context, request, &response);
  if (!status.ok()) {
    error = text_of(status);
    return {};
  }
  if (response.container_responses_size() == 0) return {};
  const auto& ids = response.container_responses(0).deviceids();
  return {ids.begin(), ids.end()};
}

bool Endpoint::allocate(const std::vector<std::string>& ids, Pod& pod, std::string& error) {
  v1beta1::AllocateRequest request;
  auto* one = request.add_container_requests();
  for (const std::string& id : ids) one->add_devices_ids(id);
  v1beta1::AllocateResponse response;
  grpc::ClientContext context;
  deadline(context);
  grpc::Status status = impl_->stub->Allocate(&context, request, &response);
  if (!status.ok()) {
    error = text_of(status);
    return false;
  }
  if (response.container_responses_size() != 1) {
    error = "the plugin answered for " + std::to_string(response.container_responses_size()) +
            " containers instead of 1";
    return false;
  }
  const auto& answer = response.container_responses(0);
  for (const auto& [key, value] : answer.envs()) pod.envs[key] = value;
  for (const auto& [key, value] : answer.annotations()) pod.annotations[key] = value;
  for (const auto& mount : answer.mounts()) {
    pod.mounts.push_back(mount.host_path() + ":" + mount.container_path() +
                         (mount.read_only() ? ":ro" : ""));
  }
  for (const auto& node : answer.devices()) {
    pod.devices.push_back(node.host_path() + ":" + node.container_path() + ":" +
                          node.permissions());
  }
  for (const auto& device : answer.cdi_devices()) pod.cdi_devices.push_back(device.name());
  return true;
}

}  // namespace kubelet_sim
