#include "store.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dynamics.h"
#include "mig.h"

namespace nvmlsim {
namespace {

constexpr char kMagic[8] = {'N', 'V', 'M', 'L', 'S', 'I', 'M', '1'};
pthread_mutex_t write_mutex = PTHREAD_MUTEX_INITIALIZER;

void futex_wake(uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool make_directories(const std::string& path) {
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    if (mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST) return false;
  }
  return true;
}

bool write_all(int fd, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ULL + static_cast<uint64_t>(t.tv_nsec);
}

uint64_t wall_us() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000ULL + static_cast<uint64_t>(t.tv_nsec) / 1000U;
}

bool read_text(const std::string& path, std::string& out) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  out.clear();
  char buffer[8192];
  ssize_t n = 0;
  while ((n = ::read(fd, buffer, sizeof(buffer))) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || out.size() > (1U << 20)) break;
    out.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return n == 0;
}

std::string find_machine_file() {
  if (const char* path = std::getenv("NVML_SIM_MACHINE"); path && *path) return path;
  const std::string standard = "/etc/nvml-sim/machine.yaml";
  if (access(standard.c_str(), R_OK) == 0) return standard;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&find_machine_file), &info) && info.dli_fname) {
    const std::string library = info.dli_fname;
    const std::size_t slash = library.rfind('/');
    const std::string beside =
        (slash == std::string::npos ? "." : library.substr(0, slash)) + "/nvml-sim.yaml";
    if (access(beside.c_str(), R_OK) == 0) return beside;
  }
  return "";
}

std::string state_directory() {
  const char* path = std::getenv("NVML_SIM_STATE");
  return path && *path ? path : "/run/nvml-sim";
}

bool Store::open(std::string& error) {
  const std::string machine = find_machine_file();
  if (machine.empty()) {
    error = "no machine file: set NVML_SIM_MACHINE to one, or put it at /etc/nvml-sim/machine.yaml";
    return false;
  }
  return open(machine, "", error);
}

bool Store::open(const std::string& machine_path, const std::string& state, std::string& error) {
  if (shared_) return true;
  std::string text;
  if (!read_text(machine_path, text)) {
    error = machine_path + ": " + std::strerror(errno);
    return false;
  }
  auto declared = std::make_unique<Declared>();
  if (!parse_machine(machine_path, text, *declared, error)) return false;
  const std::string directory = state.empty() ? state_directory() : state;
  const int n = std::snprintf(
      path_, sizeof(path_), "%s/%s-%08x-%u.state", directory.c_str(), declared->machine.name,
      static_cast<unsigned>(declared->hash ^ (declared->hash >> 32)), kLayout);
  if (n < 0 || n >= static_cast<int>(sizeof(path_))) {
    error = directory + ": the path of the state directory is too long";
    return false;
  }
  if (map(error)) return true;
  std::string why;
  if (make_directories(directory) && create(*declared, why) && map(error)) return true;
  return make_private(*declared, error);
}

void Store::close() {
  if (shared_) munmap(const_cast<Shared*>(shared_), sizeof(Shared));
  shared_ = nullptr;
}

bool Store::map(std::string& error) {
  const int fd = ::open(path_, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    error = std::string(path_) + ": " + std::strerror(errno);
    return false;
  }
  struct stat info{};
  void* memory = MAP_FAILED;
  if (fstat(fd, &info) == 0 && info.st_size == static_cast<off_t>(sizeof(Shared)))
    memory = mmap(nullptr, sizeof(Shared), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) {
    error = std::string(path_) + ": is not a state file of this simulator, remove it";
    return false;
  }
  const auto* shared = static_cast<const Shared*>(memory);
  if (std::memcmp(shared->magic, kMagic, sizeof(kMagic)) != 0 || shared->size != sizeof(Shared)) {
    munmap(memory, sizeof(Shared));
    error = std::string(path_) + ": was written by another build of the simulator, remove it";
    return false;
  }
  shared_ = shared;
  return true;
}

// Written to a temporary name and linked, so that nobody ever maps half a file.
bool Store::create(const Declared& declared, std::string& error) {
  std::string temporary = std::string(path_) + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) {
    error = temporary + ": " + std::strerror(errno);
    return false;
  }
  auto shared = std::make_unique<Shared>();
  initialise(*shared, declared);
  bool ok = fchmod(fd, 0644) == 0 && write_all(fd, shared.get(), sizeof(Shared));
  ok = ok && (link(temporary.c_str(), path_) == 0 || errno == EEXIST);
  if (!ok) error = std::string(path_) + ": " + std::strerror(errno);
  ::close(fd);
  unlink(temporary.c_str());
  return ok;
}

