#include "agent/events_component.h"

#include <filesystem>
#include <fstream>

#include "agent/kube_events.h"
#include "agent/named_config.h"
#include "agent/node_condition.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <nlohmann/json.hpp>

namespace kerf::agent {
namespace {

using inventory::DriverState;
using inventory::Gpu;
using inventory::Snapshot;

Gpu gpu(const std::string& uuid, std::optional<inventory::Unhealthy> unhealthy = {}) {
  Gpu out;
  out.uuid = uuid;
  out.unhealthy = std::move(unhealthy);
  return out;
}

const inventory::Unhealthy kXid{"xid", "Xid 79 on GPU-b", 5};

Snapshot ready(std::vector<Gpu> gpus) {
  Snapshot out;
  out.driver.state = DriverState::kReady;
  out.gpus = std::move(gpus);
  return out;
}

std::vector<std::string> reasons(const std::optional<Snapshot>& before, const Snapshot& after) {
  std::vector<std::string> out;
  auto shared = before ? std::make_shared<const Snapshot>(*before) : nullptr;
  for (const Saying& say : sayings(shared, after)) {
    out.push_back((say.warning ? "!" : "") + say.reason);
  }
  return out;
}

TEST(Events, TellWhatHappensToGpusAndDriver) {
  using Reasons = std::vector<std::string>;
  Snapshot two = ready({gpu("GPU-a"), gpu("GPU-b")});
  Snapshot sick = ready({gpu("GPU-a"), gpu("GPU-b", kXid)});
  Snapshot one = ready({gpu("GPU-a")});
  Snapshot lost;
  lost.driver = {DriverState::kFailed, "", 0, "", "driver not loaded"};
  EXPECT_EQ(reasons({}, two), Reasons{});
  EXPECT_EQ(reasons({}, sick), Reasons{"!GPUUnhealthy"});
  EXPECT_EQ(reasons(two, two), Reasons{});
  EXPECT_EQ(reasons(two, sick), Reasons{"!GPUUnhealthy"});
  EXPECT_EQ(reasons(sick, two), Reasons{"GPURecovered"});
  EXPECT_EQ(reasons(two, one), Reasons{"!GPURemoved"});
  EXPECT_EQ(reasons(one, two), Reasons{"GPUAdded"});
  EXPECT_EQ(reasons(two, lost), Reasons{"!DriverLost"});
  EXPECT_EQ(reasons({}, lost), Reasons{"!DriverLost"});
  EXPECT_EQ(reasons({}, Snapshot()), Reasons{});
  EXPECT_EQ(reasons(lost, two), Reasons{"DriverRecovered"});
}

TEST(Events, NameTheGpuAndTheCause) {
  auto before = std::make_shared<const Snapshot>(ready({gpu("GPU-b")}));
  std::vector<Saying> said = sayings(before, ready({gpu("GPU-b", kXid)}));
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].message, "GPU-b is unhealthy: xid: Xid 79 on GPU-b");
}

