// What concerns the node as a whole; the devices are in resource.cc.
#include "labels/labels.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "labels/resource.h"
#include "labels/value.h"

namespace kerf::labels {
namespace {

using inventory::Gpu;

constexpr std::string_view kNfdPrefix = "feature.node.kubernetes.io/";
constexpr std::uint32_t kDisplay = 0x030000;
constexpr std::uint32_t k3d = 0x030200;

std::string truth(bool b) { return b ? "true" : "false"; }

class Maker {
 public:
  Maker(const plan::Plan& plan, const Facts& facts) : plan_(plan), facts_(facts) {}

  Result<Made> run(std::int64_t timestamp_s) {
    if (!plan_.config.labels.no_timestamp) set("gfd.timestamp", std::to_string(timestamp_s));
    if (!plan_.snapshot->gpus.empty()) {
      if (Status status = add_devices(); !status) return fail(std::move(status.error()));
    }
    add_vgpu();
    if (plan_.config.labels.pci_labels) add_pci();
    return std::move(made_);
  }

 private:
  const std::vector<Gpu>& gpus() const { return plan_.snapshot->gpus; }

  void set(std::string_view key, std::string value) {
    made_.labels[std::string(kPrefix).append(key)] = std::move(value);
  }

  Status add_devices() {
    std::string machine = label_value(facts_.machine);
    set("gpu.machine", machine.empty() ? "unknown" : machine);
    add_driver_version();
    add_cuda_version();
    set("mig.capable", truth(std::ranges::any_of(gpus(), &Gpu::mig_capable)));
    bool mps = plan_.config.sharing_strategy == config::SharingStrategy::kMps;
    if (mps && std::ranges::any_of(gpus(), &Gpu::mig_enabled)) {
      return fail(Kind::kConflict, "sharing using MPS is not supported for MIG devices",
                  "sharing.mps", "share with timeSlicing, or switch MIG mode off");
    }
    set("mps.capable", truth(mps));
    const Model model = choose_model(*plan_.snapshot, made_.warnings);
    warn_of_differing_shares(plan_, model, made_.warnings);
    add_gpu_labels(plan_, model, made_.labels);
    add_mig_labels(plan_, made_.labels, made_.warnings);
    set("gpu.mode", mode());
    add_clique();
    return {};
  }

  void add_driver_version() {
    const std::string& version = plan_.snapshot->driver.version;
    std::vector<std::string> pieces = split(version, '.');
    if (pieces.size() < 2 || pieces.size() > 3 || label_value(version) != version) {
      made_.warnings.push_back("The driver's version '" + valid_utf8(version) +
                               "' has not two or three parts and is left out of the labels.");
      return;
    }
    pieces.resize(3);
    set("cuda.driver.major", pieces[0]);
    set("cuda.driver.minor", pieces[1]);
    set("cuda.driver.rev", pieces[2]);
    set("cuda.driver-version.major", pieces[0]);
    set("cuda.driver-version.minor", pieces[1]);
    set("cuda.driver-version.revision", pieces[2]);
    set("cuda.driver-version.full", version);
  }

  void add_cuda_version() {
    int version = plan_.snapshot->driver.cuda_version;
    if (version <= 0) return;
    std::string major = std::to_string(version / 1000);
    std::string minor = std::to_string(version % 1000 / 10);
    set("cuda.runtime.major", major);
    set("cuda.runtime.minor", minor);
    set("cuda.runtime-version.major", major);
    set("cuda.runtime-version.minor", minor);
    set("cuda.runtime-version.full", major + "." + minor);
  }

  // By the PCI class that all GPUs have in common.
  std::string mode() const {
    std::set<std::uint32_t> classes;
    for (const Gpu& gpu : gpus()) {
      auto pci = std::ranges::find(facts_.pci, gpu.pci_bus_id, &host::PciGpu::bus_id);
      classes.insert(pci == facts_.pci.end() ? 0 : pci->class_code);
    }
    if (classes.size() != 1) return "unknown";
    return *classes.begin() == kDisplay ? "graphics"
           : *classes.begin() == k3d    ? "compute"
                                        : "unknown";
  }

  void add_clique() {
    std::set<std::string> cliques;
    for (const Gpu& gpu : gpus()) {
      if (!gpu.fabric) continue;
      cliques.insert(gpu.fabric->cluster_uuid + "." + std::to_string(gpu.fabric->clique));
    }
    if (cliques.size() == 1) set("gpu.clique", label_value(*cliques.begin()));
    if (cliques.size() > 1) {
      made_.warnings.push_back(
          "The GPUs of this node are in different fabric cliques; "
          "nvidia.com/gpu.clique is left out.");
    }
  }

  void add_vgpu() {
    if (!facts_.vgpus) return;
    set("vgpu.present", truth(!facts_.vgpus->empty()));
    if (facts_.vgpus->empty()) return;
    const host::Vgpu& vgpu = facts_.vgpus->front();
    std::string version = label_value(vgpu.host_driver_version);
    std::string branch = label_value(vgpu.host_driver_branch);
    if (!version.empty()) set("vgpu.host-driver-version", std::move(version));
    if (!branch.empty()) set("vgpu.host-driver-branch", std::move(branch));
  }

  // As node-feature-discovery names them, whether it joins the class to the vendor or not.
  void add_pci() {
    auto present = [&](const std::string& name) {
      made_.labels[std::string(kNfdPrefix) + "pci-" + name + ".present"] = "true";
    };
    for (const host::PciGpu& pci : facts_.pci) {
      present("10de");
      if (pci.class_code == kDisplay) present("0300_10de");
      if (pci.class_code == k3d) present("0302_10de");
    }
  }

  const plan::Plan& plan_;
  const Facts& facts_;
  Made made_;
};

}  // namespace

Result<Made> make_labels(const plan::Plan& plan, const Facts& facts, std::int64_t timestamp_s) {
  return Maker(plan, facts).run(timestamp_s);
}

}  // namespace kerf::labels
