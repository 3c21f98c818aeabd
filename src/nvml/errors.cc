#include "nvml/errors.h"

#include <iterator>

namespace kerf::nvml {

namespace {

struct Meaning {
  std::string_view name;
  Kind kind;
  std::string_view text;
  std::string_view hint;
};

constexpr std::string_view kReset = "drain the node, then reset the GPU or reboot";

// Indexed by code.
constexpr Meaning kMeanings[] = {
    {"success", Kind::kInternal, "no error", ""},
    {"uninitialized", Kind::kGone, "the library is not initialised", "was the driver unloaded?"},
    {"invalid_argument", Kind::kInvalid, "invalid argument", ""},
    {"not_supported", Kind::kUnsupported, "not supported by this GPU", ""},
    {"no_permission", Kind::kDenied, "no permission",
     "check the rights on the NVIDIA device nodes; some queries need root"},
    {"already_initialized", Kind::kConflict, "already initialised", ""},
    {"not_found", Kind::kNotFound, "not found", ""},
    {"insufficient_size", Kind::kInternal, "buffer too small", ""},
    {"insufficient_power", Kind::kInternal, "external power cables are not properly attached",
     "check the power cables of the board"},
    {"driver_not_loaded", Kind::kGone, "the driver is not loaded",
     "is the NVIDIA kernel module loaded? see lsmod or kerf modules"},
    {"timeout", Kind::kTimeout, "the driver reported a timeout", ""},
    {"irq_issue", Kind::kInternal, "the kernel found an interrupt problem with a GPU",
     "see the kernel log"},
    {"library_not_found", Kind::kNotFound, "a library of the driver could not be loaded",
     "is the driver installation complete?"},
    {"function_not_found", Kind::kUnsupported, "this driver's library has no such function",
     "a newer driver may have it"},
    {"corrupted_inforom", Kind::kCorrupt, "the GPU's inforom is corrupted",
     "the board may have to be replaced"},
    {"gpu_is_lost", Kind::kGone, "the GPU has fallen off the bus or become inaccessible",
     "see the kernel log for Xid 79; a reset or reboot brings it back"},
    {"reset_required", Kind::kConflict, "the GPU must be reset before it can be used", kReset},
    {"operating_system", Kind::kDenied, "the GPU is blocked by the operating system or cgroup",
     "does the container see the NVIDIA device nodes?"},
    {"lib_rm_version_mismatch", Kind::kConflict,
     "driver and management library have different versions",
     "the driver was upgraded under a running process: restart this pod, or reboot the node if the "
     "old kernel module is still loaded"},
    {"in_use", Kind::kBusy, "the GPU is in use", ""},
    {"memory", Kind::kInternal, "out of memory", ""},
    {"no_data", Kind::kNotFound, "no data", ""},
    {"vgpu_ecc_not_supported", Kind::kUnsupported, "not possible with ECC enabled", ""},
    {"insufficient_resources", Kind::kBusy, "not enough free resources on the GPU", ""},
    {"freq_not_supported", Kind::kUnsupported, "frequency not supported", ""},
    {"argument_version_mismatch", Kind::kUnsupported, "structure version not supported",
     "the driver may be too old"},
    {"deprecated", Kind::kUnsupported, "the function is no longer supported", ""},
    {"not_ready", Kind::kBusy, "the system is not ready", ""},
    {"gpu_not_found", Kind::kNotFound, "no such GPU", ""},
    {"invalid_state", Kind::kConflict, "the GPU is not in a state that allows this", ""},
    {"reset_type_not_supported", Kind::kUnsupported, "this kind of reset is not supported", ""},
};
constexpr Meaning kUnknownMeaning = {"unknown", Kind::kInternal,
                                     "the driver reported an internal error", "see the kernel log"};
static_assert(std::size(kMeanings) == 31);

}  // namespace

std::string return_name(std::uint32_t code) {
  if (code < std::size(kMeanings)) return std::string(kMeanings[code].name);
  if (code == abi::kErrorUnknown) return std::string(kUnknownMeaning.name);
  return "code_" + std::to_string(code);
}

Error error_for(std::uint32_t code, std::string_view function, std::string subject) {
  const Meaning& meaning = code < std::size(kMeanings) ? kMeanings[code] : kUnknownMeaning;
  Error error;
  error.kind = meaning.kind;
  error.what = std::string(function) + ": " + std::string(meaning.text);
  error.subject = std::move(subject);
  error.hint = meaning.hint;
  error.native = static_cast<int>(code);
  return error;
}

bool is_driver_failure(int native) {
  return native == abi::kErrorUninitialized || native == abi::kErrorDriverNotLoaded ||
         native == abi::kErrorLibRmVersionMismatch;
}

void CallCounters::count(std::uint32_t code) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  if (code == abi::kSuccess) return;
  std::size_t slot = code < std::size(kMeanings)  ? code
                     : code == abi::kErrorUnknown ? kUnknown
                                                  : kOther;
  codes_[slot].fetch_add(1, std::memory_order_relaxed);
}

CallStats CallCounters::read() const {
  CallStats stats;
  stats.calls = calls_.load(std::memory_order_relaxed);
  for (std::size_t slot = 0; slot < codes_.size(); ++slot) {
    std::uint64_t n = codes_[slot].load(std::memory_order_relaxed);
    if (n == 0) continue;
    std::string name = slot == kUnknown ? "unknown"
                       : slot == kOther ? "other"
                                        : std::string(kMeanings[slot].name);
    stats.errors[name] = n;
  }
  return stats;
}

}  // namespace kerf::nvml
