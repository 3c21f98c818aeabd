// A node's trees, made for the test.
#include "doctor/look.h"

#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::doctor {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Optional;

class Tree : public testing::Test {
 protected:
  Tree() {
    std::string pattern = (fs::temp_directory_path() / "doctor-XXXXXX").string();
    top_ = mkdtemp(pattern.data());
    roots_ = Roots::below(top_.string());
  }
  ~Tree() override { fs::remove_all(top_); }

  void write(const fs::path& path, std::string_view content) {
    fs::create_directories((top_ / path).parent_path());
    std::ofstream(top_ / path) << content;
  }
  void listen(const fs::path& path) {
    fs::create_directories((top_ / path).parent_path());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = (top_ / path).string();
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    sockets_.emplace_back(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(sockets_.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
              0);
  }
  NodeFacts look() { return look_at_node(roots_, (top_ / "plugins").string()); }

  fs::path top_;
  Roots roots_;
  std::vector<Fd> sockets_;
};

TEST_F(Tree, OfANodeIsRead) {
  write("proc/modules", "nvidia_uvm 1 0 - Live 0x0\nnvidia 2 1 nvidia_uvm, Live 0x0\n");
  write("dev/nvidia0", "");
  write("dev/nvidia12", "");
  write("dev/nvidiactl", "");
  write("dev/nvidia-uvm", "");
  listen("plugins/kubelet.sock");
  listen("plugins/nvidia-gpu.sock");
  write("plugins/nvidia-file", "");
  const NodeFacts node = look();
  EXPECT_THAT(node.modules, Optional(ElementsAre("nvidia_uvm", "nvidia")));
  EXPECT_EQ(node.gpu_nodes, 2U);
  EXPECT_THAT(node.control_nodes, ElementsAre("nvidiactl", "nvidia-uvm"));
  EXPECT_TRUE(node.plugin_directory_there);
  EXPECT_TRUE(node.kubelet_socket_there);
  EXPECT_THAT(node.plugin_sockets, ElementsAre("nvidia-gpu.sock"));
  EXPECT_FALSE(node.talos);
  EXPECT_FALSE(node.extensions);
}

TEST_F(Tree, ThatIsEmptyGivesWhatIsMissing) {
  const NodeFacts node = look();
  EXPECT_FALSE(node.modules);
  EXPECT_NE(node.modules_problem, "");
  EXPECT_FALSE(node.plugin_directory_there);
  EXPECT_EQ(node.plugin_directory_problem, "");
}

TEST_F(Tree, OfTalosIsKnownByItsReleaseItsKernelOrItsExtensions) {
  write("etc/os-release", "NAME=\"Talos\"\nID=talos\n");
  EXPECT_TRUE(look().talos);
  fs::remove(top_ / "etc/os-release");
  EXPECT_FALSE(look().talos);
  write("proc/version", "Linux version 6.12.31-talos (@buildkitsandbox) #1 SMP\n");
  EXPECT_TRUE(look().talos);
  fs::remove(top_ / "proc/version");
  write("etc/extensions.yaml", "layers:\n  - image: a\n    metadata:\n      name: i915\n");
  EXPECT_TRUE(look().talos);
  EXPECT_THAT(look().extensions, Optional(ElementsAre("i915")));
}

}  // namespace
}  // namespace kerf::doctor
