#include "pods/cgroup.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace kerf::pods {
namespace {

const std::string kUid = "1c8d4c1e-8f3b-4c0e-9a67-0d2f5b6a7c81";
const std::string kUnder = "1c8d4c1e_8f3b_4c0e_9a67_0d2f5b6a7c81";
const std::string kId(64, 'a');
const std::string kOther(64, 'b');

std::string show(const std::optional<Membership>& m) {
  return m ? "pod " + m->pod_uid + " container " + m->container : "none";
}

struct Row {
  const char* name;
  std::string text;
  std::optional<Membership> expected;
};

TEST(Cgroups, OfEveryRuntimeAndDriverTellPodAndContainer) {
  const Membership both{kUid, kId};
  const std::vector<Row> table = {
      {"v1, cgroupfs, containerd",
       "12:cpuset:/kubepods/burstable/pod" + kUid + "/" + kId +
           "\n11:memory:/kubepods/burstable/pod" + kUid + "/" + kId +
           "\n1:name=systemd:/kubepods/burstable/pod" + kUid + "/" + kId + "\n",
       both},
      {"v1, guaranteed", "4:memory:/kubepods/pod" + kUid + "/" + kId, both},
      {"v2, cgroupfs", "0::/kubepods/besteffort/pod" + kUid + "/" + kId + "\n", both},
      {"v2, systemd, containerd",
       "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUnder +
           ".slice/cri-containerd-" + kId + ".scope\n",
       both},
      {"v2, systemd, guaranteed",
       "0::/kubepods.slice/kubepods-pod" + kUnder + ".slice/cri-containerd-" + kId + ".scope",
       both},
      {"v2, systemd, CRI-O",
       "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnder +
           ".slice/crio-" + kId + ".scope",
       both},
      {"v2, systemd, CRI-O, container with a manager of its own",
       "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnder +
           ".slice/crio-" + kId + ".scope/container/init.scope",
       both},
      {"v1, systemd, Docker",
       "9:devices:/kubepods.slice/kubepods-pod" + kUnder + ".slice/docker-" + kId + ".scope", both},
      {"cgroupfs, CRI-O", "0::/kubepods/burstable/pod" + kUid + "/crio-" + kId, both},
      {"containerd as a unit, slices by name",
       "5:cpu,cpuacct:/system.slice/containerd.service/kubepods-burstable-pod" + kUnder +
           ".slice:cri-containerd:" + kId,
       both},
      {"kind",
       "0::/docker/" + kOther + "/kubelet.slice/kubelet-kubepods.slice/" +
           "kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + kUnder +
           ".slice/cri-containerd-" + kId + ".scope",
       both},
      {"kind, cgroupfs", "0::/docker/" + kOther + "/kubelet/kubepods/pod" + kUid + "/" + kId, both},
      {"seen from a cgroup namespace",
       "0::/../../kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnder +
           ".slice/cri-containerd-" + kId + ".scope",
       both},
      {"a container beside the reader's", "0::/../cri-containerd-" + kId + ".scope",
       Membership{"", kId}},
      {"static pod", "0::/kubepods/burstable/pod0123456789abcdef0123456789abcdef/" + kId,
       Membership{"0123456789abcdef0123456789abcdef", kId}},
      {"hybrid: the pod is on a later line",
       "12:pids:/user.slice\n11:memory:/kubepods/pod" + kUid + "/" + kId + "\n0::/\n", both},
      {"pod's own group", "0::/kubepods/pod" + kUid, Membership{kUid, ""}},
      {"the runtime's watcher",
       "0::/kubepods.slice/kubepods-pod" + kUnder + ".slice/crio-conmon-" + kId + ".scope",
       Membership{kUid, ""}},
      {"containers in a container", "0::/kubepods/pod" + kUid + "/" + kId + "/docker/" + kOther,
       both},
  };
  for (const Row& row : table) {
    EXPECT_EQ(show(parse_cgroup(row.text)), show(row.expected)) << row.name;
  }
}

TEST(Cgroups, OutsideOfPodsTellNothing) {
  const std::vector<std::string> table = {
      "",
      "0::/",
      "0::/init.scope\n",
      "0::/user.slice/user-1000.slice/session-3.scope\n",
      "0::/system.slice/containerd.service\n",
      "0::/docker/" + kId,
      "0::/system.slice/docker-" + kId + ".scope",
      "0::/../../system.slice/ssh.service",
  };
  for (const std::string& text : table) EXPECT_EQ(show(parse_cgroup(text)), "none") << text;
}

TEST(Cgroups, OfHostileContainersStayTheirOwn) {
  const std::string victim = "99999999-9999-4999-9999-999999999999";
  EXPECT_EQ(show(parse_cgroup("0::/kubepods/pod" + kUid + "/" + kId + "/kubepods/pod" + victim +
                              "/" + kOther)),
            show(Membership{kUid, kId}))
      << "groups below a container are its own to name";
  EXPECT_EQ(show(parse_cgroup("0::/kubepods/pod" + kUid + "/" + kId + ":x:/kubepods/pod" + victim)),
            show(Membership{kUid, ""}))
      << "no container of ours has such a name";
}

TEST(Cgroups, ThatAreGarbageTellNothing) {
  std::vector<std::string> table = {
      "garbage",
      "::",
      "0:",
      "0::kubepods",
      "0::/kubepods/pod",
      "0::/kubepods/pod1234",
      "0::/kubepods/pod" + kUid.substr(1) + "G/" + kId,
      "0::/kubepods/podAAAAAAAA-8f3b-4c0e-9a67-0d2f5b6a7c81/" + kId,
      "0::/kubepods-pod" + kUid + ".slicex/" + kId,
      "0::/nothing-pod" + kUnder + ".slice/" + kId,
      std::string("0::/kubepods/pod\0x/", 20),
      std::string(100'000, '/'),
      "0::/kubepods/pod" + std::string(70'000, 'a'),
  };
  for (const std::string& text : table) EXPECT_EQ(show(parse_cgroup(text)), "none");
}

}  // namespace
}  // namespace kerf::pods
