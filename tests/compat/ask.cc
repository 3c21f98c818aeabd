// Asks a device plugin everything a kubelet could, and prints the answers as JSON.
//
//   ask DIR SECONDS   serves DIR/kubelet.sock, waits until nothing has registered for a second (at
//                     most SECONDS), then questions each registered resource. Exit 1: none came.
//
// It belongs to nobody: any plugin can be asked. Lists whose order means nothing are sorted, so two
// plugins' answers can be compared as text.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "proto/deviceplugin.grpc.pb.h"

#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Ids = std::vector<std::string>;

class Registry final : public v1beta1::Registration::Service {
 public:
  grpc::Status Register(grpc::ServerContext* /*context*/, const v1beta1::RegisterRequest* request,
                        v1beta1::Empty* /*response*/) override {
    std::lock_guard lock(mutex_);
    seen_[request->resource_name()] = *request;
    last_ = Clock::now();
    return grpc::Status::OK;
  }
  // Returns once a second has passed without another registration.
  std::map<std::string, v1beta1::RegisterRequest> wait(std::chrono::seconds limit) {
    const auto end = Clock::now() + limit;
    while (Clock::now() < end) {
      std::this_thread::sleep_for(20ms);
      std::lock_guard lock(mutex_);
      if (!seen_.empty() && Clock::now() - last_ > 1s) break;
    }
    std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, v1beta1::RegisterRequest> seen_;
  Clock::time_point last_;
};

json options(const v1beta1::DevicePluginOptions& from) {
  return {{"pre_start_required", from.pre_start_required()},
          {"get_preferred_allocation_available", from.get_preferred_allocation_available()}};
}

json failure(const grpc::Status& status) {
  return {{"code", static_cast<int>(status.error_code())}, {"message", status.error_message()}};
}

void set_deadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + 30s);
}

std::string physical(const std::string& id) { return id.substr(0, id.find("::")); }

class Plugin {
 public:
  explicit Plugin(const std::string& socket)
      : stub_(v1beta1::DevicePlugin::NewStub(
            grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()))) {}

  json get_options() {
    grpc::ClientContext context;
    set_deadline(context);
    v1beta1::DevicePluginOptions answer;
    grpc::Status status = stub_->GetDevicePluginOptions(&context, {}, &answer);
    return status.ok() ? options(answer) : failure(status);
  }

  // The first list; the ids go into `ids`, sorted.
  json list(Ids& ids) {
    grpc::ClientContext context;
    set_deadline(context);
    auto stream = stub_->ListAndWatch(&context, {});
    v1beta1::ListAndWatchResponse first;
    if (!stream->Read(&first)) return failure(stream->Finish());
    context.TryCancel();
    json out = json::object();
    for (const v1beta1::Device& device : first.devices()) {
      json nodes = json::array();
      for (const v1beta1::NUMANode& node : device.topology().nodes()) nodes.push_back(node.id());
      out[device.id()] = {{"health", device.health()}, {"numa", nodes}};
      ids.push_back(device.id());
    }
    std::ranges::sort(ids);
    return out;
  }

  json allocate(const std::vector<Ids>& containers) {
    v1beta1::AllocateRequest request;
    for (const Ids& ids : containers) {
      auto* one = request.add_container_requests();
      for (const std::string& id : ids) one->add_devices_ids(id);
    }
    grpc::ClientContext context;
    set_deadline(context);
    v1beta1::AllocateResponse answer;
    grpc::Status status = stub_->Allocate(&context, request, &answer);
    if (!status.ok()) return failure(status);
    json out = json::array();
    for (const auto& one : answer.container_responses()) out.push_back(container(one));
    return out;
  }

  json preferred(const Ids& available, const Ids& must_include, int size) {
    v1beta1::PreferredAllocationRequest request;
    auto* one = request.add_container_requests();
    for (const std::string& id : available) one->add_available_deviceids(id);
    for (const std::string& id : must_include) one->add_must_include_deviceids(id);
    one->set_allocation_size(size);
    grpc::ClientContext context;
    set_deadline(context);
    v1beta1::PreferredAllocationResponse answer;
    grpc::Status status = stub_->GetPreferredAllocation(&context, request, &answer);
    if (!status.ok()) return failure(status);
    Ids ids;
    for (const auto& response : answer.container_responses()) {
      ids.insert(ids.end(), response.deviceids().begin(), response.deviceids().end());
    }
    std::ranges::sort(ids);
    std::map<std::string, int> spread;
    for (const std::string& id : ids) ++spread[physical(id)];
    std::vector<int> shape;
    for (const auto& [id, count] : spread) shape.push_back(count);
    std::ranges::sort(shape);
    return {{"ids", ids}, {"shape", shape}};
  }

 private:
  static json container(const v1beta1::ContainerAllocateResponse& from) {
    json envs = json::object();
    for (const auto& [name, value] : from.envs()) envs[name] = value;
    json annotations = json::object();
    for (const auto& [name, value] : from.annotations()) annotations[name] = value;
    std::vector<json> mounts;
    for (const auto& mount : from.mounts()) {
      mounts.push_back({{"container", mount.container_path()},
                        {"host", mount.host_path()},
                        {"read_only", mount.read_only()}});
    }
    std::vector<json> devices;
    for (const auto& device : from.devices()) {
      devices.push_back({{"container", device.container_path()},
                         {"host", device.host_path()},
                         {"permissions", device.permissions()}});
    }
    Ids cdi;
    for (const auto& device : from.cdi_devices()) cdi.push_back(device.name());
    std::ranges::sort(mounts);
    std::ranges::sort(devices);
    return {{"envs", envs},
            {"annotations", annotations},
            {"mounts", mounts},
            {"devices", devices},
            {"cdi_devices", cdi}};
  }

  std::unique_ptr<v1beta1::DevicePlugin::Stub> stub_;
};

