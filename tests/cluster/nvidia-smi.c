// nvidia-smi of the simulated node: shows, through the NVML library that it finds, the GPUs which
// NVIDIA_VISIBLE_DEVICES lets the container see. Knows the forms that the documented commands use:
// no argument (a table), -L (a list), dmon (some lines of utilization), and -i UUID -c MODE, which MPS
// needs. Queries (-q, --query-gpu=...) it leaves to the simulator's program, which shows all GPUs.
//
// The declarations restate the public C interface of NVML as far as it is called here.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Status;  // 0 is success.
typedef void* Device;

struct Memory {
  unsigned long long total, free, used;  // Bytes.
};

struct Utilization {
  unsigned int gpu, memory;  // Percent.
};

static Status (*nvml_init)(void);
static Status (*nvml_count)(unsigned int*);
static Status (*nvml_by_index)(unsigned int, Device*);
static Status (*nvml_name)(Device, char*, unsigned int);
static Status (*nvml_uuid)(Device, char*, unsigned int);
static Status (*nvml_memory)(Device, struct Memory*);
static Status (*nvml_power)(Device, unsigned int*);        // Milliwatts.
static Status (*nvml_temperature)(Device, int, unsigned int*);  // Degrees Celsius.
static Status (*nvml_utilization)(Device, struct Utilization*);
static Status (*nvml_by_uuid)(const char*, Device*);
static Status (*nvml_set_compute_mode)(Device, int);
static Status (*nvml_driver)(char*, unsigned int);
static const char* (*nvml_error)(Status);

static void bind_symbol(void* library, const char* name, void* target) {
  void* symbol = dlsym(library, name);
  memcpy(target, &symbol, sizeof symbol);
}

static void load(void) {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system: %s\n",
            dlerror());
    exit(12);
  }
  bind_symbol(library, "nvmlInit_v2", &nvml_init);
  bind_symbol(library, "nvmlDeviceGetCount_v2", &nvml_count);
  bind_symbol(library, "nvmlDeviceGetHandleByIndex_v2", &nvml_by_index);
  bind_symbol(library, "nvmlDeviceGetName", &nvml_name);
  bind_symbol(library, "nvmlDeviceGetUUID", &nvml_uuid);
  bind_symbol(library, "nvmlDeviceGetMemoryInfo", &nvml_memory);
  bind_symbol(library, "nvmlDeviceGetPowerUsage", &nvml_power);
  bind_symbol(library, "nvmlDeviceGetTemperature", &nvml_temperature);
  bind_symbol(library, "nvmlDeviceGetUtilizationRates", &nvml_utilization);
  bind_symbol(library, "nvmlDeviceGetHandleByUUID", &nvml_by_uuid);
  bind_symbol(library, "nvmlDeviceSetComputeMode", &nvml_set_compute_mode);
  bind_symbol(library, "nvmlSystemGetDriverVersion", &nvml_driver);
  bind_symbol(library, "nvmlErrorString", &nvml_error);
  Status status = nvml_init == NULL ? 13 : nvml_init();
  if (status != 0) {
    fprintf(stderr, "NVIDIA-SMI has failed: %s\n",
            nvml_error != NULL ? nvml_error(status) : "incomplete driver library");
    exit(9);
  }
}

// Whether a comma-separated list holds the word.
static int list_holds(const char* list, const char* word) {
  size_t length = strlen(word);
  for (const char* at = list; (at = strstr(at, word)) != NULL; at += length) {
    int starts = at == list || at[-1] == ',';
    int ends = at[length] == ',' || at[length] == '\0';
    if (starts && ends) return 1;
  }
  return 0;
}

// A container is given its GPUs as a list, or as mounts that are named after them.
static int visible(unsigned int index, const char* uuid) {
  const char* list = getenv("NVIDIA_VISIBLE_DEVICES");
  if (list == NULL || strcmp(list, "all") == 0) return 1;
  if (list[0] == '/') {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", list, uuid);
    return access(path, F_OK) == 0;
  }
  char number[16];
  snprintf(number, sizeof number, "%u", index);
  return list_holds(list, uuid) || list_holds(list, number);
}

static void print_row(unsigned int index, Device device, const char* name) {
  struct Memory memory = {0, 0, 0};
  struct Utilization utilization = {0, 0};
  unsigned int power = 0, temperature = 0;
  if (nvml_memory != NULL) nvml_memory(device, &memory);
  if (nvml_power != NULL) nvml_power(device, &power);
  if (nvml_temperature != NULL) nvml_temperature(device, 0, &temperature);
  if (nvml_utilization != NULL) nvml_utilization(device, &utilization);
  printf("| %3u  %-28s | %3uC  %4uW | %6lluMiB / %6lluMiB | %3u%% |\n", index, name, temperature,
         power / 1000, memory.used >> 20, memory.total >> 20, utilization.gpu);
}

static void print_utilization(unsigned int index, Device device) {
  struct Utilization utilization = {0, 0};
  if (nvml_utilization != NULL) nvml_utilization(device, &utilization);
  printf("%5u %5u %5u\n", index, utilization.gpu, utilization.memory);
}

// Calls for every visible GPU what the mode prints of it; returns how many there were.
static unsigned int each_gpu(char mode) {
  unsigned int count = 0, shown = 0;
  nvml_count(&count);
  for (unsigned int i = 0; i < count; ++i) {
    Device device = NULL;
    char name[96] = "?", uuid[96] = "?";
    if (nvml_by_index(i, &device) != 0) continue;
    nvml_name(device, name, sizeof name);
    nvml_uuid(device, uuid, sizeof uuid);
    if (!visible(i, uuid)) continue;
    ++shown;
    if (mode == 'L') printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
    if (mode == 'T') print_row(i, device, name);
    if (mode == 'D') print_utilization(i, device);
  }
  return shown;
}

static int set_compute_mode(const char* uuid, const char* mode) {
  Device device = NULL;
  if (nvml_by_uuid == NULL || nvml_by_uuid(uuid, &device) != 0) return 6;
  const int value = strcmp(mode, "EXCLUSIVE_PROCESS") == 0 ? 3 : 0;
  return nvml_set_compute_mode != NULL && nvml_set_compute_mode(device, value) == 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc > 1 && (strcmp(argv[1], "-q") == 0 || strncmp(argv[1], "--query-gpu=", 12) == 0)) {
    execvp("sim-nvidia-smi", argv);
    perror("sim-nvidia-smi");
    return 127;
  }
  load();
  if (argc == 5 && strcmp(argv[1], "-i") == 0 && strcmp(argv[3], "-c") == 0) {
    return set_compute_mode(argv[2], argv[4]);
  }
  if (argc > 1 && strcmp(argv[1], "-L") == 0) {
    if (each_gpu('L') > 0) return 0;
    puts("No devices found.");
    return 6;
  }
  if (argc > 1 && strcmp(argv[1], "dmon") == 0) {
    int lines = 30;
    for (int i = 2; i + 1 < argc; ++i) {
      if (strcmp(argv[i], "-c") == 0) lines = atoi(argv[i + 1]);
    }
    puts("# gpu    sm   mem\n# Idx     %     %");
    for (int i = 0; i < lines; ++i) {
      each_gpu('D');
      fflush(stdout);
      if (i + 1 < lines) sleep(1);
    }
    return 0;
  }
  char driver[96] = "?";
  if (nvml_driver != NULL) nvml_driver(driver, sizeof driver);
  printf("NVIDIA-SMI (simulated node)    Driver Version: %s\n", driver);
  if (each_gpu('T') > 0) return 0;
  puts("No devices were found");
  return 6;
}
