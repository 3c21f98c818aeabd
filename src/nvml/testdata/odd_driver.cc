// Libraries that look like NVML and behave as no driver should, for tests of what we make of them.
// Built once per ODD_… definition. Not a stand-in for a driver: it answers the least it can.
#include <cstring>

#include "nvml/abi.h"

using namespace kerf::nvml::abi;

#define ODD_EXPORT extern "C" __attribute__((visibility("default")))

#if defined(ODD_NOT_NVML)

ODD_EXPORT int something_else() { return 0; }

#elif defined(ODD_MISSING_SYMBOLS)

// An ancient driver: starts, and has little else.
ODD_EXPORT Return nvmlInit_v2() { return kSuccess; }
ODD_EXPORT Return nvmlDeviceGetCount_v2(u32* count) {
  *count = 1;
  return kSuccess;
}

#elif defined(ODD_REFUSES)

#ifndef ODD_CODE
#define ODD_CODE 9
#endif
ODD_EXPORT Return nvmlInit_v2() { return static_cast<Return>(ODD_CODE); }
ODD_EXPORT Return nvmlShutdown() { return kErrorUninitialized; }

#elif defined(ODD_GARBAGE)

ODD_EXPORT Return nvmlInit_v2() { return kSuccess; }
ODD_EXPORT Return nvmlShutdown() { return kSuccess; }
ODD_EXPORT Return nvmlDeviceGetCount_v2(u32* count) {
  *count = 0xFFFFFFFFU;
  return kSuccess;
}
ODD_EXPORT Return nvmlDeviceGetHandleByIndex_v2(u32, Device* device) {
  *device = nullptr;
  return kSuccess;
}
// Fills the buffer and forgets the terminating zero.
ODD_EXPORT Return nvmlSystemGetDriverVersion(char* version, u32 length) {
  std::memset(version, 'A', length);
  return kSuccess;
}
// Writes past the end of what it was given.
ODD_EXPORT Return nvmlDeviceGetUUID(Device, char* uuid, u32 length) {
  std::memset(uuid, 'B', length + 64);
  return kSuccess;
}
ODD_EXPORT Return nvmlDeviceGetName(Device, char* name, u32) {
  std::strcpy(name, "\x1b[31mNVIDIA\n");
  return kSuccess;
}
ODD_EXPORT Return nvmlDeviceGetPciInfo_v3(Device, PciInfo* pci) {
  std::memset(pci, 0xFF, sizeof *pci);
  return kSuccess;
}
ODD_EXPORT Return nvmlDeviceGetMaxMigDeviceCount(Device, u32* count) {
  *count = 4'000'000'000U;
  return kSuccess;
}
// A code from the future.
ODD_EXPORT Return nvmlDeviceGetMinorNumber(Device, u32*) { return static_cast<Return>(4711); }

#endif
