#include "inventory/builder.h"

#include <algorithm>
#include <optional>
#include <set>

#include "host/driver_files.h"
#include "host/pci.h"
#include "inventory/mig.h"
#include "nvml/library.h"
#include "nvml/session.h"

namespace kerf::inventory {

namespace {

using nvml::Session;

// What one GPU answered. Either `gpu`, or `error` (with the uuid if it got that far), or neither
// when the GPU is not for us.
struct GpuAnswer {
  std::optional<Gpu> gpu;
  std::optional<Error> error;
  std::string uuid;
  Gpu described;  // with an error: what of its description could be read all the same
  std::vector<std::string> warnings;
};

std::string architecture_name(std::uint32_t architecture) {
  switch (architecture) {
    case nvml::abi::kArchKepler:
      return "kepler";
    case nvml::abi::kArchMaxwell:
      return "maxwell";
    case nvml::abi::kArchPascal:
      return "pascal";
    case nvml::abi::kArchVolta:
      return "volta";
    case nvml::abi::kArchTuring:
      return "turing";
    case nvml::abi::kArchAmpere:
      return "ampere";
    case nvml::abi::kArchAda:
      return "ada";
    case nvml::abi::kArchHopper:
      return "hopper";
    case nvml::abi::kArchBlackwell:
      return "blackwell";
    case nvml::abi::kArchRubin:
      return "rubin";
    default:
      return "unknown";
  }
}

// The driver's session, or the error that there is none.
Result<std::shared_ptr<const Session>> session_of(const nvml::SessionSlot& slot) {
  auto session = slot.get();
  if (!session) {
    return fail(nvml::error_for(nvml::abi::kErrorUninitialized, "nvmlInit_v2"));
  }
  return session;
}

Result<MigDevice> read_mig_device(const Session& session, nvml::abi::Device gpu_handle,
                                  nvml::abi::Device handle, const Gpu& gpu) {
  auto uuid = session.uuid(handle);
  if (!uuid) return fail(std::move(uuid.error()));
  auto gi = session.gpu_instance_id(handle);
  if (!gi) return fail(std::move(gi.error()));
  auto ci = session.compute_instance_id(handle);
  if (!ci) return fail(std::move(ci.error()));
  auto attributes = session.attributes(handle);
  if (!attributes) return fail(std::move(attributes.error()));

  MigDevice device;
  device.uuid = std::move(*uuid);
  device.gpu_instance = *gi;
  device.compute_instance = *ci;
  device.memory_mib = attributes->memory_size_mb;
  device.gpu_slices = attributes->gpu_instance_slice_count;
  device.compute_slices = attributes->compute_instance_slice_count;
  device.multiprocessors = attributes->multiprocessor_count;
  device.engines = {attributes->shared_copy_engine_count, attributes->shared_decoder_count,
                    attributes->shared_encoder_count, attributes->shared_jpeg_count,
                    attributes->shared_ofa_count};
  MigShape shape{device.compute_slices, device.gpu_slices, device.memory_mib, std::nullopt};
  // Asking for the instance needs rights that a container may lack; only "+me" and the like are
  // lost.
  if (auto profile = session.gpu_instance_profile(gpu_handle, *gi)) shape.profile = *profile;
  device.profile = mig_profile_name(shape, gpu.memory_bytes);
  return device;
}

// Fills the MIG part of `gpu`.
Status read_mig(const Session& session, nvml::abi::Device handle, Gpu& gpu,
                std::vector<std::string>& warnings) {
  auto enabled = session.mig_enabled(handle);
  if (!enabled) {
    if (enabled.error().kind == Kind::kUnsupported) return {};
    return fail(std::move(enabled.error()));
  }
  gpu.mig_capable = true;
  gpu.mig_enabled = *enabled;
  if (!gpu.mig_enabled) return {};
  auto slots = session.mig_slots(handle);
  if (!slots) return fail(std::move(slots.error()));
  for (unsigned slot = 0; slot < *slots; ++slot) {
    auto mig_handle = session.mig_device(handle, slot);
    if (!mig_handle) {
      Kind kind = mig_handle.error().kind;
      if (kind == Kind::kNotFound || kind == Kind::kInvalid) continue;
      return fail(std::move(mig_handle.error()));
    }
    auto device = read_mig_device(session, handle, *mig_handle, gpu);
    if (!device) {
      warnings.push_back("MIG device " + std::to_string(slot) + " of " + gpu.uuid +
                         " is left out: " + device.error().text());
      continue;
    }
    device->index = slot;
    gpu.mig_devices.push_back(std::move(*device));
  }
  return {};
}

// What a GPU may lack without being useless: name, memory size, architecture, fabric.
void read_description(const Session& session, nvml::abi::Device handle, Gpu& gpu,
                      std::vector<std::string>& warnings) {
  if (auto name = session.name(handle)) {
    gpu.name = std::move(*name);
  } else {
    gpu.name = "unknown";
    warnings.push_back("the name of " + gpu.uuid + " cannot be read: " + name.error().text());
  }
  auto memory = session.memory_bytes(handle);
  if (memory && *memory > 0) {
    gpu.memory_bytes = *memory;
  } else if (!memory && memory.error().kind != Kind::kUnsupported) {
    warnings.push_back("the memory size of " + gpu.uuid +
                       " cannot be read: " + memory.error().text());
  }
  gpu.architecture = architecture_name(
      session.architecture(handle).value_or(std::uint32_t{nvml::abi::kArchUnknown}));
  if (auto fabric = session.fabric(handle)) {
    gpu.fabric = Fabric{std::move(fabric->cluster_uuid), fabric->clique};
  }
}

Result<Gpu> read_identified(const Session& session, nvml::abi::Device handle, GpuAnswer& answer) {
  Gpu gpu;
  gpu.uuid = answer.uuid;
  auto minor = session.minor(handle);
  if (!minor) return fail(std::move(minor.error()));
  auto pci = session.pci(handle);
  if (!pci) return fail(std::move(pci.error()));
  auto capability = session.compute_capability(handle);
  if (!capability) return fail(std::move(capability.error()));
  gpu.minor = *minor;
  gpu.pci_bus_id = std::move(pci->bus_id);
  gpu.pci_device = pci->pci_device_id;
  gpu.compute_major = capability->major;
  gpu.compute_minor = capability->minor;
  read_description(session, handle, gpu, answer.warnings);
  if (Status mig = read_mig(session, handle, gpu, answer.warnings); !mig) {
    return fail(std::move(mig.error()));
  }
  return gpu;
}

// All of one GPU; runs on the lane.
GpuAnswer read_gpu(const Session& session, unsigned index) {
  GpuAnswer answer;
  auto handle = session.gpu_by_index(index);
  if (!handle) {
    answer.error = std::move(handle.error());
    return answer;
  }
  auto uuid = session.uuid(*handle);
  if (!uuid) {
    answer.error = std::move(uuid.error());
    return answer;
  }
  answer.uuid = std::move(*uuid);
  auto gpu = read_identified(session, *handle, answer);
  if (!gpu) {
    answer.error = std::move(gpu.error());
    answer.described.uuid = answer.uuid;
    // Of a GPU that is gone every answer is the same.
    std::vector<std::string> nothing_new;
    if (answer.error->kind != Kind::kGone) {
      read_description(session, *handle, answer.described, nothing_new);
    }
    return answer;
  }
  if (gpu->name.ends_with("DGX Display")) return answer;
  gpu->index = index;
  answer.gpu = std::move(*gpu);
  return answer;
}

std::string subject_of(unsigned index) { return "GPU " + std::to_string(index); }

// The lane's own deadline, as opposed to a timeout that the driver reports.
bool is_hang(const Error& error) { return error.kind == Kind::kTimeout && error.native == 0; }

Result<GpuAnswer> ask_gpu(const DriverAccess& access, unsigned index) {
  return access.lane.call(subject_of(index), access.limit,
                          [slot = access.slot, index]() -> Result<GpuAnswer> {
                            auto session = session_of(*slot);
                            if (!session) return fail(std::move(session.error()));
                            GpuAnswer answer = read_gpu(**session, index);
                            // One more try tells a passing failure from a lasting one.
                            bool again = answer.error && answer.error->kind != Kind::kGone;
                            return again ? read_gpu(**session, index) : answer;
                          });
}

GpuFault::Cause cause_of(const Error& error) {
  if (is_hang(error)) return GpuFault::Cause::kStuck;
  if (error.native == nvml::abi::kErrorGpuIsLost) return GpuFault::Cause::kLost;
  return GpuFault::Cause::kQueryFailed;
}

// Collects answers into a Reading.
class Gatherer {
 public:
  Gatherer(const Roots& roots, const std::vector<Gpu>& last)
      : roots_(roots), last_(last), minors_(host::mig_minors(roots)) {}

