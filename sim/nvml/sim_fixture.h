// A simulated machine for one test: its own state directory, the library loaded afresh by dlopen,
// and the store to steer it. Tests see exactly what any program sees.
#pragma once

#include <cstdint>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdlib.h>
#include <string>
#include <unistd.h>

#include "control.h"
#include "dynamics.h"
#include "src/nvml/abi.h"
#include "store.h"

#include <gtest/gtest.h>

namespace nvmlsim {

using namespace kerf::nvml::abi;

class SimTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "nvml-sim-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    setenv("NVML_SIM_STATE", (directory_ + "/state").c_str(), 1);
  }

  void TearDown() override {
    unload();
    store_.close();
    std::filesystem::remove_all(directory_);
  }

  static std::string machine_path(const std::string& name) {
    return std::string(NVML_SIM_MACHINES) + "/" + name + ".yaml";
  }

  // Writes a machine file of the test's own and selects it.
  void write_machine(const std::string& text) {
    const std::string path = directory_ + "/machine.yaml";
    std::ofstream(path) << text;
    setenv("NVML_SIM_MACHINE", path.c_str(), 1);
  }

  void select(const std::string& name) {
    setenv("NVML_SIM_MACHINE", machine_path(name).c_str(), 1);
  }

  // Copies library and machine to where any user may read them, and selects that machine.
  void make_reachable(const std::string& machine) {
    chmod(directory_.c_str(), 0755);
    const std::string copy = directory_ + "/" + machine + ".yaml";
    std::filesystem::copy(machine_path(machine), copy);
    std::filesystem::copy(NVML_SIM_LIBRARY, reachable_library());
    setenv("NVML_SIM_MACHINE", copy.c_str(), 1);
  }
  std::string reachable_library() const { return directory_ + "/libnvidia-ml.so.1"; }

  void load(const std::string& path = NVML_SIM_LIBRARY) {
    unload();
    library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << dlerror();
#define BIND(symbol, result, parameters) symbol = function<result(*) parameters>(#symbol);
    KERF_NVML_SYMBOLS(BIND)
#undef BIND
  }

  // The usual beginning: this machine, library loaded and initialised, store open.
  void start(const std::string& machine) {
    select(machine);
    load();
    ASSERT_EQ(nvmlInit_v2(), kSuccess);
    open_store();
  }

  void open_store() {
    std::string error;
    ASSERT_TRUE(store_.open(error)) << error;
    ASSERT_FALSE(store_.is_private());
  }

  void unload() {
    if (library_) dlclose(library_);
    library_ = nullptr;
  }

  template <typename F>
  F function(const char* name) {
    return reinterpret_cast<F>(dlsym(library_, name));
  }

  Device gpu(u32 index) {
    Device device = nullptr;
    EXPECT_EQ(nvmlDeviceGetHandleByIndex_v2(index, &device), kSuccess);
    return device;
  }

  void change(const std::function<void(Shared&)>& f) { ASSERT_TRUE(store_.write(f)); }

  // A fault on one GPU (kNone: all) that concerns calls matching `glob`.
  void fault(FaultKind kind, uint32_t target, uint64_t value = 0, const char* glob = "*") {
    Fault entry{};
    entry.kind = kind;
    entry.gpu = target;
    entry.value = value;
    entry.probability = 1;
    snprintf(entry.glob, sizeof(entry.glob), "%s", glob);
    change([&](Shared& shared) { add_fault(shared, entry); });
  }

  static bool root() { return geteuid() == 0; }

#define MEMBER(symbol, result, parameters) result(*symbol) parameters = nullptr;
  KERF_NVML_SYMBOLS(MEMBER)
#undef MEMBER

  void* library_ = nullptr;
  std::string directory_;
  Store store_;
};

#define SKIP_UNLESS_ROOT() \
  if (!root()) GTEST_SKIP() << "setters need root, as the interface says"

}  // namespace nvmlsim
