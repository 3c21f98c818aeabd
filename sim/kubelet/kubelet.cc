#include "kubelet/kubelet.h"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "kubelet/endpoint.h"
#include "kubelet/raw_listener.h"
#include "proto/deviceplugin.grpc.pb.h"
#include "proto/podresources.grpc.pb.h"

#include <grpcpp/grpcpp.h>

namespace kubelet_sim {
namespace {

namespace fs = std::filesystem;

constexpr char kGarbage[] =
    "\x16\x03\x01\x02 certainly not the preface of HTTP/2, and longer than one frame";

struct Plugin {
  Resource seen;
  std::shared_ptr<Endpoint> endpoint;
  std::uint64_t generation = 0;  // tells a replaced endpoint's callbacks from the current one's
};

}  // namespace

const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::kPending:
      return "Pending";
    case Phase::kRunning:
      return "Running";
    case Phase::kFailed:
      break;
  }
  return "Failed";
}

struct Kubelet::Impl final : v1beta1::Registration::Service, v1::PodResourcesLister::Service {
  explicit Impl(Options opts) : options(std::move(opts)) {}

  // --- registration -------------------------------------------------------------------------
  grpc::Status Register(grpc::ServerContext*, const v1beta1::RegisterRequest* request,
                        v1beta1::Empty*) override {
    const std::string& name = request->resource_name();
    {
      std::lock_guard lock(mutex);
      if (mode == Mode::kReject) return {grpc::StatusCode::UNKNOWN, "registration rejected"};
    }
    if (request->version() != "v1beta1") {
      return {grpc::StatusCode::UNKNOWN, "requested API version " + request->version() +
                                             " is not supported by kubelet. Supported version is "
                                             "v1beta1"};
    }
    if (name.find('/') == std::string::npos || request->endpoint().empty()) {
      return {grpc::StatusCode::UNKNOWN, "the ResourceName \"" + name + "\" is invalid"};
    }
    log("registered " + name + " at " + request->endpoint());
    std::shared_ptr<Endpoint> replaced;
    {
      std::lock_guard lock(mutex);
      Plugin& plugin = plugins[name];
      replaced = std::move(plugin.endpoint);
      const std::uint64_t generation = ++plugin.generation;
      plugin.seen.name = name;
      plugin.seen.endpoint = request->endpoint();
      ++plugin.seen.registrations;
      plugin.endpoint = std::make_shared<Endpoint>(
          options.directory + "/" + request->endpoint(),
          request->options().get_preferred_allocation_available(),
          [this, name, generation](std::vector<Device> devices) {
            listed(name, generation, std::move(devices));
          },
          [this, name, generation](const std::string& why) { ended(name, generation, why); });
    }
    return grpc::Status::OK;
  }

  void listed(const std::string& name, std::uint64_t generation, std::vector<Device> devices) {
    std::size_t healthy = 0;
    std::size_t all = devices.size();
    {
      std::lock_guard lock(mutex);
      Plugin& plugin = plugins[name];
      if (plugin.generation != generation) return;
      plugin.seen.connected = true;
      ++plugin.seen.updates;
      plugin.seen.devices = std::move(devices);
      for (const Device& device : plugin.seen.devices) healthy += device.healthy ? 1 : 0;
      plugin.seen.allocatable = healthy;
      dirty = true;
    }
    changed.notify_all();
    log("capacity " + name + ": " + std::to_string(all) +
        ", allocatable: " + std::to_string(healthy));
  }

  void ended(const std::string& name, std::uint64_t generation, const std::string& why) {
    {
      std::lock_guard lock(mutex);
      Plugin& plugin = plugins[name];
      if (plugin.generation != generation) return;
      plugin.seen.connected = false;
      plugin.seen.allocatable = 0;
    }
    changed.notify_all();
    log("lost " + name + ": " + why);
  }

  // --- pods ---------------------------------------------------------------------------------
  std::set<std::string> used_ids(const std::string& resource) const {
    std::set<std::string> used;
    for (const auto& [name, pod] : pods) {
      if (pod.resource == resource) used.insert(pod.ids.begin(), pod.ids.end());
    }
    return used;
  }

  // Tries every pending pod once, oldest name first.
  void place_pending() {
    std::lock_guard admission(admitting);
    std::vector<std::string> names;
    {
      std::lock_guard lock(mutex);
      dirty = false;
      for (const auto& [name, pod] : pods) {
        if (pod.phase == Phase::kPending) names.push_back(name);
      }
    }
    for (const std::string& name : names) place(name);
  }

