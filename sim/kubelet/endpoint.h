// The kubelet's end of one registered plugin: its connection, the thread that watches its devices,
// and the calls for admission.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kubelet/kubelet.h"

namespace kubelet_sim {

class Endpoint {
 public:
  using Listed = std::function<void(std::vector<Device> devices)>;
  using Ended = std::function<void(const std::string& why)>;

  // Dials at once and watches on a thread of its own, which calls back.
  Endpoint(const std::string& socket_path, bool preferred_allocation, Listed listed, Ended ended);
  // Cancels the watch and joins the thread; no callback runs afterwards.
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // The plugin's choice; empty when it has none to offer. Errors go to `error`.
  std::vector<std::string> preferred(const std::vector<std::string>& available, int count,
                                     std::string& error);
  // Fills the pod's envs, mounts and so on. False with the plugin's status text in `error`.
  bool allocate(const std::vector<std::string>& ids, Pod& pod, std::string& error);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubelet_sim
