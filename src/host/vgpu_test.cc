#include "host/vgpu.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::host {
namespace {

namespace fs = std::filesystem;

std::string padded(std::string text, std::size_t size) {
  text.resize(size, '\0');
  return text;
}

// A configuration space with a power-management capability at 0x60 and, behind it, `capability`.
std::string config_space(const std::string& capability) {
  std::string bytes(256, '\0');
  bytes[0x06] = 0x10;
  bytes[0x34] = 0x60;
  bytes[0x60] = 0x01;
  bytes[0x61] = static_cast<char>(0x80);
  bytes.replace(0x80, capability.size(), capability);
  return bytes;
}

std::string vendor_capability(char length, const std::string& records) {
  return std::string("\x09\x00", 2) + length + "VF" + records;
}

std::string host_driver() {
  return std::string("\x00\x16", 2) + padded("460.16", 10) + padded("r460_00", 10);
}

TEST(Vgpu, IsKnownByItsVendorCapability) {
  std::optional<Vgpu> vgpu = parse_vgpu(config_space(vendor_capability(27, host_driver())));
  ASSERT_TRUE(vgpu.has_value());
  EXPECT_EQ(vgpu->host_driver_version, "460.16");
  EXPECT_EQ(vgpu->host_driver_branch, "r460_00");
}

TEST(Vgpu, IsFoundBehindOtherRecords) {
  std::string records = std::string("\x07\x04\x01\x02", 4) + host_driver();
  std::optional<Vgpu> vgpu = parse_vgpu(config_space(vendor_capability(31, records)));
  ASSERT_TRUE(vgpu.has_value());
  EXPECT_EQ(vgpu->host_driver_version, "460.16");
}

TEST(Vgpu, MayBeSilentAboutItsHost) {
  std::optional<Vgpu> vgpu = parse_vgpu(config_space(vendor_capability(5, "")));
  ASSERT_TRUE(vgpu.has_value());
  EXPECT_EQ(vgpu->host_driver_version, "");
}

TEST(Vgpu, IsNoneOfTheseAndNoneOfThemIsReadPastItsEnd) {
  std::string passthrough = std::string("\x09\x00\x14", 3) + std::string(17, 'x');
  std::string no_list = config_space(vendor_capability(27, host_driver()));
  no_list[0x06] = 0;
  std::string circle = config_space("");
  circle[0x61] = 0x60;
  std::string at_the_end = config_space("");
  at_the_end[0x61] = static_cast<char>(0xff);
  at_the_end[0xff] = 0x09;
  for (const std::string& bytes :
       {config_space(passthrough), no_list, circle, at_the_end, config_space(""), std::string(),
        std::string(64, '\x10'), config_space(std::string("\x09\x00\x02", 3))}) {
    EXPECT_FALSE(parse_vgpu(bytes).has_value());
  }
  std::string endless = config_space(vendor_capability('\x7f', std::string(80, '\0')));
  EXPECT_EQ(parse_vgpu(endless), Vgpu());
  EXPECT_TRUE(parse_vgpu(std::string(256, '\xff')) == std::nullopt);
}

class VgpuTree : public testing::Test {
 protected:
  VgpuTree() {
    std::string pattern = (fs::temp_directory_path() / "kerf-vgpu-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~VgpuTree() override { fs::remove_all(directory_); }

  void device(const std::string& id, std::string_view vendor, std::string_view config) {
    fs::path device = directory_ / "sys/bus/pci/devices" / id;
    fs::create_directories(device);
    std::ofstream(device / "vendor") << vendor;
    std::ofstream(device / "config") << config;
  }
  Result<std::vector<Vgpu>> found() { return vgpus(Roots::below(directory_.string())); }

  fs::path directory_;
};

TEST_F(VgpuTree, IsSearchedForNvidiasDevices) {
  std::string space = config_space(vendor_capability(27, host_driver()));
  EXPECT_THAT(found().value(), testing::IsEmpty());
  device("0000:01:00.0", "0x10de\n", space);
  device("0000:00:05.0", "0x10de\n", space);
  device("0000:02:00.0", "0x10de\n", config_space(""));
  device("0000:03:00.0", "0x8086\n", "short");
  EXPECT_THAT(found().value(), testing::ElementsAre(Vgpu{"0000:00:05.0", "460.16", "r460_00"},
                                                    Vgpu{"0000:01:00.0", "460.16", "r460_00"}));
}

TEST_F(VgpuTree, SaysNothingWhenTheKernelHidesPartOfIt) {
  device("0000:01:00.0", "0x10de\n", std::string(64, '\0'));
  ASSERT_FALSE(found().has_value());
  EXPECT_EQ(found().error().kind, Kind::kDenied);
  EXPECT_NE(found().error().hint, "");
}

}  // namespace
}  // namespace kerf::host
