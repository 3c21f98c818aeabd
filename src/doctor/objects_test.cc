// Kubernetes objects as they come, and how findings are written down.
#include "doctor/objects.h"

#include "doctor/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::doctor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

TEST(Objects, OfTheDeploymentsDaemonSetAreUnderstood) {
  const auto sets = plugins_of(R"({"items": [
    {"metadata": {"name": "nvidia-device-plugin-daemonset", "namespace": "gpu-device-plugin"},
     "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"spec": {
       "runtimeClassName": "nvidia", "nodeSelector": {"a": "b"},
       "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
         "nodeSelectorTerms": [{"matchExpressions": [
           {"key": "k", "operator": "In", "values": ["v", 7]}]}]}}},
       "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}}},
     "status": {"desiredNumberScheduled": 3, "numberReady": 2}},
    {"metadata": {"name": "nvidia-device-plugin-mps-control-daemon"}},
    {"metadata": {"name": "gpu-feature-discovery",
                  "labels": {"app.kubernetes.io/name": "nvidia-device-plugin"}}},
    {"metadata": {"name": "kerf", "labels": {"app.kubernetes.io/name": "nvidia-device-plugin"}}},
    {"metadata": {"name": "cilium"}}, "nonsense"]})");
  ASSERT_TRUE(sets) << sets.error().text();
  ASSERT_EQ(sets->size(), 2U);
  const DaemonSetObject& set = sets->front();
  EXPECT_EQ(set.name_space, "gpu-device-plugin");
  EXPECT_THAT(set.pod_labels, ElementsAre(Pair("app", "x")));
  EXPECT_EQ(set.runtime_class, "nvidia");
  ASSERT_EQ(set.selector.size(), 1U);
  EXPECT_EQ(set.selector[0].key, "a");
  ASSERT_EQ(set.affinity.size(), 1U);
  EXPECT_THAT(set.affinity[0][0].values, ElementsAre("v"));
  EXPECT_EQ(set.tolerations[0].op, "Exists");
  EXPECT_EQ(set.desired, 3U);
  EXPECT_EQ(set.ready, 2U);
  EXPECT_EQ(sets->back().name, "kerf");
}

TEST(Objects, OfANodeAreUnderstood) {
  const auto nodes = nodes_of(R"json({"metadata": {"name": "n", "labels": {"l": "true"},
      "annotations": {"extensions.talos.dev/schematic": "abc"}},
    "spec": {"unschedulable": true, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}],
      "nodeInfo": {"osImage": "Talos (v1.10.4)"},
      "capacity": {"nvidia.com/gpu": "8", "cpu": "4", "nvidia.com/odd": "1k"},
      "allocatable": {"nvidia.com/gpu": "4"}}})json");
  ASSERT_TRUE(nodes);
  ASSERT_EQ(nodes->size(), 1U);
  const NodeObject& node = nodes->front();
  EXPECT_TRUE(node.ready);
  EXPECT_TRUE(node.unschedulable);
  EXPECT_EQ(node.taints[0].value, "v");
  EXPECT_EQ(node.os_image, "Talos (v1.10.4)");
  EXPECT_THAT(node.capacity, ElementsAre(Pair("nvidia.com/gpu", 8)));
  EXPECT_THAT(node.allocatable, ElementsAre(Pair("nvidia.com/gpu", 4)));
}

TEST(Objects, OfAPodAreUnderstood) {
  const auto pods = pods_of(R"({"items": [{"metadata": {"name": "p", "namespace": "d"},
    "spec": {"nodeName": "n",
      "initContainers": [{"resources": {"limits": {"nvidia.com/gpu": "5"}}}],
      "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "1"}}},
                     {"resources": {"limits": {"nvidia.com/gpu": "2"}}}]},
    "status": {"phase": "Pending", "reason": "Evicted", "message": "why",
      "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}],
      "containerStatuses": [{"name": "c", "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "m"}}}]}}]})");
  ASSERT_TRUE(pods);
  const PodObject& pod = pods->at(0);
  EXPECT_EQ(pod.unscheduled, "0/1 nodes");
  EXPECT_THAT(pod.requests, ElementsAre(Pair("nvidia.com/gpu", 5)));
  ASSERT_EQ(pod.containers.size(), 1U);
  EXPECT_EQ(pod.containers[0].restarts, 3U);
  EXPECT_EQ(pod.containers[0].waiting, "CrashLoopBackOff");
  EXPECT_EQ(pod.containers[0].last_exit, 137);
  EXPECT_EQ(pod.containers[0].last_message, "m");
}

TEST(Objects, OfAnotherFormGiveNothing) {
  EXPECT_EQ(nodes_of("[]").error().kind, Kind::kCorrupt);
  EXPECT_EQ(pods_of("{").error().kind, Kind::kCorrupt);
  EXPECT_EQ(names_of(R"({"items": null})")->size(), 0U);
  EXPECT_EQ(names_of(R"({"items": {"a": 1}})")->size(), 0U);
  const auto odd = nodes_of(R"({"metadata": [], "spec": {"taints": [7]},
                                "status": {"capacity": {"nvidia.com/gpu": 8}, "conditions": "x"}})");
  ASSERT_TRUE(odd);
  EXPECT_FALSE(odd->at(0).ready);
  EXPECT_TRUE(odd->at(0).capacity.empty());
}

TEST(Complaints, AreTheTwoNewestWarningsAboutTheObject) {
  const auto found = complaints_of(R"({"items": [
    {"type": "Warning", "reason": "A", "message": "old", "lastTimestamp": "2025-01-01T00:00:00Z",
     "involvedObject": {"kind": "DaemonSet", "name": "d"}},
    {"type": "Warning", "reason": "B", "message": "new", "lastTimestamp": "2025-01-03T00:00:00Z",
     "involvedObject": {"kind": "DaemonSet", "name": "d"}},
    {"type": "Warning", "reason": "C", "message": "mid",
     "metadata": {"creationTimestamp": "2025-01-02T00:00:00Z"},
     "involvedObject": {"kind": "DaemonSet", "name": "d"}},
    {"type": "Normal", "reason": "D", "involvedObject": {"kind": "DaemonSet", "name": "d"}},
    {"type": "Warning", "reason": "E", "involvedObject": {"kind": "Pod", "name": "d"}}]})",
                                   "DaemonSet", "d");
  ASSERT_TRUE(found);
  EXPECT_THAT(*found, ElementsAre("B: new", "C: mid"));
}

TEST(Report, HasALineAFindingAndCounts) {
  const std::vector<Section> sections = {{"node", "", {{Severity::kOk, "a", "fine", ""}}},
                                         {"cluster",
                                          "https://x",
                                          {{Severity::kError, "b", "bad \x1b[2J", "Do this."},
                                           {Severity::kSkipped, "c", "unknown", ""}}}};
  EXPECT_EQ(gravest(sections), Severity::kError);
  EXPECT_EQ(to_text(sections, false),
            "node\n  ok     fine\n\n"
            "cluster https://x\n  error  bad ?[2J\n         Do this.\n  skip   unknown\n\n"
            "1 error, 0 warnings\n");
  EXPECT_THAT(to_text(sections, true), HasSubstr("\x1b[31merror\x1b[0m"));
  EXPECT_THAT(to_text({}, false), HasSubstr("nothing wrong found"));
  const std::string json = to_json(sections);
  EXPECT_THAT(json, HasSubstr(R"({"status":"error","findings":[)"));
  EXPECT_THAT(
      json,
      HasSubstr(R"({"section":"node","severity":"ok","check":"a","what":"fine","remedy":""})"));
  EXPECT_THAT(json, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace kerf::doctor
