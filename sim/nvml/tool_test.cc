// The tools as programs: what they print, write and refuse.

#include <cstdio>
#include <sys/wait.h>

#include "sim_fixture.h"

namespace nvmlsim {
namespace {

class Tool : public SimTest {
 protected:
  // Runs nvml-sim with `arguments`; output and errors together.
  int tool(const std::string& arguments) { return run(NVML_SIM_TOOL " " + arguments); }
  int smi(const std::string& arguments) {
    return run("LD_LIBRARY_PATH=" + std::filesystem::path(NVML_SIM_LIBRARY).parent_path().string() +
               " " NVML_SIM_SMI " " + arguments);
  }
  int run(const std::string& command) {
    out_.clear();
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    char buffer[4096];
    while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) out_.append(buffer, n);
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string text(const std::string& path) {
    std::string out;
    EXPECT_TRUE(read_text(directory_ + "/tree/" + path, out)) << path;
    return out;
  }
  std::string out_;
};

TEST_F(Tool, ListsTheShippedMachines) {
  ASSERT_EQ(tool("list"), 0) << out_;
  for (const char* name : {"rtx3090x2", "rtx3090x1", "h200x8-hgx", "a100-80x8", "a100-80x1-mig",
                           "t4", "dgx-spark-gb10", "dual-baseboard-16", "none", "mixed"})
    EXPECT_NE(out_.find(name), std::string::npos) << name;
}

TEST_F(Tool, SteersWhatOtherProcessesRead) {
  start("rtx3090x2");
  ASSERT_EQ(tool("process add --gpu 0 --pid 4242 --mem 3000 --sm 60 --name trainer"), 0) << out_;
  ASSERT_EQ(tool("set --gpu 1 --memory 1000"), 0) << out_;
  Memory memory{};
  ASSERT_EQ(nvmlDeviceGetMemoryInfo(gpu(1), &memory), kSuccess);
  EXPECT_EQ(memory.used >> 20, 1364U) << "the reserved part counts";
  ASSERT_EQ(smi("--query-gpu=index,memory.used,mig.mode.current --format=csv,noheader,nounits"), 0);
  EXPECT_EQ(out_, "0, 3000, [N/A]\n1, 1000, [N/A]\n");
  ASSERT_EQ(smi(""), 0);
  EXPECT_NE(out_.find("trainer"), std::string::npos) << out_;
  ASSERT_EQ(tool("fault lost --gpu 1"), 0) << out_;
  u32 power = 0;
  Device device = nullptr;
  EXPECT_EQ(nvmlDeviceGetHandleByIndex_v2(1, &device), kErrorGpuIsLost);
  ASSERT_EQ(tool("clear"), 0) << out_;
  EXPECT_EQ(nvmlDeviceGetPowerUsage(gpu(1), &power), kSuccess);
  ASSERT_EQ(tool("log"), 0);
  EXPECT_NE(out_.find("fault lost on GPU 1"), std::string::npos) << out_;
  ASSERT_EQ(tool("reset"), 0) << out_;
  ASSERT_EQ(nvmlDeviceGetMemoryInfo(gpu(1), &memory), kSuccess);
  EXPECT_EQ(memory.used >> 20, 364U);
}

TEST_F(Tool, EveryKindOfFaultCanBeInjectedShownAndCleared) {
  start("h200x8-hgx");
  const char* const faults[] = {"hang --call GetFanSpeed",
                                "slow --call nvmlDeviceGetSerial --ms 1",
                                "error --call '*Serial' --code 10",
                                "flaky --call nvmlDeviceGetSerial --code 10 -p 0.3",
                                "lost --gpu 7 --for 60",
                                "temperature 70 --gpu 1",
                                "throttle 0x80 --gpu 1",
                                "limit-drift 500 --gpu 1",
                                "enforced-limit 300 --gpu 1",
                                "setter 4",
                                "nvlink-down 3 --gpu 1",
                                "fabric in-progress",
                                "process-growth 2",
                                "mig 19",
                                "xid 31 --gpu 0",
                                "ecc --gpu 0 --corrected",
                                "remap --gpu 0",
                                "driver-unload",
                                "driver-reload",
                                "back --gpu 7"};
  for (const char* fault : faults) EXPECT_EQ(tool(std::string("fault ") + fault), 0) << out_;
  ASSERT_EQ(tool("show"), 0) << out_;
  for (const char* kind : {"hang", "slow", "error", "temperature", "throttle", "fabric"})
    EXPECT_NE(out_.find(std::string(": ") + kind), std::string::npos) << out_;
  ASSERT_EQ(tool("clear"), 0);
  ASSERT_EQ(tool("show"), 0);
  EXPECT_EQ(out_.find("fault "), std::string::npos) << out_;
}

TEST_F(Tool, SaysWhatIsWrong) {
  select("rtx3090x2");
  EXPECT_NE(tool("fault xid 79 --gpu 5"), 0);
  EXPECT_NE(out_.find("has no such GPU; give an index 0-1"), std::string::npos) << out_;
  EXPECT_NE(tool("--machine nowhere show"), 0);
  EXPECT_NE(out_.find("neither a file nor a shipped machine"), std::string::npos) << out_;
  EXPECT_NE(tool("mig create 1g.10gb --gpu 0"), 0);
  EXPECT_NE(out_.find("no such profile"), std::string::npos) << out_;
  EXPECT_NE(tool("fault ecc --gpu 0"), 0);
  EXPECT_NE(out_.find("no ECC"), std::string::npos) << out_;
}

TEST_F(Tool, WritesTheHostsView) {
  select("a100-80x8");
  ASSERT_EQ(tool("tree " + directory_ + "/tree --library " NVML_SIM_LIBRARY), 0) << out_;
  EXPECT_EQ(text("sys/bus/pci/devices/0000:bd:00.0/vendor"), "0x10de\n");
  EXPECT_EQ(text("sys/bus/pci/devices/0000:bd:00.0/device"), "0x20b2\n");
  EXPECT_EQ(text("sys/bus/pci/devices/0000:bd:00.0/numa_node"), "5\n");
  EXPECT_EQ(text("sys/bus/pci/devices/0000:c4:00.0/class"), "0x068000\n");
  EXPECT_NE(text("proc/driver/nvidia/version").find("535.154.05"), std::string::npos);
  EXPECT_NE(text("proc/driver/nvidia/gpus/0000:07:00.0/information").find("Device Minor: \t 0"),
            std::string::npos);
  EXPECT_NE(text("proc/driver/nvidia-caps/mig-minors").find("gpu7/gi1/ci0/access"),
            std::string::npos);
  EXPECT_NE(text("proc/driver/nvidia/capabilities/gpu7/mig/gi1/access").find("DeviceFileMinor: "),
            std::string::npos);
  EXPECT_NE(text("proc/modules").find("nvidia_uvm"), std::string::npos);
  for (const char* node : {"dev/nvidiactl", "dev/nvidia0", "dev/nvidia7", "dev/nvidia-uvm"})
    EXPECT_EQ(text(node), "");
  EXPECT_TRUE(
      std::filesystem::exists(directory_ + "/tree/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"));
  EXPECT_EQ(text("usr/lib/x86_64-linux-gnu/libcuda.so"),
            "stands for /usr/lib/x86_64-linux-gnu/libcuda.so.535.154.05\n");
  for (const char* file : {"usr/bin/nvidia-smi", "lib/firmware/nvidia/535.154.05/gsp_ga10x.bin"})
    EXPECT_NE(text(file), "");
  EXPECT_EQ(text("dev/dri/by-path/pci-0000:bd:00.0-render"), "");
  EXPECT_EQ(text("sys/bus/pci/devices/0000:07:00.0/drm/renderD128/dev"), "226:128\n");
}

TEST_F(Tool, MakesAndRemovesMigDevices) {
  start("a100-80x1-mig");
  ASSERT_EQ(tool("mig destroy --gpu 0 --gpu-instance 3"), 0) << out_;
  ASSERT_EQ(smi("-L"), 0);
  EXPECT_EQ(out_.find("2g.20gb"), std::string::npos) << out_;
  ASSERT_EQ(tool("mig create 2g.20gb --gpu 0"), 0) << out_;
  EXPECT_NE(tool("mig create 7g.80gb --gpu 0"), 0);
  EXPECT_NE(out_.find("no room"), std::string::npos) << out_;
  ASSERT_EQ(smi("-L"), 0);
  EXPECT_NE(out_.find("2g.20gb"), std::string::npos) << out_;
}

}  // namespace
}  // namespace nvmlsim