TEST(Events, AreObjectsThatTheApiServerTakes) {
  KubeEvent event{"GPUUnhealthy", "a \"b\"\n", true, 3, 1'700'000'000'000, 1'700'000'060'000};
  nlohmann::json body = nlohmann::json::parse(event_body(event, "worker-1", "kerf"));
  EXPECT_EQ(body["involvedObject"]["kind"], "Node");
  EXPECT_EQ(body["involvedObject"]["uid"], "worker-1");
  EXPECT_EQ(body["metadata"]["namespace"], "default");
  EXPECT_EQ(body["type"], "Warning");
  EXPECT_EQ(body["count"], 3);
  EXPECT_EQ(body["message"], "a \"b\"\n");
  EXPECT_EQ(body["firstTimestamp"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(body["lastTimestamp"], "2023-11-14T22:14:20Z");
}

TEST(NodeCondition, SaysWhetherGpusCanBeGivenOut) {
  Snapshot sick = ready({gpu("GPU-a"), gpu("GPU-b", kXid)});
  Gpu parent = gpu("GPU-c");
  parent.mig_devices.emplace_back();
  parent.mig_devices[0].uuid = "MIG-1";
  parent.mig_devices[0].unhealthy = kXid;
  Snapshot stuck;
  stuck.driver.state = DriverState::kStuck;
  struct Case {
    Snapshot snapshot;
    bool was_ready;
    std::string status, reason;
  };
  for (const Case& c : std::vector<Case>{
           {ready({gpu("GPU-a")}), true, "True", "AllGPUsHealthy"},
           {sick, true, "False", "GPUUnhealthy"},
           {ready({parent}), true, "False", "GPUUnhealthy"},
           {ready({}), true, "Unknown", "NoGPU"},
           {Snapshot(), false, "Unknown", "NoDriver"},
           {Snapshot(), true, "False", "DriverLost"},
           {stuck, false, "False", "DriverLost"},
       }) {
    Condition condition = condition_of(c.snapshot, c.was_ready);
    EXPECT_EQ(condition.status, c.status) << c.reason;
    EXPECT_EQ(condition.reason, c.reason);
    EXPECT_FALSE(condition.message.empty());
  }
  EXPECT_EQ(condition_of(sick, true).message, "1 of 2 GPUs unhealthy: GPU-b: Xid 79 on GPU-b");
}

TEST(NodeCondition, IsReadBackFromTheNodeItWasWrittenTo) {
  Condition condition{"False", "GPUUnhealthy", "why \"so\""};
  std::string patch = condition_patch(condition, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
  std::optional<Stated> stated = stated_condition(patch);
  ASSERT_TRUE(stated.has_value());
  EXPECT_EQ(stated->condition, condition);
  EXPECT_EQ(stated->since, "2026-01-01T00:00:00Z");
  for (const char* other : {"", "[]", "{}", R"({"status":[]})", R"({"status":{"conditions":[1]}})",
                            R"({"status":{"conditions":[{"type":"Ready"}]}})"}) {
    EXPECT_FALSE(stated_condition(other).has_value()) << other;
  }
}

TEST(NodeCondition, FitsIntoTheNodeHoweverManyGpusAreIll) {
  std::vector<Gpu> gpus;
  for (int i = 0; i < 200; ++i) gpus.push_back(gpu("GPU-" + std::to_string(i), kXid));
  EXPECT_LE(condition_of(ready(gpus), true).message.size(), 1000U);
}

TEST(NamedConfig, ReadsTheLabelOfANode) {
  EXPECT_EQ(label_of(R"({"metadata":{"labels":{"a/b":"c"}}})", "a/b"), "c");
  for (const char* other : {"", "{}", R"({"metadata":{}})", R"({"metadata":{"labels":[]}})",
                            R"({"metadata":{"labels":{"a/b":1}}})", R"({"metadata":null})"}) {
    EXPECT_EQ(label_of(other, "a/b"), "") << other;
  }
}

TEST(NamedConfig, ListsAMountedConfigMapAsItsKeys) {
  namespace fs = std::filesystem;
  fs::path root = fs::path(::testing::TempDir()) / ("kerf-configs-" + std::to_string(getpid()));
  fs::create_directories(root / "..2026_01_01");
  std::ofstream(root / "..2026_01_01" / "ten") << "version: v1\n";
  fs::create_directory_symlink("..2026_01_01", root / "..data");
  fs::create_symlink("..data/ten", root / "ten");
  fs::create_symlink("..data/gone", root / "gone");
  fs::create_directory(root / "folder");
  std::ofstream(root / "plain") << "";
  EXPECT_EQ(list_configs(root.string()).value(),
            (std::vector<std::string>{"gone", "plain", "ten"}));
  fs::remove_all(root);
  EXPECT_EQ(list_configs(root.string()).error().kind, Kind::kNotFound);
}

// A Node on an API server that answers at once.
class Server {
 public:
  explicit Server(asio::io_context& loop) : loop_(loop) {}

  ConditionWriter::Send send() {
    return [this](kube::Request request, kube::Answer answer) {
      const bool asks = request.verb == kube::Verb::kGet;
      asks ? ++reads : ++writes;
      if (!asks) node = request.body;
      asio::post(loop_, [text = node, answer = std::move(answer)] {
        kube::Response response;
        response.status = 200;
        response.body = text;
        answer(response);
      });
    };
  }
  // Until it is so, for some seconds at most.
  bool runs_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done() && std::chrono::steady_clock::now() < end) {
      loop_.run_one_for(std::chrono::milliseconds(50));
    }
    return done();
  }

  std::string node = "{}";
  int reads = 0;
  int writes = 0;

 private:
  asio::io_context& loop_;
};

TEST(ConditionWriter, PutsBackWhatSomebodyTookAway) {
  asio::io_context loop;
  Server server(loop);
  ConditionWriter writer(
      loop, system_clock(), server.send(), "node", [] {}, std::chrono::milliseconds(20));
  const Condition good{"True", "AllGPUsHealthy", "2 GPUs healthy"};
  auto stated = [&] {
    auto found = stated_condition(server.node);
    return found ? found->condition : Condition();
  };
  writer.set(good);
  ASSERT_TRUE(server.runs_until([&] { return stated() == good; }));
  const std::string since = stated_condition(server.node)->since;
  server.node = "{}";
  ASSERT_TRUE(server.runs_until([&] { return stated() == good; }));
  // Only what is missing is written; looking alone writes nothing.
  const int reads = server.reads;
  ASSERT_TRUE(server.runs_until([&] { return server.reads >= reads + 3; }));
  EXPECT_EQ(server.writes, 2);
  // What is set in between does not wait for the next look.
  const Condition bad{"False", "GPUUnhealthy", "one"};
  writer.set(bad);
  EXPECT_TRUE(server.runs_until([&] { return stated() == bad; }));
  EXPECT_FALSE(since.empty());
}

}  // namespace
}  // namespace kerf::agent
