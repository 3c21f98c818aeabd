// The hook's parts that need no container: its command line, the runtime's state, what loaders are
// told, and resolving inside a root. tests/hook runs the program in containers.
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "hook/app_profile.h"
#include "hook/arguments.h"
#include "hook/container_root.h"
#include "hook/driver_params.h"
#include "hook/loader.h"
#include "hook/sandbox.h"
#include "hook/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::hook {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Words = std::vector<std::string>;

TEST(Arguments, AreNvidiasOfEachHook) {
  struct Row {
    Words words;
    Arguments wanted;
  };
  auto made = [](Task task, const char* word, auto&& fill) {
    Arguments arguments;
    arguments.task = task;
    arguments.word = word;
    fill(arguments);
    return arguments;
  };
  for (const Row& row : {
           Row{{"hook", "create-symlinks", "--link", "a.1::/usr/lib/a", "--link=../b::/c/d"},
               made(Task::kCreateSymlinks, "create-symlinks",
                    [](Arguments& a) { a.links = {{"a.1", "/usr/lib/a"}, {"../b", "/c/d"}}; })},
           Row{{"update-ldcache", "--ldconfig-path", "@/sbin/ldconfig", "--folder", "/a"},
               made(Task::kUpdateLdcache, "update-ldcache",
                    [](Arguments& a) {
                      a.ldconfig = "/sbin/ldconfig";
                      a.folders = {"/a"};
                    })},
           Row{{"enable-cuda-compat", "--host-driver-version=580.1", "--host-cuda-version=13.0",
                "--cuda-compat-container-root", "/compat"},
               made(Task::kEnableCudaCompat, "enable-cuda-compat",
                    [](Arguments& a) {
                      a.driver_version = "580.1";
                      a.compat_root = "/compat";
                    })},
           Row{{"chmod", "--mode", "755", "--path", "/dev/dri", "--path=/x"},
               made(Task::kChmod, "chmod",
                    [](Arguments& a) {
                      a.mode = 0755;
                      a.paths = {"/dev/dri", "/x"};
                    })},
           Row{{"disable-device-node-modification", "--container-spec=/s"},
               made(Task::kDisableDeviceNodeModification, "disable-device-node-modification",
                    [](Arguments& a) { a.state = "/s"; })},
           Row{{"update-application-profile"},
               made(Task::kUpdateApplicationProfile, "update-application-profile",
                    [](Arguments&) {})},
           Row{{"later-hook", "--of=another", "release"},
               made(Task::kUnknown, "later-hook", [](Arguments&) {})},
       }) {
    auto arguments = parse_arguments(row.words);
    ASSERT_TRUE(arguments) << arguments.error().text();
    EXPECT_EQ(*arguments, row.wanted) << row.wanted.word;
  }
}

TEST(ApplicationProfile, CountsTheNodesOfGpusAlone) {
  for (const char* node : {"nvidia0", "nvidia12"}) EXPECT_TRUE(is_gpu_node(node)) << node;
  for (const char* other : {"nvidia", "nvidiactl", "nvidia-uvm", "nvidia0x", "xnvidia0", "null"}) {
    EXPECT_FALSE(is_gpu_node(other)) << other;
  }
}

TEST(ApplicationProfile, NamesGpusByTheBitsOfAMask) {
  EXPECT_EQ(profile_of(1U << 1U | 1U << 4U),
            R"({"profiles":[{"name":"_container_","settings":["EGLVisibleDGPUDevices",0x12]}],)"
            R"("rules":[{"pattern":[],"profile":"_container_"}]})");
}

TEST(Arguments, MistakesAreNamed) {
  struct Row {
    Words words;
    const char* said;
  };
  for (const Row& row : {
           Row{{}, "no hook is named"},
           Row{{"hook"}, "no hook is named"},
           Row{{"create-symlinks", "--link"}, "an option without a value: --link"},
           Row{{"create-symlinks", "--link", "::/a"}, "target::path"},
           Row{{"create-symlinks", "--link", "a::b"}, "an absolute path"},
           Row{{"create-symlinks", "--folder", "/a"}, "no option of create-symlinks: --folder"},
           Row{{"update-ldcache", "--folder", "a"}, "an absolute path"},
           Row{{"update-ldcache", "--folder", "/a\n/b"}, "an absolute path"},
           Row{{"enable-cuda-compat"}, "--host-driver-version"},
           Row{{"chmod", "--mode=u+x"}, "octal"},
           Row{{"chmod", "--mode=77777"}, "octal"},
           Row{{"chmod", "--path=/a"}, "says no mode"},
       }) {
    auto arguments = parse_arguments(row.words);
    ASSERT_FALSE(arguments) << row.said;
    EXPECT_THAT(arguments.error().text(), HasSubstr(row.said));
  }
}