  // False when the error is the whole driver's.
  bool take(unsigned index, Result<GpuAnswer> asked) {
    if (asked) {
      take(index, *asked);
    } else {
      unread_.push_back({index, "", {}, std::move(asked.error())});
    }
    return unread_.empty() || !nvml::is_driver_failure(unread_.back().error.native);
  }

  Error driver_failure() { return std::move(unread_.back().error); }

  Reading finish() {
    for (Unread& unread : unread_) keep_unread(unread);
    for (const Gpu& gpu : last_) {
      if (seen_.contains(gpu.uuid)) continue;
      keep(gpu, GpuFault::Cause::kUnlisted, "the driver no longer lists the GPU");
    }
    place_displaced();
    std::sort(reading_.gpus.begin(), reading_.gpus.end(),
              [](const Gpu& a, const Gpu& b) { return a.index < b.index; });
    reading_.warnings = std::move(warnings_);
    return std::move(reading_);
  }

 private:
  void take(unsigned index, GpuAnswer& asked) {
    if (asked.error) {
      unread_.push_back(
          {index, std::move(asked.uuid), std::move(asked.described), std::move(*asked.error)});
    } else if (asked.gpu) {
      complete(*asked.gpu);
      add(std::move(*asked.gpu));
    }
    for (std::string& warning : asked.warnings) warnings_.push_back(std::move(warning));
  }
  struct Unread {
    unsigned index;
    std::string uuid;
    Gpu described;
    Error error;
  };