Ids first_of(const Ids& ids, std::size_t count) {
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min(count, ids.size()))};
}

// Every question with its answer; the question's text is the key.
json interview(const std::string& directory, const v1beta1::RegisterRequest& registered) {
  json out;
  out["register"] = {{"version", registered.version()},
                     {"endpoint", registered.endpoint()},
                     {"options", options(registered.options())}};
  Plugin plugin(directory + "/" + registered.endpoint());
  out["options"] = plugin.get_options();
  Ids ids;
  out["list"] = plugin.list(ids);
  if (ids.empty()) return out;

  json& allocations = out["allocate"];
  for (const std::string& id : first_of(ids, 64)) allocations[id] = plugin.allocate({{id}});
  const std::string unknown = "GPU-00000000-0000-0000-0000-000000000000";
  allocations["nothing"] = plugin.allocate({});
  allocations["a container without devices"] = plugin.allocate({Ids{}});
  allocations["an unknown device"] = plugin.allocate({{unknown}});
  allocations["a known and an unknown device"] = plugin.allocate({{ids.front(), unknown}});
  allocations["a device twice"] = plugin.allocate({{ids.front(), ids.front()}});
  allocations["the first two"] = plugin.allocate({first_of(ids, 2)});
  allocations["first and last"] = plugin.allocate({{ids.front(), ids.back()}});
  allocations["everything"] = plugin.allocate({ids});
  allocations["two containers"] = plugin.allocate({{ids.front()}, {ids.back()}});

  json& choices = out["preferred"];
  for (int size = 0; size <= static_cast<int>(std::min<std::size_t>(ids.size() + 1, 9)); ++size) {
    choices["of all " + std::to_string(size)] = plugin.preferred(ids, {}, size);
    choices["with the last " + std::to_string(size)] = plugin.preferred(ids, {ids.back()}, size);
    Ids few = ids;
    few.erase(few.begin());
    choices["without the first " + std::to_string(size)] = plugin.preferred(few, {}, size);
  }
  choices["of an unknown device"] = plugin.preferred({unknown}, {}, 1);
  choices["with an unknown device"] = plugin.preferred(ids, {unknown}, 1);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: ask DIR SECONDS\n";
    return 2;
  }
  const std::string directory = argv[1];
  Registry registry;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + directory + "/kubelet.sock",
                           grpc::InsecureServerCredentials());
  builder.RegisterService(&registry);
  auto server = builder.BuildAndStart();
  if (!server) {
    std::cerr << "ask: cannot listen on " << directory << "/kubelet.sock\n";
    return 2;
  }
  auto registered = registry.wait(std::chrono::seconds(std::atoi(argv[2])));
  json out = json::object();
  for (const auto& [name, request] : registered) out[name] = interview(directory, request);
  std::cout << out.dump(1) << "\n";
  server->Shutdown(std::chrono::system_clock::now() + 1s);
  return registered.empty() ? 1 : 0;
}
