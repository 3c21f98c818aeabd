#include <filesystem>
#include <fstream>

#include "host/driver_files.h"
#include "host/pci.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::host {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

// A host's trees in a directory of the test's own.
class Tree : public testing::Test {
 protected:
  Tree() {
    std::string pattern = (fs::temp_directory_path() / "kerf-host-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    roots_ = Roots::below(directory_.string());
  }
  ~Tree() override { fs::remove_all(directory_); }

  void write(const fs::path& path, std::string_view content) {
    fs::create_directories((directory_ / path).parent_path());
    std::ofstream(directory_ / path) << content;
  }
  void device(const std::string& id, std::string_view vendor, std::string_view device_class) {
    write("sys/bus/pci/devices/" + id + "/vendor", vendor);
    write("sys/bus/pci/devices/" + id + "/class", device_class);
    write("sys/bus/pci/devices/" + id + "/device", "0x2204\n");
  }

  fs::path directory_;
  Roots roots_;
};

TEST_F(Tree, ListsNvidiaDisplayDevicesInBusOrder) {
  device("0000:02:00.0", "0x10de\n", "0x030200\n");
  device("0000:01:00.0", "0x10de\n", "0x030000\n");
  device("0000:01:00.1", "0x10de\n", "0x040300\n");  // the board's audio function
  device("0000:05:00.0", "0x10de\n", "0x068000\n");  // an NVSwitch
  device("0000:03:00.0", "0x1002\n", "0x030000\n");
  device("0000:04:00.0", "garbage\n", "0x030000\n");
  write("sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
  write("sys/bus/pci/drivers/vfio-pci/x", "");
  fs::create_directory_symlink("../../drivers/vfio-pci",
                               directory_ / "sys/bus/pci/devices/0000:01:00.0/driver");

  auto gpus = pci_gpus(roots_);

  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0].bus_id, "0000:01:00.0");
  EXPECT_EQ(gpus[0].driver, "vfio-pci");
  EXPECT_EQ(gpus[0].numa_node, 1);
  EXPECT_EQ(gpus[0].device_id, 0x2204);
  EXPECT_EQ(gpus[0].class_code, 0x030000U);
  EXPECT_EQ(gpus[1].bus_id, "0000:02:00.0");
  EXPECT_EQ(gpus[1].driver, "");
  EXPECT_EQ(gpus[1].numa_node, std::nullopt);
}

TEST_F(Tree, HasNoGpusWithoutAPciBus) { EXPECT_THAT(pci_gpus(roots_), IsEmpty()); }

TEST_F(Tree, ReadsNumaNodesAndCallsNonNumbersCorrupt) {
  struct Case {
    std::string_view content;
    std::optional<int> node;
    bool good;
  };
  for (const Case& c : {Case{"0\n", 0, true},
                        {"7\n", 7, true},
                        {"-1\n", std::nullopt, true},
                        {"one\n", std::nullopt, false},
                        {"", std::nullopt, false},
                        {"1 2\n", std::nullopt, false},
                        {"99999999999\n", std::nullopt, false}}) {
    write("sys/bus/pci/devices/0000:01:00.0/numa_node", c.content);
    auto node = numa_node(roots_, "0000:01:00.0");
    ASSERT_EQ(node.has_value(), c.good) << c.content;
    if (c.good) {
      EXPECT_EQ(*node, c.node) << c.content;
    } else {
      EXPECT_EQ(node.error().kind, Kind::kCorrupt) << c.content;
    }
  }
  auto missing = numa_node(roots_, "0000:09:00.0");
  ASSERT_TRUE(missing.has_value());
  EXPECT_EQ(*missing, std::nullopt);
}

TEST_F(Tree, NamesTheControlNodesThatExistInTheirFixedOrder) {
  EXPECT_THAT(control_nodes(roots_), IsEmpty());
  write("dev/nvidia-modeset", "");
  write("dev/nvidiactl", "");
  write("dev/nvidia-uvm", "");
  EXPECT_THAT(control_nodes(roots_), ElementsAre("nvidiactl", "nvidia-uvm", "nvidia-modeset"));
}

TEST_F(Tree, ReadsMigMinorsAndSkipsBadLines) {
  write("proc/driver/nvidia-caps/mig-minors",
        "config 1\nmonitor 2\ngpu0/gi1/access 12\ngpu0/gi1/ci0/access 13\n"
        "gpu7/gi11/ci3/access 4095\n"
        "gpu0/gi2/access\ngpu0/gi2/access many\ngpux/gi2/access 7\ngpu0/gi2/cix/access 7\n"
        "gpu0/gi2/ci0 7\ngpu0/gi2/ci0/access/more 7\n\n \ngpu0/gi2/access 99999999999\n");

  MigMinors minors = mig_minors(roots_);

  EXPECT_EQ(minors.size(), 3U);
  EXPECT_EQ(minors.config(), 1U);
  EXPECT_EQ(minors.monitor(), 2U);
  EXPECT_EQ(minors.gpu_instance(0, 1), 12U);
  EXPECT_EQ(minors.compute_instance(0, 1, 0), 13U);
  EXPECT_EQ(minors.compute_instance(7, 11, 3), 4095U);
  EXPECT_EQ(minors.gpu_instance(0, 2), std::nullopt);
  EXPECT_EQ(minors.compute_instance(0, 1, 1), std::nullopt);
}

TEST_F(Tree, HasNoMigMinorsWithoutTheFile) { EXPECT_EQ(mig_minors(roots_).size(), 0U); }

TEST_F(Tree, TellsWhichDriverModulesAreLoaded) {
  write("proc/modules",
        "nvidia_uvm 1519616 0 - Live 0x0000000000000000 (POE)\n"
        "nvidia 56823808 2 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (POE)\n"
        "ext4 999424 1 - Live 0x0000000000000000\n"
        "broken line\nalso x y z w\n");

  auto modules = driver_modules(roots_);

  ASSERT_TRUE(modules.has_value()) << modules.error().text();
  ASSERT_EQ(modules->size(), 4U);
  ASSERT_TRUE((*modules)[0].loaded.has_value());
  EXPECT_EQ((*modules)[0].loaded->size_bytes, 56823808U);
  EXPECT_EQ((*modules)[0].loaded->users, 2U);
  EXPECT_THAT((*modules)[0].loaded->used_by, ElementsAre("nvidia_uvm", "nvidia_modeset"));
  EXPECT_TRUE((*modules)[1].loaded.has_value());
  EXPECT_FALSE((*modules)[2].loaded.has_value());
  EXPECT_EQ((*modules)[3].name, "nvidia_drm");
  EXPECT_EQ(loaded_modules(roots_)->size(), 3U);
}

TEST_F(Tree, SaysWhichFileIsMissingWhenThereAreNoModules) {
  auto modules = loaded_modules(roots_);
  ASSERT_FALSE(modules.has_value());
  EXPECT_EQ(modules.error().kind, Kind::kNotFound);
  EXPECT_EQ(modules.error().subject, (directory_ / "proc/modules").string());
}

}  // namespace
}  // namespace kerf::host
