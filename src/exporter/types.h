// What the exporter's rooms hand to each other, as plain values: what was read of the GPUs, and who
// uses them. Knows nothing of NVML, the kubelet or HTTP.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kerf::exporter {

// One figure. Blank: the GPU has none, or it could not be read; a blank is never printed.
class Value {
 public:
  enum class Kind : std::uint8_t { kBlank, kInteger, kReal };

  Value() = default;
  static Value integer(std::int64_t number) {
    Value out;
    out.kind_ = Kind::kInteger;
    out.integer_ = number;
    return out;
  }
  // A number that is not finite gives a blank.
  static Value real(double number);

  Kind kind() const { return kind_; }
  bool blank() const { return kind_ == Kind::kBlank; }
  std::int64_t integer() const { return integer_; }
  double real() const { return real_; }
  bool operator==(const Value& other) const;

 private:
  Kind kind_ = Kind::kBlank;
  union {
    std::int64_t integer_ = 0;
    double real_;
  };
};

// A GPU or a GPU instance of MIG, as labels describe it. Source of the labels: metrics contract
// §1.1.
struct Entity {
  unsigned gpu = 0;        // NVML index
  std::string uuid;        // "GPU-…" of the physical GPU
  std::string pci_bus_id;  // "00000000:17:00.0"
  std::string model;       // "NVIDIA H200"
  struct Instance {
    unsigned id = 0;                 // of the GPU instance
    std::string profile;             // "1g.10gb"
    std::vector<std::string> uuids;  // "MIG-…" of the compute instances in it
    bool operator==(const Instance&) const = default;
  };
  std::optional<Instance> instance;
  bool operator==(const Entity&) const = default;
};

// What was read of one entity. `values` and `texts` are parallel to Counters::values and
// Counters::labels (counters.h); an empty text is a blank.
struct Reading {
  Entity entity;
  std::vector<Value> values;
  std::vector<std::string> texts;
  std::int64_t read_ms = 0;  // monotonic clock

  // Samples of the exporter's own counters: labels in their order, and the value.
  struct Extra {
    std::size_t counter = 0;  // position in Counters::computed
    std::vector<std::pair<std::string, std::string>> labels;
    std::int64_t value = 0;
  };
  std::vector<Extra> extras;
};

// One container that was given a device or a share of it.
struct Share {
  std::string pod;
  std::string name_space;
  std::string container;
  std::string uid;                  // of the pod; empty: not known or not wanted
  std::optional<unsigned> replica;  // which share of a device that is shared
  std::vector<std::pair<std::string, std::string>> labels;      // of the pod, names as they are
  std::vector<std::pair<std::string, std::string>> attributes;  // dra_…, sorted by name
  // What the processes of the container use of the device, where it is shared. Of a container that
  // holds several shares each has its part.
  struct Own {
    std::optional<std::int64_t> memory_mib;
    std::optional<double> busy;             // of the device's activity, 0 to 1
    std::optional<double> power;            // of the device's power, 0 to 1
    std::optional<std::int64_t> energy_mj;  // counter
    bool operator==(const Own&) const = default;
  };
  // With a value its figures are its own, and left out where they are not known; without one it has
  // the device's.
  std::optional<Own> own;
  bool operator==(const Share&) const = default;
};

// Who uses what: shares by device, which is the UUID of a GPU or of a MIG device, in the order in
// which the kubelet lists them.
using Attribution = std::map<std::string, std::vector<Share>, std::less<>>;

// Jobs of a batch system by GPU index, or "index.instance". Source: --hpc-job-mapping-dir.
using Jobs = std::map<std::string, std::vector<std::string>, std::less<>>;

}  // namespace kerf::exporter