TEST(State, LeadsToTheRoot) {
  EXPECT_EQ(bundle_of(R"({"ociVersion": "1.0.2", "id": "x", "pid": 1, "bundle": "/run/b"})"),
            "/run/b");
  EXPECT_EQ(root_of(R"({"root": {"path": "rootfs"}})", "/run/b"), "/run/b/rootfs");
  EXPECT_EQ(root_of(R"({"root": {"path": "/var/r"}})", "/run/b"), "/var/r");
  for (const char* text : {"", "{", "[]", "{}", R"({"bundle": ""})", R"({"bundle": []})"}) {
    EXPECT_FALSE(bundle_of(text)) << text;
    EXPECT_FALSE(root_of(text, "/b")) << text;
  }
}

TEST(Loader, ConfigurationIncludesTheDirectoryOnce) {
  const std::string line = "include /etc/ld.so.conf.d/*.conf\n";
  EXPECT_EQ(with_include(""), line);
  EXPECT_EQ(with_include("/opt/a\n# include /etc/ld.so.conf.d/*.conf\n"),
            line + "/opt/a\n# include /etc/ld.so.conf.d/*.conf\n");
  for (const char* text :
       {"include ld.so.conf.d/*.conf\n", "/a\n include\t/etc/ld.so.conf.d/*.conf",
        "include /x/*.conf /etc/ld.so.conf.d/*.conf\r\n"}) {
    EXPECT_EQ(with_include(text), std::nullopt) << text;
  }
}

TEST(Loader, MuslsPathGainsTheFoldersThatItLacks) {
  EXPECT_EQ(with_folders("", {"/a"}), "/lib:/usr/local/lib:/usr/lib:/a\n");
  EXPECT_EQ(with_folders("/lib\n/b\n", {"/b", "/c"}), "/lib\n/b:/c\n");
  EXPECT_EQ(with_folders("/lib:/a", {"/a", "/lib"}), std::nullopt);
}

TEST(Loader, OnlyANewerMajorVersionServes) {
  EXPECT_TRUE(newer_major("590.1.2", "580.126.09"));
  EXPECT_FALSE(newer_major("580.200.1", "580.126.09"));
  EXPECT_FALSE(newer_major("550.54.14", "580.126.09"));
  EXPECT_FALSE(newer_major("x.1", "580"));
  EXPECT_FALSE(newer_major("590.1", ""));
}

TEST(DriverParameters, LoseTheSwitchAndNothingElse) {
  EXPECT_EQ(without_device_changes("A: 1\nModifyDeviceFiles: 1\nB: 2\n"),
            "A: 1\nModifyDeviceFiles: 0\nB: 2\n");
  EXPECT_EQ(without_device_changes("ModifyDeviceFiles: 0\n"), std::nullopt);
  EXPECT_EQ(without_device_changes("XModifyDeviceFiles: 1\n"), std::nullopt);
  EXPECT_EQ(without_device_changes(""), std::nullopt);
}

TEST(StaysInside, CountsTheStepsUp) {
  EXPECT_TRUE(stays_inside("b", "/usr/lib/a"));
  EXPECT_TRUE(stays_inside("../../b", "/usr/lib/a"));
  EXPECT_FALSE(stays_inside("../../../b", "/usr/lib/a"));
  EXPECT_TRUE(stays_inside("/etc/b", "/a"));
  EXPECT_FALSE(stays_inside("/etc/../../b", "/usr/lib/a"));
  EXPECT_FALSE(stays_inside("b/../../../../c/d/e/f", "/usr/lib/a"));
}