  // With `admitting` held, so that no two pods get the same device.
  void place(const std::string& name) {
    Pod pod;
    std::shared_ptr<Endpoint> endpoint;
    std::vector<std::string> available;
    {
      std::lock_guard lock(mutex);
      auto found = pods.find(name);
      if (found == pods.end()) return;
      pod = found->second;
      auto plugin = plugins.find(pod.resource);
      if (plugin != plugins.end() && plugin->second.seen.connected) {
        endpoint = plugin->second.endpoint;
        const std::set<std::string> used = used_ids(pod.resource);
        for (const Device& device : plugin->second.seen.devices) {
          if (device.healthy && !used.contains(device.id)) available.push_back(device.id);
        }
      }
      if (available.size() < static_cast<std::size_t>(pod.count)) {
        found->second.reason = "Insufficient " + pod.resource;
        return;
      }
    }
    admit(pod, *endpoint, available);
    {
      std::lock_guard lock(mutex);
      auto found = pods.find(name);
      if (found == pods.end()) return;  // deleted meanwhile
      found->second = pod;
    }
    changed.notify_all();
    std::string ids;
    for (const std::string& id : pod.ids) ids += (ids.empty() ? "" : ",") + id;
    log("pod " + name + " " + to_string(pod.phase) +
        (pod.phase == Phase::kRunning ? " on " + ids : ": " + pod.reason));
  }

  static void admit(Pod& pod, Endpoint& endpoint, const std::vector<std::string>& available) {
    std::string error;
    const std::set<std::string> free(available.begin(), available.end());
    std::vector<std::string> ids;
    for (const std::string& id : endpoint.preferred(available, pod.count, error)) {
      if (ids.size() < static_cast<std::size_t>(pod.count) && free.contains(id) &&
          std::ranges::find(ids, id) == ids.end()) {
        ids.push_back(id);
      }
    }
    for (const std::string& id : available) {
      if (ids.size() >= static_cast<std::size_t>(pod.count)) break;
      if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
    }
    if (error.empty() && endpoint.allocate(ids, pod, error)) {
      pod.phase = Phase::kRunning;
      pod.reason.clear();
      pod.ids = std::move(ids);
    } else {
      pod.phase = Phase::kFailed;
      pod.reason =
          "UnexpectedAdmissionError: Allocate failed due to " + error + ", which is unexpected";
    }
  }

  void run_scheduler() {
    std::unique_lock lock(mutex);
    while (!closing) {
      changed.wait(lock, [this] { return dirty || closing; });
      if (closing) return;
      lock.unlock();
      place_pending();
      lock.lock();
    }
  }

  // --- PodResources -------------------------------------------------------------------------
  void describe(const Pod& pod, v1::PodResources& out) const {
    out.set_name(pod.name);
    out.set_namespace_("default");
    auto* container = out.add_containers();
    container->set_name("main");
    auto* devices = container->add_devices();
    devices->set_resource_name(pod.resource);
    for (const std::string& id : pod.ids) devices->add_device_ids(id);
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListPodResourcesRequest*,
                    v1::ListPodResourcesResponse* response) override {
    std::lock_guard lock(mutex);
    for (const auto& [name, pod] : pods) {
      if (pod.phase == Phase::kRunning) describe(pod, *response->add_pod_resources());
    }
    return grpc::Status::OK;
  }
  grpc::Status Get(grpc::ServerContext*, const v1::GetPodResourcesRequest* request,
                   v1::GetPodResourcesResponse* response) override {
    std::lock_guard lock(mutex);
    auto found = pods.find(request->pod_name());
    if (found == pods.end() || found->second.phase != Phase::kRunning) {
      return {grpc::StatusCode::NOT_FOUND, "no such pod"};
    }
    describe(found->second, *response->mutable_pod_resources());
    return grpc::Status::OK;
  }
  grpc::Status GetAllocatableResources(grpc::ServerContext*, const v1::AllocatableResourcesRequest*,
                                       v1::AllocatableResourcesResponse* response) override {
    std::lock_guard lock(mutex);
    for (const auto& [name, plugin] : plugins) {
      auto* devices = response->add_devices();
      devices->set_resource_name(name);
      for (const Device& device : plugin.seen.devices) {
        if (device.healthy) devices->add_device_ids(device.id);
      }
    }
    return grpc::Status::OK;
  }

