// What is said of a cluster, for each thing that can be wrong with it, and the scheduler's rules.
#include "doctor/cluster_checks.h"

#include <functional>

#include "doctor/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::doctor {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kPci = "feature.node.kubernetes.io/pci-10de.present";

ClusterFacts healthy() {
  ClusterFacts cluster;
  cluster.plugins_known = true;
  DaemonSetObject& set = cluster.plugins.emplace_back();
  set.name_space = "gpu-device-plugin";
  set.name = "nvidia-device-plugin-daemonset";
  set.selector = {{kPci, "In", {"true"}}};
  set.tolerations = {{"nvidia.com/gpu", "Exists", "", "NoSchedule"}};
  set.runtime_class = "nvidia";
  cluster.runtime_classes = {"nvidia"};
  NodeObject& node = cluster.nodes.emplace_back();
  node.name = "worker-1";
  node.labels = {{kPci, "true"}};
  node.ready = true;
  node.capacity = node.allocatable = {{"nvidia.com/gpu", 8}};
  cluster.nodes.push_back({});
  cluster.nodes[1].name = "plain";
  PodObject& pod = cluster.plugin_pods.emplace_back();
  pod.name_space = "gpu-device-plugin";
  pod.name = "plugin-x";
  pod.node = "worker-1";
  pod.phase = "Running";
  pod.containers = {{"nvidia-device-plugin-ctr", 0, "", "", "", 0, ""}};
  cluster.gpu_pods.emplace().push_back({});
  PodObject& user = cluster.gpu_pods->back();
  user.name_space = "default";
  user.name = "train";
  user.node = "worker-1";
  user.phase = "Running";
  user.requests = {{"nvidia.com/gpu", 3}};
  return cluster;
}

Findings bad(const Findings& all) {
  Findings out;
  for (const Finding& finding : all) {
    if (finding.severity != Severity::kOk) out.push_back(finding);
  }
  return out;
}

TEST(Cluster, InOrderHasNothingButGoodFindings) {
  const Findings all = examine_cluster(healthy());
  EXPECT_THAT(bad(all), IsEmpty());
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[3].what, "node worker-1: 8 of 8 nvidia.com/gpu can be given out, pods have 3");
}

struct Case {
  const char* name;
  std::function<void(ClusterFacts&)> wrong;
  Severity severity;
  const char* check;
  const char* what;
  const char* remedy;
};

class WrongInCluster : public testing::TestWithParam<Case> {};

TEST_P(WrongInCluster, IsNamedWithItsRemedy) {
  const Case& c = GetParam();
  ClusterFacts cluster = healthy();
  c.wrong(cluster);
  const Findings found = bad(examine_cluster(cluster));
  ASSERT_EQ(found.size(), 1U) << (found.empty() ? "" : found[1].what);
  EXPECT_EQ(found[0].severity, c.severity);
  EXPECT_EQ(found[0].check, c.check);
  EXPECT_THAT(found[0].what, HasSubstr(c.what));
  EXPECT_THAT(found[0].remedy, HasSubstr(c.remedy));
}

