// Tests of the algebra of container edits.
#include "edits/edits.h"

#include "edits/nvidia.h"

namespace kerf::edits {
namespace {

TEST(Edits, EmptyEditsChangeNothingOnEitherSide) {
  Edits some = env("A", "1") + mount("/h", "/c", true) + device_node("/h/d", "/d", "rwm") +
               annotation("k", "v") + cdi_device("vendor/class=x");
  EXPECT_EQ(some + Edits{}, some);
  EXPECT_EQ(Edits{} + some, some);
}

TEST(Edits, MergingTheSameTwiceIsMergingItOnce) {
  Edits some = env("A", "1") + mount("/h", "/c") + device_node("/h/d", "/d") +
               annotation("k", "v") + cdi_device("vendor/class=x");
  EXPECT_EQ(some + some, some);
}

TEST(Edits, OrderOfFirstAppearanceIsKept) {
  Edits edits = device_node("/h/b", "/b") + device_node("/h/a", "/a") + device_node("/h/b", "/b");
  EXPECT_EQ(edits.devices, (std::vector<DeviceNode>{{"/h/b", "/b", "rw"}, {"/h/a", "/a", "rw"}}));
}

TEST(Edits, LaterEditsWinInThePlaceOfTheEarlier) {
  Edits edits = env("A", "1") + env("A", "2");
  EXPECT_EQ(edits.envs.at("A"), "2");
  edits = mount("/old", "/c") + mount("/x", "/y") + mount("/new", "/c");
  EXPECT_EQ(edits.mounts, (std::vector<Mount>{{"/new", "/c", false}, {"/x", "/y", false}}));
}

TEST(Edits, MergingIsAssociative) {
  Edits a = mount("/1", "/c") + env("A", "1"), b = mount("/2", "/c"), c = mount("/3", "/d");
  EXPECT_EQ((a + b) + c, a + (b + c));
}

TEST(Edits, PathsAreJoinedWithoutDoubledSlashes) {
  EXPECT_EQ(below("/", "/dev/x"), "/dev/x");
  EXPECT_EQ(below("", "/dev/x"), "/dev/x");
  EXPECT_EQ(below("/run/nvidia/driver", "/dev/x"), "/run/nvidia/driver/dev/x");
  EXPECT_EQ(below("/run/nvidia/driver/", "dev/x"), "/run/nvidia/driver/dev/x");
}

TEST(NvidiaEdits, NodesLieUnderTheDeviceRootOnTheHostOnly) {
  EXPECT_EQ(gpu_node("/run/nvidia/driver", 3).devices,
            (std::vector<DeviceNode>{{"/run/nvidia/driver/dev/nvidia3", "/dev/nvidia3", "rw"}}));
  EXPECT_EQ(capability_node("/", 31).devices.front().container_path,
            "/dev/nvidia-caps/nvidia-cap31");
  EXPECT_EQ(imex_channel_node("/", 0).devices.front().host_path,
            "/dev/nvidia-caps-imex-channels/channel0");
}

TEST(NvidiaEdits, DevicesAreNamedByMountsInOneFolder) {
  EXPECT_EQ(visible_device_mount("GPU-a").mounts,
            (std::vector<Mount>{{"/dev/null", "/var/run/nvidia-container-devices/GPU-a", false}}));
  EXPECT_EQ(imex_channel_mount(0).mounts.front().container_path,
            "/var/run/nvidia-container-devices/imex/0");
}

}  // namespace
}  // namespace kerf::edits
