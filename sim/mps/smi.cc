// The part of nvidia-smi that sets and shows compute modes, on whatever libnvidia-ml.so.1 the
// loader finds:
//   nvidia-smi -i GPU-… -c DEFAULT|EXCLUSIVE_PROCESS
//   nvidia-smi -i GPU-… --query-gpu=compute_mode
#include <cstdio>
#include <dlfcn.h>
#include <map>
#include <string>

#include "nvml/abi.h"

namespace {

using kerf::nvml::abi::Device;
using kerf::nvml::abi::Return;
using kerf::nvml::abi::u32;

template <typename Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

int main(int argc, char** argv) {
  std::string gpu, mode;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string(argv[i]) == "-i") gpu = argv[i + 1];
    if (std::string(argv[i]) == "-c") mode = argv[i + 1];
  }
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (library == nullptr) {
    std::printf("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n");
    return 12;
  }
  auto* init = symbol<Return()>(library, "nvmlInit_v2");
  auto* find = symbol<Return(const char*, Device*)>(library, "nvmlDeviceGetHandleByUUID");
  auto* set = symbol<Return(Device, u32)>(library, "nvmlDeviceSetComputeMode");
  auto* get = symbol<Return(Device, u32*)>(library, "nvmlDeviceGetComputeMode");
  Device device{};
  if (init() != 0 || find(gpu.c_str(), &device) != 0) {
    std::printf("No devices were found\n");
    return 6;
  }
  const std::map<std::string, u32> modes = {
      {"DEFAULT", 0}, {"PROHIBITED", 2}, {"EXCLUSIVE_PROCESS", 3}};
  if (!mode.empty()) {
    auto found = modes.find(mode);
    return found != modes.end() && set(device, found->second) == 0 ? 0 : 1;
  }
  u32 now = 0;
  if (get(device, &now) != 0) return 1;
  for (const auto& [name, value] : modes) {
    if (value == now) std::printf("%s\n", name.c_str());
  }
  return 0;
}