const Case kCases[] = {
    {"NoPlugin",
     [](ClusterFacts& c) {
       c.plugins.clear();
       c.plugin_pods.clear();
     },
     Severity::kError, "plugin", "no device plugin", "kubectl apply -k"},
    {"NoRuntimeClass", [](ClusterFacts& c) { c.runtime_classes->clear(); }, Severity::kError,
     "runtime-class", "no RuntimeClass nvidia, which the pods of DaemonSet", "runtimeclass.yaml"},
    {"NoRuntimeClassForOthers",
     [](ClusterFacts& c) {
       c.runtime_classes->clear();
       c.plugins[0].runtime_class.clear();
     },
     Severity::kWarning, "runtime-class", "pods with runtimeClassName: nvidia are refused",
     "runtimeclass.yaml"},
    {"Events",
     [](ClusterFacts& c) { c.plugins[0].complaints = {"FailedCreate: violates\nPodSecurity"}; },
     Severity::kWarning, "plugin.events", "FailedCreate: violates | PodSecurity", ""},
    {"OtherLabel",
     [](ClusterFacts& c) {
       c.one_node = true;
       c.nodes = {c.nodes[0]};
       c.nodes[0].labels = {{"feature.node.kubernetes.io/pci-0300_10de.present", "true"}};
     },
     Severity::kError, "node.selector",
     "asks for feature.node.kubernetes.io/pci-10de.present=true; the node has "
     "feature.node.kubernetes.io/pci-0300_10de.present",
     "deviceLabelFields"},
    {"NoLabel",
     [](ClusterFacts& c) {
       c.one_node = true;
       c.nodes = {c.nodes[0]};
       c.nodes[0].labels.clear();
     },
     Severity::kError, "node.selector", "has no label that tells of an NVIDIA GPU",
     "kubectl label node worker-1 nvidia.com/gpu.present=true"},
    {"Taint", [](ClusterFacts& c) { c.nodes[0].taints = {{"gpu", "true", "NoSchedule"}}; },
     Severity::kError, "node.taint", "gpu=true:NoSchedule", "tolerations"},
    {"PendingPlugin", [](ClusterFacts& c) { c.plugin_pods[0].phase = "Pending"; }, Severity::kError,
     "node.plugin-pod", "pod gpu-device-plugin/plugin-x is Pending", "kubectl describe pod"},
    {"CrashingPlugin",
     [](ClusterFacts& c) {
       c.plugin_pods[0].containers[0] = {
           "nvidia-device-plugin-ctr", 7, "CrashLoopBackOff", "back-off 5m0s", "Error", 1,
           "cannot load library\n"};
     },
     Severity::kError, "node.plugin-pod",
     "CrashLoopBackOff back-off 5m0s; started anew 7 times, last ended with 1 (Error) cannot load "
     "library",
     "kubectl logs -n gpu-device-plugin plugin-x -c nvidia-device-plugin-ctr --previous"},
    {"AResourceOfBefore",
     [](ClusterFacts& c) { c.nodes[0].capacity["nvidia.com/mig-1g.10gb"] = 0; }, Severity::kWarning,
     "node.capacity", "node worker-1: nobody advertises nvidia.com/mig-1g.10gb any more",
     "partitioned"},
    {"RestartedPlugin",
     [](ClusterFacts& c) {
       c.plugin_pods[0].containers[0] = {"ctr", 2, "", "", "OOMKilled", 137, ""};
     },
     Severity::kWarning, "node.plugin-pod", "started anew 2 times", "memory limit"},
    {"NoImage",
     [](ClusterFacts& c) {
       c.plugin_pods[0].containers[0] = {"ctr", 0, "ErrImagePull", "not found", "", 0, ""};
     },
     Severity::kError, "node.plugin-pod", "ErrImagePull not found", "registry"},
    {"NoPluginPod", [](ClusterFacts& c) { c.plugin_pods.clear(); }, Severity::kError,
     "node.plugin-pod", "no pod of DaemonSet", "kubectl describe daemonset"},
    {"NoCapacity", [](ClusterFacts& c) { c.nodes[0].capacity.clear(); }, Severity::kError,
     "node.capacity", "has no nvidia.com/ resource", "/health"},
    {"LessThanCapacity", [](ClusterFacts& c) { c.nodes[0].allocatable["nvidia.com/gpu"] = 4; },
     Severity::kWarning, "node.capacity", "4 of 8 nvidia.com/gpu can be given out", "unhealthy"},
    {"NothingLeft", [](ClusterFacts& c) { c.nodes[0].allocatable.clear(); }, Severity::kError,
     "node.capacity", "0 of 8", "withdrew"},
    {"NotReady", [](ClusterFacts& c) { c.nodes[0].ready = false; }, Severity::kError, "node.ready",
     "is not ready", "kubectl describe node worker-1"},
    {"Cordoned", [](ClusterFacts& c) { c.nodes[0].unschedulable = true; }, Severity::kWarning,
     "node.ready", "cordoned", "kubectl uncordon worker-1"},
    {"WaitingForGpus",
     [](ClusterFacts& c) {
       c.gpu_pods->at(0).node.clear();
       c.gpu_pods->at(0).unscheduled = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.";
     },
     Severity::kWarning, "pods.pending", "pod default/train waits for a GPU: 0/2 nodes",
     "more slices"},
    {"WaitingForALabel",
     [](ClusterFacts& c) {
       c.gpu_pods->at(0).unscheduled = "2 node(s) didn't match Pod's node affinity/selector.";
     },
     Severity::kWarning, "pods.pending", "affinity/selector", "--show-labels"},
    {"WaitingForAToleration",
     [](ClusterFacts& c) {
       c.gpu_pods->at(0).unscheduled = "1 node(s) had untolerated taint {nvidia.com/gpu: }.";
     },
     Severity::kWarning, "pods.pending", "untolerated taint", "operator Exists"},
    {"Refused", [](ClusterFacts& c) { c.not_told = {"GET pods: forbidden"}; }, Severity::kSkipped,
     "api", "GET pods: forbidden", "--kubeconfig"},
    {"TalosWithoutToolkit",
     [](ClusterFacts& c) {
       c.nodes[0].os_image = "Talos (v1.10.4)";
       c.nodes[0].labels["extensions.talos.dev/nonfree-kmod-nvidia-production"] = "535-v1.10.4";
     },
     Severity::kError, "talos.toolkit", "node worker-1: no Talos extension",
     "siderolabs/nvidia-container-toolkit-production"},
};

INSTANTIATE_TEST_SUITE_P(Cluster, WrongInCluster, testing::ValuesIn(kCases),
                         [](const auto& each) { return each.param.name; });