bool Store::make_private(const Declared& declared, std::string& error) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    error = "no memory for the machine's state";
    return false;
  }
  initialise(*static_cast<Shared*>(memory), declared);
  shared_ = static_cast<Shared*>(memory);
  private_ = true;
  error.clear();
  return true;
}

// The old private mapping stays: another thread may be reading it.
void Store::rejoin() {
  const uint64_t now = now_ns();
  if (!private_ || now < __atomic_load_n(&next_rejoin_ns_, __ATOMIC_RELAXED)) return;
  __atomic_store_n(&next_rejoin_ns_, now + 100000000ULL, __ATOMIC_RELAXED);
  std::string error;
  if (map(error)) private_ = false;
}

bool Store::writer_gone(int round) {
  if (round < 100) return false;
  if (round < 200) {
    sched_yield();
    return false;
  }
  const timespec pause{0, 50000};
  nanosleep(&pause, nullptr);
  return round > 400;  // about 10 ms: it died at work, and the next writer will tidy up
}

Shared* Store::begin_write() {
  pthread_mutex_lock(&write_mutex);
  void* memory = MAP_FAILED;
  if (private_) {
    memory = const_cast<Shared*>(shared_);
  } else {
    write_fd_ = ::open(path_, O_RDWR | O_CLOEXEC);
    if (write_fd_ >= 0) {
      while (flock(write_fd_, LOCK_EX) != 0 && errno == EINTR) {
      }
      memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, write_fd_, 0);
    }
  }
  if (memory == MAP_FAILED) {
    const int why = errno;
    if (write_fd_ >= 0) ::close(write_fd_);
    write_fd_ = -1;
    pthread_mutex_unlock(&write_mutex);
    errno = why;
    return nullptr;
  }
  auto* shared = static_cast<Shared*>(memory);
  __atomic_store_n(&shared->sequence, shared->sequence | 1U, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  fold(*shared, now_ns());
  return shared;
}

void Store::end_write(Shared* shared) {
  settle(*shared, now_ns());
  __atomic_thread_fence(__ATOMIC_RELEASE);
  __atomic_store_n(&shared->sequence, shared->sequence + 1U, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&shared->wake, 1U, __ATOMIC_SEQ_CST);
  futex_wake(&shared->wake);
  if (!private_) {
    munmap(shared, sizeof(Shared));
    flock(write_fd_, LOCK_UN);
    ::close(write_fd_);
    write_fd_ = -1;
  }
  pthread_mutex_unlock(&write_mutex);
}

void Store::wait(uint32_t seen, uint64_t deadline_ns) const {
  uint64_t now = now_ns();
  uint64_t until = deadline_ns;
  if (private_) until = std::min<uint64_t>(until ? until : UINT64_MAX, now + 100000000ULL);
  if (until && now >= until) return;
  timespec left{};
  if (until) {
    left.tv_sec = static_cast<time_t>((until - now) / 1000000000ULL);
    left.tv_nsec = static_cast<long>((until - now) % 1000000000ULL);
  }
  const long rc =
      syscall(SYS_futex, &shared_->wake, FUTEX_WAIT, seen, until ? &left : nullptr, nullptr, 0);
  if (rc != 0 && errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT) {
    const timespec pause{0, 10000000};  // no shared futex here (a sandbox): poll instead
    nanosleep(&pause, nullptr);
  }
}

void lock_for_fork() { pthread_mutex_lock(&write_mutex); }
void unlock_after_fork() { pthread_mutex_unlock(&write_mutex); }

void initialise(Shared& shared, const Declared& declared) {
  std::memset(static_cast<void*>(&shared), 0, sizeof(Shared));
  std::memcpy(shared.magic, kMagic, sizeof(kMagic));
  shared.layout = kLayout;
  shared.size = sizeof(Shared);
  shared.machine = declared.machine;
  shared.machine_hash = declared.hash;
  shared.driver_epoch = 1;
  shared.next_fault_id = 1;
  shared.created_ns = now_ns();
  populate(shared, declared);
}

void populate(Shared& shared, const Declared& declared) {
  std::memcpy(shared.driver_version, declared.machine.driver, sizeof(shared.driver_version));
  for (uint32_t i = 0; i < declared.machine.gpu_count; ++i) {
    reset_gpu(shared, i);
    const GpuSpec& spec = declared.machine.gpus[i];
    shared.live[i].minor = spec.minor;
    for (uint32_t k = 0; k < spec.mig_device_count; ++k)
      create_full_device(shared, i, spec.mig_devices[k]);
  }
  const std::size_t count = std::min<std::size_t>(declared.processes.size(), kMaxProcesses);
  for (std::size_t i = 0; i < count; ++i) shared.processes[i] = declared.processes[i];
  settle(shared, now_ns());
}

}  // namespace nvmlsim
