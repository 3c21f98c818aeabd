// sim-nvidia-smi: prints what people and scripts read from nvidia-smi, through whatever
// libnvidia-ml.so.1 the loader finds. Forms: no option (a table), -L, --query-gpu=... with
// --format=csv[,noheader,nounits], -q [-d POWER], -pl WATTS, -pm 0|1, -i INDEX, --version, and dmon
// with -c N. It links nothing but libc, so that it runs in any small image with a glibc.

#include <dlfcn.h>
#include <initializer_list>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/nvml/abi.h"

namespace {

using namespace kerf::nvml::abi;

#define DECLARE(symbol, result, parameters) result(*symbol) parameters;
struct Nvml {
  KERF_NVML_SYMBOLS(DECLARE)
} nvml;
#undef DECLARE

struct Options {
  bool list = false, full = false, header = true, units = true, power_only = false, dmon = false;
  const char* query = nullptr;
  const char* index = nullptr;
  long limit_w = -1, persistence = -1, count = -1;
};

[[noreturn]] void die(int status, const char* text) {
  printf("%s\n", text);
  exit(status);
}

void load() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  for (const char* directory : {"/usr/lib/x86_64-linux-gnu", "/usr/lib64",
                                "/usr/lib/aarch64-linux-gnu", "/lib/x86_64-linux-gnu", "/lib64"}) {
    char path[128];
    snprintf(path, sizeof(path), "%s/libnvidia-ml.so.1", directory);
    if (!library) library = dlopen(path, RTLD_NOW);
  }
  if (!library)
    die(12,
        "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure "
        "that the NVIDIA Display Driver is properly installed and present in your system.");
#define BIND(symbol, result, parameters) \
  nvml.symbol = reinterpret_cast<result(*) parameters>(dlsym(library, #symbol));
  KERF_NVML_SYMBOLS(BIND)
#undef BIND
  if (!nvml.nvmlInit_v2 || !nvml.nvmlDeviceGetCount_v2) die(13, "the library is too old");
  const Return rc = nvml.nvmlInit_v2();
  if (rc == kSuccess) return;
  if (rc == kErrorLibRmVersionMismatch)
    die(rc, "Failed to initialize NVML: Driver/library version mismatch");
  if (rc == kErrorDriverNotLoaded)
    die(rc,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make "
        "sure that the latest NVIDIA driver is installed and running.");
  printf("Failed to initialize NVML: %s\n", nvml.nvmlErrorString(rc));
  exit(static_cast<int>(rc));
}

// A value as text, with "[N/A]" for what this GPU does not have.
struct Text {
  char value[128];
};

Text number(Return rc, double value, int decimals, const char* unit, bool units) {
  Text t;
  if (rc == kErrorGpuIsLost) {
    snprintf(t.value, sizeof(t.value), "[GPU is lost]");
  } else if (rc != kSuccess) {
    snprintf(t.value, sizeof(t.value), "[N/A]");
  } else {
    snprintf(t.value, sizeof(t.value), "%.*f%s%s", decimals, value, units && *unit ? " " : "",
             units ? unit : "");
  }
  return t;
}

Text words(Return rc, const char* text) {
  Text t;
  snprintf(t.value, sizeof(t.value), "%s",
           rc == kSuccess          ? text
           : rc == kErrorGpuIsLost ? "[GPU is lost]"
                                   : "[N/A]");
  return t;
}

using Getter = Return (*)(Device, u32*);
Text simple(Device d, Getter get, double scale, int decimals, const char* unit, bool units) {
  u32 value = 0;
  const Return rc = get ? get(d, &value) : kErrorFunctionNotFound;
  return number(rc, value * scale, decimals, unit, units);
}

using Reader = Return (*)(Device, char*, u32);
Text string_of(Device d, Reader get) {
  char text[96] = "";
  const Return rc = get(d, text, sizeof(text));
  return words(rc, text);
}

Text memory(Device d, int which, bool units) {
  MemoryV2 m{};
  m.version = version_word<MemoryV2>(2);
  const Return rc = nvml.nvmlDeviceGetMemoryInfo_v2(d, &m);
  const u64 value = which == 0 ? m.total : which == 1 ? m.used : which == 2 ? m.free : m.reserved;
  return number(rc, static_cast<double>(value >> 20), 0, "MiB", units);
}

Text utilization(Device d, bool of_memory, bool units) {
  Utilization u{};
  const Return rc = nvml.nvmlDeviceGetUtilizationRates(d, &u);
  return number(rc, of_memory ? u.memory : u.gpu, 0, "%", units);
}

Text limit(Device d, bool most, bool units) {
  u32 low = 0, high = 0;
  const Return rc = nvml.nvmlDeviceGetPowerManagementLimitConstraints(d, &low, &high);
  return number(rc, (most ? high : low) / 1000.0, 2, "W", units);
}

Text enabled(Return rc, u32 mode) { return words(rc, mode ? "Enabled" : "Disabled"); }

Text mig_mode(Device d, bool pending) {
  u32 now = 0, later = 0;
  const Return rc = nvml.nvmlDeviceGetMigMode(d, &now, &later);
  return enabled(rc, pending ? later : now);
}

Text capability(Device d) {
  int major = 0, minor = 0;
  const Return rc = nvml.nvmlDeviceGetCudaComputeCapability(d, &major, &minor);
  char text[32];
  snprintf(text, sizeof(text), "%d.%d", major, minor);
  return words(rc, text);
}

Text temperature(Device d) {
  u32 value = 0;
  const Return rc = nvml.nvmlDeviceGetTemperature(d, 0, &value);
  return number(rc, value, 0, "", false);
}

Text clock_of(Device d, u32 type, bool units) {
  u32 value = 0;
  const Return rc = nvml.nvmlDeviceGetClockInfo(d, type, &value);
  return number(rc, value, 0, "MHz", units);
}

Text bus_id(Device d) {
  PciInfo pci{};
  const Return rc = nvml.nvmlDeviceGetPciInfo_v3(d, &pci);
  return words(rc, pci.bus_id);
}

Text pstate(Device d) {
  u32 value = 0;
  const Return rc = nvml.nvmlDeviceGetPerformanceState(d, &value);
  char text[16];
  snprintf(text, sizeof(text), "P%u", value);
  return words(rc, text);
}

Text driver_version() {
  char text[80] = "";
  const Return rc = nvml.nvmlSystemGetDriverVersion(text, sizeof(text));
  return words(rc, text);
}

u32 gpu_count() {
  u32 count = 0;
  const Return rc = nvml.nvmlDeviceGetCount_v2(&count);
  if (rc != kSuccess) die(static_cast<int>(rc), nvml.nvmlErrorString(rc));
  return count;
}

// One field of --query-gpu, with the name nvidia-smi prints as its column's head.
bool query_field(const char* name, Device d, u32 index, bool units, Text& out, const char*& unit) {
  const auto is = [&](const char* text) { return strcmp(name, text) == 0; };
  unit = "";
  if (is("index")) return out = number(kSuccess, index, 0, "", false), true;
  if (is("count")) return out = number(kSuccess, gpu_count(), 0, "", false), true;
  if (is("name") || is("gpu_name")) return out = string_of(d, nvml.nvmlDeviceGetName), true;
  if (is("uuid") || is("gpu_uuid")) return out = string_of(d, nvml.nvmlDeviceGetUUID), true;
  if (is("serial") || is("gpu_serial")) return out = string_of(d, nvml.nvmlDeviceGetSerial), true;
  if (is("vbios_version")) return out = string_of(d, nvml.nvmlDeviceGetVbiosVersion), true;
  if (is("driver_version")) return out = driver_version(), true;
  if (is("pci.bus_id") || is("gpu_bus_id")) return out = bus_id(d), true;
  if (is("compute_cap")) return out = capability(d), true;
  if (is("pstate")) return out = pstate(d), true;
  if (is("temperature.gpu")) return out = temperature(d), true;
  if (is("mig.mode.current")) return out = mig_mode(d, false), true;
  if (is("mig.mode.pending")) return out = mig_mode(d, true), true;
  if (is("persistence_mode")) {
    u32 mode = 0;
    const Return rc = nvml.nvmlDeviceGetPersistenceMode(d, &mode);
    return out = enabled(rc, mode), true;
  }
  unit = "MiB";
  if (is("memory.total")) return out = memory(d, 0, units), true;
  if (is("memory.used")) return out = memory(d, 1, units), true;
  if (is("memory.free")) return out = memory(d, 2, units), true;
  if (is("memory.reserved")) return out = memory(d, 3, units), true;
  unit = "%";
  if (is("utilization.gpu")) return out = utilization(d, false, units), true;
  if (is("utilization.memory")) return out = utilization(d, true, units), true;
  unit = "MHz";
  if (is("clocks.sm") || is("clocks.current.sm")) return out = clock_of(d, kClockSm, units), true;
  if (is("clocks.mem") || is("clocks.current.memory"))
    return out = clock_of(d, kClockMem, units), true;
  if (is("clocks.gr") || is("clocks.current.graphics"))
    return out = clock_of(d, kClockGraphics, units), true;
  unit = "W";
  const auto watts = [&](Getter get) { return simple(d, get, 0.001, 2, "W", units); };
  if (is("power.draw")) return out = watts(nvml.nvmlDeviceGetPowerUsage), true;
  if (is("power.limit")) return out = watts(nvml.nvmlDeviceGetPowerManagementLimit), true;
  if (is("enforced.power.limit")) return out = watts(nvml.nvmlDeviceGetEnforcedPowerLimit), true;
  if (is("power.default_limit"))
    return out = watts(nvml.nvmlDeviceGetPowerManagementDefaultLimit), true;
  if (is("power.min_limit")) return out = limit(d, false, units), true;
  if (is("power.max_limit")) return out = limit(d, true, units), true;
  return false;
}

template <typename F>
void each_gpu(const Options& o, F&& f) {
  const u32 count = gpu_count();
  for (u32 i = 0; i < count; ++i) {
    Device d = nullptr;
    const Return rc = nvml.nvmlDeviceGetHandleByIndex_v2(i, &d);
    char text[16], uuid[96] = "";
    snprintf(text, sizeof(text), "%u", i);
    if (rc == kSuccess) nvml.nvmlDeviceGetUUID(d, uuid, sizeof(uuid));
    if (o.index && strcmp(o.index, text) != 0 && strcmp(o.index, uuid) != 0) continue;
    if (rc != kSuccess) {
      printf("Unable to determine the device handle for GPU%u: %s\n", i, nvml.nvmlErrorString(rc));
      continue;
    }
    f(i, d);
  }
}

void list(const Options& o) {
  each_gpu(o, [](u32 i, Device d) {
    printf("GPU %u: %s (UUID: %s)\n", i, string_of(d, nvml.nvmlDeviceGetName).value,
           string_of(d, nvml.nvmlDeviceGetUUID).value);
    u32 most = 0;
    nvml.nvmlDeviceGetMaxMigDeviceCount(d, &most);
    for (u32 k = 0; k < most; ++k) {
      Device mig = nullptr;
      if (nvml.nvmlDeviceGetMigDeviceHandleByIndex(d, k, &mig) != kSuccess) continue;
      const Text name = string_of(mig, nvml.nvmlDeviceGetName);
      const char* profile = strstr(name.value, "MIG ");
      printf("  %-16s Device %2u: (UUID: %s)\n", profile ? profile : name.value, k,
             string_of(mig, nvml.nvmlDeviceGetUUID).value);
    }
  });
}

void query(const Options& o) {
  char fields[1024];
  snprintf(fields, sizeof(fields), "%s", o.query);
  const char* names[64];
  int n = 0;
  for (char* at = strtok(fields, ","); at && n < 64; at = strtok(nullptr, ",")) {
    while (*at == ' ') ++at;
    names[n++] = at;
  }
  Text text;
  const char* unit = "";
  for (int i = 0; i < n; ++i) {
    if (!query_field(names[i], nullptr, 0, false, text, unit)) {
      printf("Field \"%s\" is not a valid field to query.\n", names[i]);
      exit(2);
    }
    if (!o.header) continue;
    printf("%s%s", i ? ", " : "", names[i]);
    if (*unit) printf(" [%s]", unit);
  }
  if (o.header) printf("\n");
  each_gpu(o, [&](u32 index, Device d) {
    for (int i = 0; i < n; ++i) {
      query_field(names[i], d, index, o.units, text, unit);
      printf("%s%s", i ? ", " : "", text.value);
    }
    printf("\n");
  });
}

void full(const Options& o) {
  printf("\n==============NVSMI LOG==============\n\n");
  printf("Driver Version                            : %s\n", driver_version().value);
  printf("Attached GPUs                             : %u\n", gpu_count());
  each_gpu(o, [&](u32, Device d) {
    const auto watts = [&](Getter get) { return simple(d, get, 0.001, 2, "W", true); };
    printf("GPU %s\n", bus_id(d).value);
    if (!o.power_only) {
      printf("    Product Name                          : %s\n",
             string_of(d, nvml.nvmlDeviceGetName).value);
      printf("    GPU UUID                              : %s\n",
             string_of(d, nvml.nvmlDeviceGetUUID).value);
      printf("    FB Memory Usage\n        Total                             : %s\n",
             memory(d, 0, true).value);
      printf("        Used                              : %s\n", memory(d, 1, true).value);
      printf("    Temperature\n        GPU Current Temp                  : %s C\n",
             temperature(d).value);
    }
    printf("    GPU Power Readings\n");
    printf("        Power Draw                        : %s\n",
           watts(nvml.nvmlDeviceGetPowerUsage).value);
    printf("        Current Power Limit               : %s\n",
           watts(nvml.nvmlDeviceGetEnforcedPowerLimit).value);
    printf("        Requested Power Limit             : %s\n",
           watts(nvml.nvmlDeviceGetPowerManagementLimit).value);
    printf("        Default Power Limit               : %s\n",
           watts(nvml.nvmlDeviceGetPowerManagementDefaultLimit).value);
    printf("        Min Power Limit                   : %s\n", limit(d, false, true).value);
    printf("        Max Power Limit                   : %s\n", limit(d, true, true).value);
  });
}

void processes(u32 index, Device d, bool& any) {
  ProcessInfo list[64];
  u32 n = 64;
  if (nvml.nvmlDeviceGetComputeRunningProcesses_v3(d, &n, list) != kSuccess) return;
  for (u32 i = 0; i < n; ++i) {
    char name[64] = "[Not Found]";
    nvml.nvmlSystemGetProcessName(list[i].pid, name, sizeof(name));
    printf("|  %3u   %9u      C   %-38.38s %8lluMiB |\n", index, list[i].pid, name,
           static_cast<unsigned long long>(list[i].used_gpu_memory >> 20));
    any = true;
  }
}

constexpr char kLine[] =
    "+-----------------------------------------+------------------------+----------------------+";

void row(u32 i, Device d) {
  char left[280], use[280];
  snprintf(left, sizeof(left), "%s / %s",
           simple(d, nvml.nvmlDeviceGetPowerUsage, 0.001, 0, "", false).value,
           simple(d, nvml.nvmlDeviceGetEnforcedPowerLimit, 0.001, 0, "", false).value);
  snprintf(use, sizeof(use), "%s / %s", memory(d, 1, true).value, memory(d, 0, true).value);
  printf("| %3u  %-34.34s | %-22.22s | %-20.20s |\n", i, string_of(d, nvml.nvmlDeviceGetName).value,
         bus_id(d).value, mig_mode(d, false).value);
  printf("|      %4sC   %-4s  %-20.20s W  | %22.22s | %8s             |\n", temperature(d).value,
         pstate(d).value, left, use, utilization(d, false, true).value);
  printf("%s\n", kLine);
}

void table(const Options& o) {
  int cuda = 0;
  nvml.nvmlSystemGetCudaDriverVersion_v2(&cuda);
  const time_t now = time(nullptr);
  char stamp[64];
  strftime(stamp, sizeof(stamp), "%a %b %e %H:%M:%S %Y", localtime(&now));
  const Text driver = driver_version();
  printf("%s\n", stamp);
  printf(
      "+-----------------------------------------------------------------------------------------+"
      "\n");
  printf("| NVIDIA-SMI %-22s Driver Version: %-18s CUDA Version: %2d.%-5d |\n", driver.value,
         driver.value, cuda / 1000, cuda % 1000 / 10);
  printf("%s\n", kLine);
  printf(
      "| GPU  Name                               | Bus-Id                 | MIG                  "
      "|\n");
  printf(
      "|      Temp   Perf  Pwr:Usage/Cap         |           Memory-Usage | GPU-Util             "
      "|\n");
  printf(
      "|=========================================+========================+======================|"
      "\n");
  each_gpu(o, [](u32 i, Device d) { row(i, d); });
  printf(
      "\n+-----------------------------------------------------------------------------------------"
      "+\n");
  printf(
      "| Processes:   GPU       PID   Type   Process name                             GPU Memory "
      "|\n");
  printf(
      "|=========================================================================================|"
      "\n");
  bool any = false;
  each_gpu(o, [&](u32 i, Device d) { processes(i, d, any); });
  if (!any)
    printf(
        "|  No running processes found                                                             "
        "|\n");
  printf(
      "+-----------------------------------------------------------------------------------------+"
      "\n");
}

void dmon(const Options& o) {
  printf(
      "# gpu    pwr  gtemp     sm    mem   mclk   pclk\n# Idx      W      C      %%      %%    MHz "
      "   MHz\n");
  for (long round = 0; o.count < 0 || round < o.count; ++round) {
    if (round) sleep(1);
    each_gpu(o, [](u32 i, Device d) {
      printf("%5u  %5s  %5s  %5s  %5s  %5s  %5s\n", i,
             simple(d, nvml.nvmlDeviceGetPowerUsage, 0.001, 0, "", false).value,
             temperature(d).value, utilization(d, false, false).value,
             utilization(d, true, false).value, clock_of(d, kClockMem, false).value,
             clock_of(d, kClockSm, false).value);
    });
    fflush(stdout);
  }
}

int settings(const Options& o) {
  int status = 0;
  each_gpu(o, [&](u32, Device d) {
    Return rc = kSuccess;
    if (o.limit_w >= 0) {
      rc = nvml.nvmlDeviceSetPowerManagementLimit(d, static_cast<u32>(o.limit_w * 1000));
      if (rc == kSuccess)
        printf("Power limit for GPU %s was set to %ld.00 W.\n", bus_id(d).value, o.limit_w);
    } else {
      rc = nvml.nvmlDeviceSetPersistenceMode(d, static_cast<u32>(o.persistence));
      if (rc == kSuccess)
        printf("%s persistence mode for GPU %s.\n", o.persistence ? "Enabled" : "Disabled",
               bus_id(d).value);
    }
    if (rc == kSuccess) return;
    printf("Unable to set this on GPU %s: %s\n", bus_id(d).value, nvml.nvmlErrorString(rc));
    status = static_cast<int>(rc);
  });
  return status;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const char* word = argv[i];
    const auto is = [&](const char* text) { return strcmp(word, text) == 0; };
    const auto next = [&]() -> const char* { return i + 1 < argc ? argv[++i] : "0"; };
    if (is("-L") || is("--list-gpus"))
      o.list = true;
    else if (is("-q") || is("--query"))
      o.full = true;
    else if (is("-d") || is("--display"))
      o.power_only = strstr(next(), "POWER") != nullptr;
    else if (is("-i") || is("--id"))
      o.index = next();
    else if (strncmp(word, "--id=", 5) == 0)
      o.index = word + 5;
    else if (is("-pl") || is("--power-limit"))
      o.limit_w = strtol(next(), nullptr, 10);
    else if (is("-pm") || is("--persistence-mode"))
      o.persistence = strtol(next(), nullptr, 10);
    else if (is("dmon"))
      o.dmon = true;
    else if (is("-c"))
      o.count = strtol(next(), nullptr, 10);
    else if (is("-s"))
      next();
    else if (strncmp(word, "--query-gpu=", 12) == 0)
      o.query = word + 12;
    else if (strncmp(word, "--format=", 9) == 0) {
      o.header = strstr(word, "noheader") == nullptr;
      o.units = strstr(word, "nounits") == nullptr;
    } else {
      printf("Invalid combination of input arguments: %s\n", word);
      exit(2);
    }
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  load();
  int status = 0;
  if (o.limit_w >= 0 || o.persistence >= 0)
    status = settings(o);
  else if (o.list)
    list(o);
  else if (o.query)
    query(o);
  else if (o.full)
    full(o);
  else if (o.dmon)
    dmon(o);
  else
    table(o);
  nvml.nvmlShutdown();
  return status;
}