  // Adds what the kernel knows.
  void complete(Gpu& gpu) {
    auto node = host::numa_node(roots_, gpu.pci_bus_id);
    if (node) {
      gpu.numa_node = *node;
    } else {
      warnings_.push_back(node.error().text());
    }
    for (MigDevice& mig : gpu.mig_devices) {
      mig.gpu_instance_minor = minors_.gpu_instance(gpu.minor, mig.gpu_instance);
      mig.compute_instance_minor =
          minors_.compute_instance(gpu.minor, mig.gpu_instance, mig.compute_instance);
    }
  }

  void add(Gpu gpu) {
    if (!seen_.insert(gpu.uuid).second) {
      warnings_.push_back("the driver lists " + gpu.uuid + " twice; the second is left out");
      return;
    }
    indices_.insert(gpu.index);
    reading_.gpus.push_back(std::move(gpu));
  }

  void keep(const Gpu& gpu, GpuFault::Cause cause, std::string detail) {
    reading_.faults.push_back({gpu.uuid, cause, std::move(detail)});
    seen_.insert(gpu.uuid);
    displaced_.push_back(gpu);
  }

  // A GPU that would not say who it is is taken for the one that last had its index.
  void keep_unread(Unread& unread) {
    auto known = std::find_if(last_.begin(), last_.end(), [&](const Gpu& gpu) {
      return !seen_.contains(gpu.uuid) &&
             (unread.uuid.empty() ? gpu.index == unread.index : gpu.uuid == unread.uuid);
    });
    if (known != last_.end()) {
      return keep(*known, cause_of(unread.error), unread.error.text());
    }
    if (seen_.contains(unread.uuid)) return;
    if (!unread.uuid.empty()) {
      Gpu gpu = std::move(unread.described);
      gpu.index = unread.index;
      gpu.uuid = unread.uuid;
      if (gpu.name.empty()) gpu.name = "unknown";
      if (gpu.architecture.empty()) gpu.architecture = "unknown";
      return keep(gpu, cause_of(unread.error), unread.error.text());
    }
    warnings_.push_back(subject_of(unread.index) +
                        " cannot be identified and is left out: " + unread.error.text());
  }