TEST(Cluster, WhoseDaemonSetSelectsNothingIsToldOnceAndForEachGpuNode) {
  ClusterFacts cluster = healthy();
  cluster.plugins[0].selector = {{"gpu", "In", {"yes"}}};
  const Findings found = bad(examine_cluster(cluster));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].check, "plugin.selector");
  EXPECT_THAT(found[0].what, HasSubstr("selects no node: it asks for gpu=yes"));
  EXPECT_EQ(found[1].check, "node.selector");
}

TEST(Cluster, WithoutAnyTraceOfAGpuSaysSo) {
  ClusterFacts cluster = healthy();
  cluster.nodes.erase(cluster.nodes.begin());
  const Findings found = bad(examine_cluster(cluster));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1].check, "nodes");
}

TEST(Cluster, NamesFiveWaitingPodsAndCountsTheRest) {
  ClusterFacts cluster = healthy();
  cluster.gpu_pods->at(0).unscheduled = "Insufficient nvidia.com/gpu";
  cluster.gpu_pods->resize(9, cluster.gpu_pods->at(0));
  const Findings found = bad(examine_cluster(cluster));
  ASSERT_EQ(found.size(), 6U);
  EXPECT_EQ(found[5].what, "4 more pods wait for a GPU");
}

TEST(Requirements, HoldAsTheSchedulerSaysTheyDo) {
  const std::map<std::string, std::string> labels = {{"a", "true"}, {"n", "7"}};
  struct Row {
    Requirement requirement;
    bool holds;
  };
  for (const Row& row : {Row{{"a", "In", {"x", "true"}}, true}, Row{{"a", "In", {"x"}}, false},
                         Row{{"b", "In", {"x"}}, false}, Row{{"a", "NotIn", {"true"}}, false},
                         Row{{"b", "NotIn", {"true"}}, true}, Row{{"a", "Exists", {}}, true},
                         Row{{"b", "Exists", {}}, false}, Row{{"b", "DoesNotExist", {}}, true},
                         Row{{"a", "DoesNotExist", {}}, false}, Row{{"n", "Gt", {"6"}}, true},
                         Row{{"n", "Gt", {"7"}}, false}, Row{{"n", "Lt", {"8"}}, true},
                         Row{{"n", "Lt", {"7"}}, false}, Row{{"a", "Gt", {"1"}}, false},
                         Row{{"n", "Gt", {}}, false}, Row{{"a", "Like", {"true"}}, false}}) {
    EXPECT_EQ(holds(row.requirement, labels), row.holds)
        << row.requirement.key << ' ' << row.requirement.op;
  }
}

TEST(Selection, NeedsTheSelectorAndOneTermOfTheAffinity) {
  DaemonSetObject set;
  NodeObject node;
  node.name = "n";
  node.labels = {{"a", "1"}};
  EXPECT_TRUE(selects(set, node));
  set.affinity = {{{"a", "In", {"2"}}}, {{"b", "Exists", {}}}};
  EXPECT_FALSE(selects(set, node));
  node.labels["b"] = "";
  EXPECT_TRUE(selects(set, node));
  set.selector = {{"c", "In", {"1"}}};
  EXPECT_FALSE(selects(set, node));
  EXPECT_EQ(asks_for(set), "c=1 and (a=2, or b is set)");
  set.selector.clear();
  set.affinity = {{}};
  EXPECT_FALSE(selects(set, node));
  set.affinity = {{{"metadata.name", "In", {"n"}}}};
  EXPECT_TRUE(selects(set, node));
}

TEST(Taints, RepelUnlessTolerated) {
  NodeObject node;
  struct Row {
    Taint taint;
    Toleration toleration;
    bool repels;
  };
  for (const Row& row :
       {Row{{"k", "v", "NoSchedule"}, {"k", "Equal", "v", "NoSchedule"}, false},
        Row{{"k", "v", "NoSchedule"}, {"k", "", "v", ""}, false},
        Row{{"k", "v", "NoSchedule"}, {"k", "Equal", "w", ""}, true},
        Row{{"k", "v", "NoExecute"}, {"k", "Exists", "", "NoSchedule"}, true},
        Row{{"k", "v", "NoExecute"}, {"", "Exists", "", ""}, false},
        Row{{"k", "v", "PreferNoSchedule"}, {"x", "Exists", "", ""}, false},
        Row{{"node.kubernetes.io/not-ready", "", "NoExecute"}, {"x", "Exists", "", ""}, false}}) {
    DaemonSetObject set;
    set.tolerations = {row.toleration};
    node.taints = {row.taint};
    EXPECT_EQ(!repelled_by(set, node).empty(), row.repels)
        << to_string(row.taint) << " with " << row.toleration.key << ' ' << row.toleration.op;
  }
}

}  // namespace
}  // namespace kerf::doctor