  // --- life ---------------------------------------------------------------------------------
  std::unique_ptr<grpc::Server> serve(const std::string& path, grpc::Service* service) {
    grpc::ServerBuilder builder;
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
    builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
    builder.RegisterService(service);
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server) log("cannot listen on " + path);
    return server;
  }

  bool start() {
    std::error_code ignored;
    fs::create_directories(options.directory, ignored);
    for (const auto& entry : fs::directory_iterator(options.directory, ignored)) {
      fs::remove(entry.path(), ignored);
    }
    const std::string path = options.directory + "/kubelet.sock";
    Mode now;
    {
      std::lock_guard lock(mutex);
      now = mode;
    }
    if (now == Mode::kHang || now == Mode::kGarbage) {
      raw = std::make_unique<RawListener>(path, now == Mode::kHang ? "" : kGarbage);
      return raw->ok();
    }
    registration = serve(path, static_cast<v1beta1::Registration::Service*>(this));
    if (!options.pod_resources_socket.empty()) {
      fs::create_directories(fs::path(options.pod_resources_socket).parent_path(), ignored);
      fs::remove(options.pod_resources_socket, ignored);
      pod_resources =
          serve(options.pod_resources_socket, static_cast<v1::PodResourcesLister::Service*>(this));
    }
    if (registration) log("kubelet listens on " + path);
    return registration != nullptr;
  }

  void stop() {
    const auto soon = std::chrono::system_clock::now() + std::chrono::milliseconds(100);
    if (registration) registration->Shutdown(soon);
    if (pod_resources) pod_resources->Shutdown(soon);
    registration.reset();
    pod_resources.reset();
    raw.reset();
    std::vector<std::shared_ptr<Endpoint>> dropped;
    {
      std::lock_guard lock(mutex);
      for (auto& [name, plugin] : plugins) {
        ++plugin.generation;
        plugin.seen.connected = false;
        plugin.seen.allocatable = 0;
        dropped.push_back(std::move(plugin.endpoint));
      }
    }
    dropped.clear();  // joins their threads, which may be waiting for the lock
    changed.notify_all();
  }

  void log(const std::string& line) const {
    if (options.log) options.log(line);
  }

  Options options;
  mutable std::mutex mutex;
  std::mutex admitting;  // taken before `mutex`
  std::mutex life;       // start, stop, restart and modes come one at a time
  std::condition_variable changed;
  Mode mode = Mode::kNormal;
  bool dirty = false;
  bool closing = false;
  std::map<std::string, Plugin> plugins;
  std::map<std::string, Pod> pods;
  std::unique_ptr<grpc::Server> registration;
  std::unique_ptr<grpc::Server> pod_resources;
  std::unique_ptr<RawListener> raw;
  std::thread scheduler;
};

Kubelet::Kubelet(Options options) : impl_(std::make_shared<Impl>(std::move(options))) {
  impl_->scheduler = std::thread([impl = impl_.get()] { impl->run_scheduler(); });
}

Kubelet::~Kubelet() {
  stop();
  {
    std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  impl_->changed.notify_all();
  impl_->scheduler.join();
}

bool Kubelet::start() {
  std::lock_guard life(impl_->life);
  return impl_->start();
}

void Kubelet::stop() {
  std::lock_guard life(impl_->life);
  impl_->stop();
}

bool Kubelet::restart() {
  std::lock_guard life(impl_->life);
  impl_->stop();
  return impl_->start();
}

void Kubelet::set_mode(Mode mode) {
  std::lock_guard life(impl_->life);
  {
    std::lock_guard lock(impl_->mutex);
    impl_->mode = mode;
  }
  impl_->stop();
  impl_->start();
}

bool Kubelet::drop(const std::string& resource) {
  std::shared_ptr<Endpoint> dropped;
  {
    std::lock_guard lock(impl_->mutex);
    auto found = impl_->plugins.find(resource);
    if (found == impl_->plugins.end()) return false;
    ++found->second.generation;
    found->second.seen.connected = false;
    found->second.seen.allocatable = 0;
    dropped = std::move(found->second.endpoint);
  }
  impl_->changed.notify_all();
  return true;
}

Pod Kubelet::create_pod(const std::string& name, const std::string& resource, int count) {
  {
    std::lock_guard lock(impl_->mutex);
    Pod pod;
    pod.name = name;
    pod.resource = resource;
    pod.count = count;
    if (!impl_->pods.emplace(name, pod).second) {
      pod.phase = Phase::kFailed;
      pod.reason = "a pod of that name exists";
      return pod;
    }
  }
  impl_->place_pending();
  std::lock_guard lock(impl_->mutex);
  auto found = impl_->pods.find(name);
  return found == impl_->pods.end() ? Pod{} : found->second;
}

bool Kubelet::delete_pod(const std::string& name) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->pods.erase(name) == 0) return false;
    impl_->dirty = true;
  }
  impl_->changed.notify_all();
  impl_->log("pod " + name + " deleted");
  return true;
}

std::vector<Pod> Kubelet::pods() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<Pod> all;
  for (const auto& [name, pod] : impl_->pods) all.push_back(pod);
  return all;
}

std::vector<Resource> Kubelet::resources() const {
  std::lock_guard lock(impl_->mutex);
  std::vector<Resource> all;
  for (const auto& [name, plugin] : impl_->plugins) {
    all.push_back(plugin.seen);
    all.back().in_use = impl_->used_ids(name).size();
  }
  return all;
}

bool Kubelet::wait_until(std::chrono::milliseconds deadline, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!holds()) {
    std::unique_lock lock(impl_->mutex);
    if (std::chrono::steady_clock::now() >= end) return false;
    // `holds` takes the lock itself, so a change between its look and this wait can be missed; the
    // short wait makes up for it.
    impl_->changed.wait_for(lock, std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace kubelet_sim