  // GPUs that were not read keep their index unless another has it now.
  void place_displaced() {
    unsigned next = 0;
    for (unsigned index : indices_) next = std::max(next, index + 1);
    for (const Gpu& gpu : displaced_) next = std::max(next, gpu.index + 1);
    for (Gpu& gpu : displaced_) {
      if (!indices_.insert(gpu.index).second) gpu.index = next++;
      reading_.gpus.push_back(std::move(gpu));
    }
  }

  const Roots& roots_;
  const std::vector<Gpu>& last_;
  host::MigMinors minors_;
  Reading reading_;
  std::vector<std::string> warnings_;
  std::vector<Unread> unread_;
  std::vector<Gpu> displaced_;
  std::set<std::string> seen_;
  std::set<unsigned> indices_;
};

}  // namespace

Result<Driver> start_driver(const DriverAccess& access, std::vector<std::string> candidates,
                            std::shared_ptr<nvml::CallCounters> counters) {
  return access.lane.call("driver", access.limit,
                          [slot = access.slot, candidates = std::move(candidates),
                           counters = std::move(counters)]() -> Result<Driver> {
                            auto session = slot->get();
                            if (!session) {
                              auto library = nvml::Library::open(candidates);
                              if (!library) return fail(std::move(library.error()));
                              auto opened = Session::open(std::move(*library), counters);
                              if (!opened) return fail(std::move(opened.error()));
                              session = std::move(*opened);
                              slot->set(session);
                            }
                            Driver driver;
                            driver.state = DriverState::kReady;
                            driver.version = session->driver_version().value_or("unknown");
                            driver.cuda_version = session->cuda_version().value_or(0);
                            driver.library = session->library().path();
                            return driver;
                          });
}

Result<Reading> read_gpus(const DriverAccess& access, const Roots& roots,
                          const std::vector<Gpu>& last) {
  auto count = access.lane.call("driver", access.limit, [slot = access.slot]() -> Result<unsigned> {
    auto session = session_of(*slot);
    if (!session) return fail(std::move(session.error()));
    return (*session)->gpu_count();
  });
  if (!count) return fail(std::move(count.error()));
  Gatherer gatherer(roots, last);
  for (unsigned index = 0; index < *count; ++index) {
    if (!gatherer.take(index, ask_gpu(access, index))) return fail(gatherer.driver_failure());
  }
  Reading reading = gatherer.finish();
  reading.listed = *count;
  return reading;
}

Result<bool> looks_different(const DriverAccess& access, unsigned listed) {
  return access.lane.call("driver", access.limit, [slot = access.slot, listed]() -> Result<bool> {
    auto session = session_of(*slot);
    if (!session) return fail(std::move(session.error()));
    auto count = (*session)->gpu_count();
    if (!count) return fail(std::move(count.error()));
    if (*count != listed) return true;
    for (unsigned index = 0; index < listed; ++index) {
      if (!(*session)->gpu_by_index(index)) return true;
    }
    return false;
  });
}

}  // namespace kerf::inventory
