// Init, shutdown, versions and error texts.

#include <cstdio>
#include <cstring>

#include "library.h"

using namespace nvmlsim;

SIM_API Return nvmlInit_v2() { return initialise_library(0); }

// The old entry refuses when any GPU is unusable.
SIM_API Return nvmlInit() {
  const Return rc = initialise_library(0);
  if (rc != kSuccess) return rc;
  uint32_t list[kMaxGpus];
  const uint32_t count = visible_gpus(list);
  for (uint32_t i = 0; i < count; ++i) {
    bool lost = false;
    store().read([&](const Shared& shared) { lost = effects_on(shared, list[i], now_ns()).lost; });
    if (!lost) continue;
    shutdown_library();
    return kErrorGpuIsLost;
  }
  return kSuccess;
}

SIM_API Return nvmlInitWithFlags(u32 flags) { return initialise_library(flags); }
SIM_API Return nvmlShutdown() { return shutdown_library(); }

SIM_API const char* nvmlErrorString(Return result) {
  static constexpr const char* kTexts[] = {"Success",
                                           "Uninitialized",
                                           "Invalid Argument",
                                           "Not Supported",
                                           "Insufficient Permissions",
                                           "Already Initialized",
                                           "Not Found",
                                           "Insufficient Size",
                                           "Insufficient External Power",
                                           "Driver Not Loaded",
                                           "Timeout",
                                           "Interrupt Request Issue",
                                           "NVML Shared Library Not Found",
                                           "Function Not Found",
                                           "Corrupted infoROM",
                                           "GPU is lost",
                                           "GPU requires reset",
                                           "Operating System call failed",
                                           "Driver/library version mismatch",
                                           "In use by another client",
                                           "Insufficient Memory",
                                           "No data",
                                           "vGPU ECC not supported",
                                           "Insufficient resources",
                                           "Frequency not supported",
                                           "Argument version mismatch",
                                           "Deprecated",
                                           "Not ready",
                                           "GPU not found",
                                           "Invalid state",
                                           "Reset type not supported"};
  return static_cast<u32>(result) < sizeof(kTexts) / sizeof(kTexts[0]) ? kTexts[result]
                                                                       : "Unknown Error";
}

namespace {

Return system_call(const char* symbol, const void* pointer) {
  const Return rc = enter(symbol);
  if (rc != kSuccess) return rc;
  if (!pointer) return kErrorInvalidArgument;
  return call_faults(symbol, kNone);
}

void driver_version(char (&out)[32]) {
  store().read([&](const Shared& shared) { std::memcpy(out, shared.driver_version, sizeof(out)); });
  out[31] = 0;
}

}  // namespace

SIM_API Return nvmlSystemGetDriverVersion(char* version, u32 length) {
  const Return rc = system_call("nvmlSystemGetDriverVersion", version);
  if (rc != kSuccess) return rc;
  char text[32];
  driver_version(text);
  return copy_text(text, version, length);
}

SIM_API Return nvmlSystemGetNVMLVersion(char* version, u32 length) {
  const Return rc = system_call("nvmlSystemGetNVMLVersion", version);
  if (rc != kSuccess) return rc;
  char driver[32], text[64];
  driver_version(driver);
  std::snprintf(text, sizeof(text), "%u.%s", machine().cuda / 1000, driver);
  return copy_text(
      machine().nvml[0] && !std::strcmp(driver, machine().driver) ? machine().nvml : text, version,
      length);
}

SIM_API Return nvmlSystemGetCudaDriverVersion_v2(int* version) {
  const Return rc = system_call("nvmlSystemGetCudaDriverVersion_v2", version);
  return rc == kSuccess ? give(version, machine().cuda) : rc;
}

SIM_API Return nvmlSystemGetCudaDriverVersion(int* version) {
  const Return rc = system_call("nvmlSystemGetCudaDriverVersion", version);
  return rc == kSuccess ? give(version, machine().cuda) : rc;
}

SIM_API Return nvmlSystemGetDriverBranch(void* info, u32 length) {
  struct Branch {
    u32 version;
    char branch[80];
  };
  const Return rc = system_call("nvmlSystemGetDriverBranch", info);
  if (rc != kSuccess) return rc;
  auto* out = static_cast<Branch*>(info);
  if (out->version != version_word<Branch>(1)) return kErrorArgumentVersionMismatch;
  char driver[32], text[64];
  driver_version(driver);
  std::snprintf(text, sizeof(text), "r%u_00", static_cast<u32>(std::strtoul(driver, nullptr, 10)));
  return copy_text(text, out->branch, length < 80 ? length : 80);
}

SIM_API Return nvmlSystemGetProcessName(u32 pid, char* name, u32 length) {
  const Return rc = system_call("nvmlSystemGetProcessName", name);
  if (rc != kSuccess) return rc;
  char text[64] = {};
  store().read([&](const Shared& shared) {
    text[0] = 0;
    for (const Process& p : shared.processes)
      if (p.used && p.pid == pid)
        std::snprintf(text, sizeof(text), "%s", p.name[0] ? p.name : "unknown");
  });
  return text[0] ? copy_text(text, name, length) : kErrorNotFound;
}

SIM_API Return nvmlUnitGetCount(u32* count) {
  const Return rc = system_call("nvmlUnitGetCount", count);
  return rc == kSuccess ? give(count, 0) : rc;
}

SIM_API Return nvmlGetExcludedDeviceCount(u32* count) {
  const Return rc = system_call("nvmlGetExcludedDeviceCount", count);
  return rc == kSuccess ? give(count, 0) : rc;
}

SIM_API Return nvmlInternalGetExportTable(const void** table, const void*) {
  const Return rc = system_call("nvmlInternalGetExportTable", table);
  return rc == kSuccess ? kErrorNotSupported : rc;
}
