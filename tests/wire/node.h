// A node for wire tests: a temporary directory, a kubelet stand-in, and our service on an event
// loop of its own thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <stdlib.h>
#include <string>
#include <thread>

#include "kubelet/kubelet.h"
#include "kubelet/service.h"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace kerf::wire {

using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kSlow = 10;  // how much longer things may take under a sanitizer
#else
inline constexpr int kSlow = 1;
#endif
// The promise: registered again, bound again, … within a second.
inline constexpr std::chrono::milliseconds kPromised = 1000ms * kSlow;
// For what only has to happen at all.
inline constexpr std::chrono::milliseconds kEventually = 20'000ms;

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "wire-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An event loop that runs until destroyed.
class Loop {
 public:
  Loop() : guard_(io_.get_executor()), thread_([this] { io_.run(); }) {}
  ~Loop() {
    guard_.reset();
    io_.stop();
    thread_.join();
  }
  asio::io_context& io() { return io_; }
  // Runs `work` on the loop and waits for it.
  template <typename Work>
  auto run(Work work) -> decltype(work()) {
    using Value = decltype(work());
    // Owned by the loop too: the caller wakes up before setting the value has quite returned.
    auto promise = std::make_shared<std::promise<Value>>();
    auto result = promise->get_future();
    asio::post(io_, [promise, &work] {
      if constexpr (std::is_void_v<Value>) {
        work();
        promise->set_value();
      } else {
        promise->set_value(work());
      }
    });
    return result.get();
  }

 private:
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

inline bool eventually(std::chrono::milliseconds deadline, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

// `count` devices "<prefix>-0" … of one resource.
inline plan::Resource resource_of(const std::string& name, const std::string& prefix,
                                  std::size_t count) {
  plan::Resource resource;
  resource.name = name;
  for (std::size_t at = 0; at < count; ++at) {
    plan::Device device;
    device.id = prefix + "-" + std::to_string(at);
    device.physical_id = device.id;
    resource.devices.push_back(std::move(device));
  }
  return resource;
}

inline plan::PlanPtr plan_of(std::vector<plan::Resource> resources) {
  static std::atomic<std::uint64_t> generation = 0;
  auto plan = std::make_shared<plan::Plan>();
  plan->generation = ++generation;
  plan->resources = std::move(resources);
  return plan;
}

// Answers that need no allocator: the ids become an environment variable, the last free ids are
// preferred, and the id "bad" is refused.

inline kubelet::Answers simple_answers(const plan::PlanPtr&, std::size_t) {
  kubelet::Answers answers;
  answers.allocate = [](std::span<const std::string_view> ids) -> Result<edits::Edits> {
    edits::Edits edits;
    std::string& list = edits.envs["DEVICES"];
    for (std::string_view id : ids) {
      if (id == "bad") return fail(Kind::kInvalid, "unknown device: bad");
      list += (list.empty() ? "" : ",") + std::string(id);
    }
    return edits;
  };
  answers.preferred = [](std::span<const std::string_view> available,
                         std::span<const std::string_view>,
                         std::int32_t size) -> Result<std::vector<std::string_view>> {
    if (size < 0 || static_cast<std::size_t>(size) > available.size()) {
      return fail(Kind::kConflict, "not enough available devices to satisfy allocation");
    }
    return std::vector<std::string_view>(available.end() - size, available.end());
  };
  return answers;
}

struct Node {
  explicit Node(const std::function<void(kubelet::Service::Options&)>& adjust = {},
                kubelet::Observer observer = {}) {
    kubelet::Service::Options options;
    options.kubelet_socket = directory + "/kubelet.sock";
    options.register_deadline = 500ms * kSlow;
    options.retry_longest = 500ms;
    if (adjust) adjust(options);
    loop.run([&] {
      service = std::make_unique<kubelet::Service>(loop.io(), options, simple_answers,
                                                   std::move(observer));
    });
  }
  ~Node() {
    loop.run([this] { service.reset(); });
  }
  void apply(const plan::PlanPtr& plan) {
    loop.run([&] { service->apply(plan); });
  }
  kubelet::Service::ServiceStatus status() {
    return loop.run([&] { return service->status(); });
  }
  kubelet::Service::ResourceStatus first() {
    auto all = status();
    return all.resources.empty() ? kubelet::Service::ResourceStatus{} : all.resources.front();
  }
  kubelet_sim::Resource seen(const std::string& name = "example.com/gpu") {
    for (const auto& resource : kubelet.resources()) {
      if (resource.name == name) return resource;
    }
    return {};
  }
  // The kubelet has a stream and this many allocatable devices.
  bool allocatable(std::size_t count, std::chrono::milliseconds deadline,
                   const std::string& name = "example.com/gpu") {
    return kubelet.wait_until(deadline, [&] {
      auto now = seen(name);
      return now.connected && now.allocatable == count;
    });
  }

  TempDirectory temp;
  std::string directory = temp.path() + "/device-plugins";
  std::string socket = directory + "/nvidia-gpu.sock";
  kubelet_sim::Kubelet kubelet{{directory, "", {}}};
  Loop loop;
  std::unique_ptr<kubelet::Service> service;
};

}  // namespace kerf::wire
