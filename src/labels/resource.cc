#include "labels/resource.h"

#include <algorithm>
#include <map>
#include <utility>

#include "labels/value.h"

namespace kerf::labels {
namespace {

using config::MigStrategy;
using inventory::Gpu;
using inventory::MigDevice;

// One MIG device by its place.
struct Place {
  std::size_t gpu;
  std::size_t mig;
};
using Places = std::vector<Place>;

std::string_view family(int major, int minor) {
  switch (major) {
    case 1:
      return "tesla";
    case 2:
      return "fermi";
    case 3:
      return "kepler";
    case 5:
      return "maxwell";
    case 6:
      return "pascal";
    case 7:
      return minor < 5 ? "volta" : "turing";
    case 8:
      return minor < 9 ? "ampere" : "ada-lovelace";
    case 9:
      return "hopper";
    case 10:
    case 12:
      return "blackwell";
    case 13:
      return "rubin";
    default:
      return "undefined";
  }
}

bool is_renamed(const config::Config& config, std::string_view resource) {
  return std::ranges::any_of(config.sharing.resources, [&](const config::SharedResource& entry) {
    return entry.replicas > 1 && entry.rename == resource;
  });
}

// product, count, replicas and sharing-strategy under `key` ("nvidia.com/gpu.").
void add_base(const std::string& key, const std::string& model, std::string ending,
              std::size_t count, const Shared& shared, Labels& labels) {
  if (shared.replicas > 1 && !shared.renamed) ending += "-SHARED";
  labels[key + "product"] = product_value(model, ending);
  labels[key + "count"] = std::to_string(count);
  labels[key + "replicas"] = std::to_string(shared.replicas);
  labels[key + "sharing-strategy"] = shared.strategy;
}

const MigDevice& device_at(const inventory::Snapshot& snapshot, Place place) {
  return snapshot.gpus[place.gpu].mig_devices[place.mig];
}

// All of one profile, labelled as the first of them is.
void add_profile(const plan::Plan& plan, const std::string& key, const Places& places,
                 Labels& labels) {
  const Place first = places.front();
  const MigDevice& mig = device_at(*plan.snapshot, first);
  add_base(key, plan.snapshot->gpus[first.gpu].name, "-MIG-" + sanitise(mig.profile), places.size(),
           shared(plan, first.gpu, first.mig), labels);
  const std::pair<const char*, std::uint64_t> numbers[] = {
      {"memory", mig.memory_mib},
      {"multiprocessors", mig.multiprocessors},
      {"slices.gi", mig.gpu_slices},
      {"slices.ci", mig.compute_slices},
      {"engines.copy", mig.engines.copy},
      {"engines.decoder", mig.engines.decoder},
      {"engines.encoder", mig.engines.encoder},
      {"engines.jpeg", mig.engines.jpeg},
      {"engines.ofa", mig.engines.ofa},
  };
  for (const auto& [name, number] : numbers) labels[key + name] = std::to_string(number);
}

void add_single(const plan::Plan& plan, const std::map<std::string, Places>& profiles,
                Labels& labels, std::vector<std::string>& warnings) {
  const std::vector<Gpu>& gpus = plan.snapshot->gpus;
  auto enabled = std::ranges::find_if(gpus, &Gpu::mig_enabled);
  if (enabled == gpus.end()) return;
  std::string why;
  for (const Gpu& gpu : gpus) {
    if (!gpu.mig_enabled) why = "GPU " + std::to_string(gpu.index) + " is not in MIG mode";
  }
  for (const Gpu& gpu : gpus) {
    if (gpu.mig_enabled && gpu.mig_devices.empty()) {
      why = "GPU " + std::to_string(gpu.index) + " has no MIG devices";
    }
  }
  if (profiles.size() > 1) why = "there are MIG devices of different profiles";
  const std::string key = std::string(kPrefix) + "gpu.";
  if (why.empty()) return add_profile(plan, key, profiles.begin()->second, labels);
  warnings.push_back(
      "The MIG layout does not fit migStrategy single, nvidia.com/gpu.product says "
      "MIG-INVALID: " +
      why + ".");
  add_base(key, enabled->name, "-MIG-INVALID", 0, {0, false, ""}, labels);
  labels[key + "memory"] = "0";
}

}  // namespace

Shared shared(const plan::Plan& plan, std::size_t gpu, std::optional<std::size_t> mig) {
  Shared result;
  for (const plan::Resource& resource : plan.resources) {
    auto is_it = [&](const plan::Device& device) { return device.gpu == gpu && device.mig == mig; };
    auto replicas = static_cast<unsigned>(std::ranges::count_if(resource.devices, is_it));
    if (replicas < 2) continue;
    result.replicas = replicas;
    result.renamed = is_renamed(plan.config, resource.name);
    result.strategy =
        plan.config.sharing_strategy == config::SharingStrategy::kMps ? "mps" : "time-slicing";
  }
  return result;
}

void warn_of_differing_shares(const plan::Plan& plan, const Model& model,
                              std::vector<std::string>& warnings) {
  const unsigned first = shared(plan, model.first, std::nullopt).replicas;
  for (std::size_t at : model.gpus) {
    const Gpu& gpu = plan.snapshot->gpus[at];
    if (gpu.mig_enabled) continue;
    const unsigned replicas = shared(plan, at, std::nullopt).replicas;
    if (replicas == first) continue;
    warnings.push_back(
        "GPUs of this node have different numbers of replicas; "
        "nvidia.com/gpu.replicas says " +
        std::to_string(first) + ", that of GPU " +
        std::to_string(plan.snapshot->gpus[model.first].index) + ", while GPU " +
        std::to_string(gpu.index) + " has " + std::to_string(replicas) + ".");
    return;
  }
}

Model choose_model(const inventory::Snapshot& snapshot, std::vector<std::string>& warnings) {
  std::vector<Model> models;
  for (std::size_t at = 0; at < snapshot.gpus.size(); ++at) {
    const Gpu& gpu = snapshot.gpus[at];
    auto model = std::ranges::find(models, gpu.name, &Model::name);
    if (model == models.end()) model = models.insert(models.end(), {gpu.name, {}, at, false});
    if (!gpu.mig_enabled && !model->has_whole) {
      model->first = at;
      model->has_whole = true;
    }
    model->gpus.push_back(at);
  }
  auto rank = [&](const Model& model) {
    auto is_whole = [&](std::size_t at) { return !snapshot.gpus[at].mig_enabled; };
    return std::pair(std::ranges::count_if(model.gpus, is_whole), model.gpus.size());
  };
  // The first of the greatest: models stand in order of their lowest index.
  auto best = std::ranges::max_element(models, {}, rank);
  if (models.size() > 1) {
    warnings.push_back("This node has GPUs of several models; nvidia.com/gpu.* describes " +
                       best->name + " alone.");
  }
  return *best;
}

void add_gpu_labels(const plan::Plan& plan, const Model& model, Labels& labels) {
  const Gpu& gpu = plan.snapshot->gpus[model.first];
  const std::string key = std::string(kPrefix) + "gpu.";
  Shared sharing{0, false, "none"};
  if (model.has_whole) sharing = shared(plan, model.first, std::nullopt);
  add_base(key, model.name, "", model.gpus.size(), sharing, labels);
  if (std::uint64_t mib = gpu.memory_bytes.value_or(0) >> 20; mib > 0) {
    labels[key + "memory"] = std::to_string(mib);
  }
  if (gpu.compute_major == 0) return;
  labels[key + "family"] = family(gpu.compute_major, gpu.compute_minor);
  labels[key + "compute.major"] = std::to_string(gpu.compute_major);
  labels[key + "compute.minor"] = std::to_string(gpu.compute_minor);
}

void add_mig_labels(const plan::Plan& plan, Labels& labels, std::vector<std::string>& warnings) {
  const MigStrategy strategy = plan.config.mig_strategy;
  if (strategy == MigStrategy::kNone) return;
  labels[std::string(kPrefix) + "mig.strategy"] =
      strategy == MigStrategy::kSingle ? "single" : "mixed";
  std::map<std::string, Places> profiles;
  const std::vector<Gpu>& gpus = plan.snapshot->gpus;
  for (std::size_t gpu = 0; gpu < gpus.size(); ++gpu) {
    if (!gpus[gpu].mig_enabled) continue;
    for (std::size_t mig = 0; mig < gpus[gpu].mig_devices.size(); ++mig) {
      profiles[gpus[gpu].mig_devices[mig].profile].push_back({gpu, mig});
    }
  }
  if (strategy == MigStrategy::kSingle) return add_single(plan, profiles, labels, warnings);
  for (const auto& [profile, places] : profiles) {
    std::string name = profile;
    std::ranges::replace(name, '+', '.');
    add_profile(plan, std::string(kPrefix) + "mig-" + name + ".", places, labels);
  }
}

}  // namespace kerf::labels
