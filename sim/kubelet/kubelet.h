// A kubelet as far as device plugins can tell: it serves Registration, dials the plugins that
// register, watches their devices, and admits pods by GetPreferredAllocation and Allocate, like the
// kubelet's device manager. Nodes, scheduling and containers exist as bookkeeping only. It knows
// the public API (proto/) and no particular plugin.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kubelet_sim {

enum class Phase { kPending, kRunning, kFailed };

struct Pod {
  std::string name;
  std::string resource;
  int count = 0;
  Phase phase = Phase::kPending;
  std::string reason;            // why it is pending or has failed
  std::vector<std::string> ids;  // devices it holds, while running
  std::map<std::string, std::string> envs;
  std::map<std::string, std::string> annotations;
  std::vector<std::string> mounts;   // "host:container[:ro]"
  std::vector<std::string> devices;  // "host:container:permissions"
  std::vector<std::string> cdi_devices;
};

struct Device {
  std::string id;
  bool healthy = false;
  std::vector<long> numa_nodes;
};

struct Resource {
  std::string name;
  std::string endpoint;
  bool connected = false;       // its ListAndWatch stream is open
  int registrations = 0;        // since start, over restarts
  int updates = 0;              // lists received, likewise
  std::vector<Device> devices;  // as last listed, in that order
  std::size_t allocatable = 0;  // healthy ones; 0 while not connected
  std::size_t in_use = 0;
};

// How the registration socket behaves.
enum class Mode {
  kNormal,
  kReject,   // Register is refused with an error
  kHang,     // connections are accepted and never read
  kGarbage,  // connections are answered with bytes that are not HTTP/2
};

class Kubelet {
 public:
  struct Options {
    std::string directory;             // of kubelet.sock and the plugins' sockets; made if missing
    std::string pod_resources_socket;  // empty: not served
    std::function<void(const std::string& line)> log;  // one line an event; may be empty
  };

  explicit Kubelet(Options options);
  // Stops; pods are forgotten, sockets removed.
  ~Kubelet();

  // Removes everything in the directory, as a kubelet does when it starts, and serves. False with
  // a logged reason when the socket cannot be made.
  bool start();
  // Stops serving: the socket and all plugin connections are gone, pods are kept.
  void stop();
  // stop + start, as when the kubelet is restarted.
  bool restart();
  void set_mode(Mode mode);
  // Closes the connection to the plugin of `resource` and forgets it until it registers again.
  // False when unknown.
  bool drop(const std::string& resource);

  // Admits the pod if devices are free, else it stays pending and is tried again whenever some
  // become free. Admission errors fail the pod. Returns it as it is then.
  Pod create_pod(const std::string& name, const std::string& resource, int count);
  // False when unknown.
  bool delete_pod(const std::string& name);

  std::vector<Pod> pods() const;
  std::vector<Resource> resources() const;
  // Waits until `holds` or the deadline; checks after every change. Returns the last outcome.
  bool wait_until(std::chrono::milliseconds deadline, const std::function<bool()>& holds);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

const char* to_string(Phase phase);

}  // namespace kubelet_sim