class InRoot : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "hookXXXXXX";
    base_ = mkdtemp(name.data());
    fs::create_directories(base_ / "root/usr/lib");
    fs::create_directories(base_ / "outside");
    write("outside/precious", "as it was");
  }
  void TearDown() override {
    EXPECT_EQ(text("outside/precious"), "as it was");
    EXPECT_EQ(std::distance(fs::directory_iterator(base_ / "outside"), {}), 1);
    fs::remove_all(base_);
  }

  void write(const std::string& path, const std::string& content) const {
    fs::create_directories((base_ / path).parent_path());
    std::ofstream(base_ / path) << content;
  }
  std::string text(const std::string& path) const {
    std::ifstream file(base_ / path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  ContainerRoot root() const { return *ContainerRoot::open(base_ / "root"); }

  fs::path base_;
};

TEST_F(InRoot, FilesAreMadeAtOnceAndOnlyWhenTheyDiffer) {
  const ContainerRoot container = root();
  EXPECT_EQ(container.put("/etc/ld.so.conf.d/x.conf", "/a\n", 0644), true);
  EXPECT_EQ(text("root/etc/ld.so.conf.d/x.conf"), "/a\n");
  EXPECT_EQ(container.put("/etc/ld.so.conf.d/x.conf", "/a\n", 0644), false);
  EXPECT_THAT(container.names("/etc/ld.so.conf.d"), ElementsAre("x.conf"));
  EXPECT_THAT(container.names("/nothing"), IsEmpty());
  EXPECT_EQ(*container.read("/etc/ld.so.conf.d/x.conf"), "/a\n");
  EXPECT_EQ(container.read("/nothing").error().kind, Kind::kNotFound);
  EXPECT_EQ(container.read("/etc").error().kind, Kind::kInvalid);
}

TEST_F(InRoot, LinksOfAnImageLeadToTheImage) {
  const fs::path outside = base_ / "outside";
  fs::create_symlink(outside, base_ / "root/etc");
  fs::create_symlink("../../../../../../../" + outside.string(), base_ / "root/up");
  const ContainerRoot container = root();
  // The link's target does not exist in the image: there is nothing to write below.
  EXPECT_FALSE(container.put("/etc/x", "a", 0644));
  EXPECT_FALSE(container.link("precious", "/up/libcuda.so", Reach::kAnyMount));
  EXPECT_FALSE(container.has("/etc/precious"));
  // It does now, inside.
  fs::create_directories(fs::path((base_ / "root").string() + outside.string()));
  EXPECT_EQ(container.put("/etc/precious", "theirs", 0644), true);
  EXPECT_EQ(text("root" + outside.string() + "/precious"), "theirs");
}

TEST_F(InRoot, AFileThatIsALinkIsReplacedNotFollowed) {
  fs::create_directories(base_ / "root/etc");
  fs::create_symlink(base_ / "outside/precious", base_ / "root/etc/ld.so.conf");
  EXPECT_EQ(root().put("/etc/ld.so.conf", "/a\n", 0644), true);
  EXPECT_FALSE(fs::is_symlink(base_ / "root/etc/ld.so.conf"));
}

TEST_F(InRoot, AccountsForPipesInsteadOfWaitingForThem) {
  ASSERT_EQ(mkfifo((base_ / "root/pipe").c_str(), 0600), 0);
  EXPECT_EQ(root().read("/pipe").error().kind, Kind::kInvalid);
}

TEST_F(InRoot, SymbolicLinksAreMadeWithTheirFoldersAndReplaceWhatIsThere) {
  const ContainerRoot container = root();
  auto link = [&](const char* target, const char* path) {
    return container.link(target, path, Reach::kThisMount);
  };
  EXPECT_EQ(link("libcuda.so.1", "/usr/lib/libcuda.so"), true);
  EXPECT_EQ(link("libcuda.so.1", "/usr/lib/libcuda.so"), false);
  EXPECT_EQ(link("libcuda.so.2", "/usr/lib/libcuda.so"), true);
  EXPECT_EQ(fs::read_symlink(base_ / "root/usr/lib/libcuda.so"), "libcuda.so.2");
  EXPECT_EQ(link("../a", "/usr/lib/gbm/b.so"), true);
  EXPECT_TRUE(fs::is_directory(base_ / "root/usr/lib/gbm"));
  write("root/usr/lib/file", "x");
  fs::create_directories(base_ / "root/usr/lib/empty");
  write("root/usr/lib/full/x", "x");
  EXPECT_EQ(link("a", "/usr/lib/file"), true);
  EXPECT_EQ(link("a", "/usr/lib/empty"), true);
  EXPECT_FALSE(link("a", "/usr/lib/full"));
  EXPECT_FALSE(link("../../../a", "/usr/lib/b"));
  EXPECT_FALSE(link("a", "/"));
  EXPECT_FALSE(link("a", "/usr/.."));
  for (const auto& entry : fs::directory_iterator(base_ / "root/usr/lib")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".kerf-")) << entry;
  }
}

TEST_F(InRoot, ModesAreSetOnWhatIsThere) {
  write("root/x", "");
  chmod((base_ / "root/x").c_str(), 0600);
  EXPECT_EQ(root().set_mode("/x", 0644), true);
  EXPECT_EQ(root().set_mode("/x", 0644), false);
  EXPECT_EQ(root().set_mode("/y", 0644).error().kind, Kind::kNotFound);
  fs::create_symlink(base_ / "outside/precious", base_ / "root/out");
  EXPECT_FALSE(root().set_mode("/out", 0777));
}

TEST_F(InRoot, OnlyStaticProgramsAreCopied) {
  write("script", "#!/bin/sh\n");
  write("short",
        "\x7f"
        "ELF");
  write("empty", "");
  for (const char* name : {"script", "short", "empty"}) {
    EXPECT_EQ(copy_static_program(base_ / name).error().kind, Kind::kInvalid) << name;
  }
  EXPECT_EQ(copy_static_program(base_ / "none").error().kind, Kind::kNotFound);
}

}  // namespace
}  // namespace kerf::hook
