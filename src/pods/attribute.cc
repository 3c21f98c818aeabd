#include "pods/attribute.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "base/strings.h"

namespace kerf::pods {
namespace {

using inventory::Gpu;
using inventory::MigDevice;
using inventory::Snapshot;

// Takes a decimal number off the front; leading zeros and signs are no part of any id.
std::optional<unsigned> take_number(std::string_view& text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto size = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || (size > 1 && text.front() == '0')) return std::nullopt;
  text.remove_prefix(size);
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// A prefix with a number behind it. False when there is the prefix and no number.
bool take_part(std::string_view& text, std::string_view prefix, std::optional<unsigned>& out) {
  if (!take(text, prefix)) return true;
  out = take_number(text);
  return out.has_value();
}

// "0", "0:1"
std::optional<DeviceId> by_index(std::string_view text) {
  DeviceId out;
  out.gpu = take_number(text);
  if (!out.gpu) return std::nullopt;
  return take_part(text, ":", out.mig) && text.empty() ? std::optional(out) : std::nullopt;
}

// "nvidia0", "nvidia0/gi1", "nvidia0/vgpu2", "nvidia0/gi1/vgpu2"
std::optional<DeviceId> by_node(std::string_view text) {
  DeviceId out;
  const bool whole = take_part(text, "nvidia", out.gpu) &&
                     take_part(text, "/gi", out.gpu_instance) &&
                     take_part(text, "/vgpu", out.replica) && text.empty();
  return whole && out.gpu ? std::optional(out) : std::nullopt;
}

// "MIG-GPU-<uuid>/<gi>/<ci>", as drivers before 470 name MIG devices.
std::optional<DeviceId> by_old_mig(std::string_view text) {
  DeviceId out;
  take(text, "MIG-");
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  out.uuid = text.substr(0, slash);
  text.remove_prefix(slash);
  const bool whole = take_part(text, "/", out.gpu_instance) &&
                     take_part(text, "/", out.compute_instance) && text.empty();
  return whole && out.compute_instance ? std::optional(out) : std::nullopt;
}

const Gpu* find_gpu(const Snapshot& snapshot, const DeviceId& id) {
  auto matches = [&id](const Gpu& gpu) {
    return id.uuid.empty() ? gpu.index == id.gpu : gpu.uuid == id.uuid;
  };
  auto found = std::ranges::find_if(snapshot.gpus, matches);
  return found == snapshot.gpus.end() ? nullptr : &*found;
}

const MigDevice* find_mig(const Gpu& gpu, const DeviceId& id) {
  auto matches = [&id](const MigDevice& mig) {
    if (id.mig) return mig.index == *id.mig;
    if (!id.gpu_instance) return mig.uuid == id.uuid;
    return mig.gpu_instance == *id.gpu_instance &&
           mig.compute_instance == id.compute_instance.value_or(mig.compute_instance);
  };
  auto found = std::ranges::find_if(gpu.mig_devices, matches);
  return found == gpu.mig_devices.end() ? nullptr : &*found;
}

void fill(PodDevice& out, const Snapshot& snapshot, const Gpu& gpu, const MigDevice* mig) {
  out.gpu = static_cast<unsigned>(&gpu - snapshot.gpus.data());
  out.gpu_uuid = gpu.uuid;
  out.uuid = mig != nullptr ? mig->uuid : gpu.uuid;
  if (mig == nullptr) return;
  out.gpu_instance = mig->gpu_instance;
  out.compute_instance = mig->compute_instance;
}

bool resolve(PodDevice& out, const DeviceId& id, const Snapshot& snapshot) {
  if (id.uuid.starts_with("MIG-")) {
    for (const Gpu& gpu : snapshot.gpus) {
      if (const MigDevice* mig = find_mig(gpu, id)) return fill(out, snapshot, gpu, mig), true;
    }
    return false;
  }
  const Gpu* gpu = find_gpu(snapshot, id);
  if (gpu == nullptr) return false;
  const MigDevice* mig = nullptr;
  if (id.mig || id.gpu_instance) {
    mig = find_mig(*gpu, id);
    if (mig == nullptr) return false;
  }
  fill(out, snapshot, *gpu, mig);
  return true;
}

}  // namespace

std::optional<DeviceId> parse_device_id(std::string_view id) {
  std::optional<unsigned> replica;
  if (const std::size_t at = id.rfind("::"); at != std::string_view::npos) {
    std::string_view number = id.substr(at + 2);
    replica = take_number(number);
    if (!replica || !number.empty()) return std::nullopt;
    id = id.substr(0, at);
  }
  std::optional<DeviceId> out;
  if (id.starts_with("MIG-GPU-")) {
    out = by_old_mig(id);
  } else if ((id.starts_with("GPU-") || id.starts_with("MIG-")) && id.size() > 4) {
    out.emplace().uuid = id;
  } else if (id.starts_with("nvidia")) {
    out = by_node(id);
  } else {
    out = by_index(id);
  }
  if (out && replica) out->replica = replica;
  return out;
}

std::vector<PodDevice> attribute(const Pods& pods, const Snapshot& snapshot) {
  std::map<Owner, std::shared_ptr<const PodFacts>> known;
  for (const auto& [uid, facts] : pods.facts) known[{facts->name_space, facts->pod, ""}] = facts;
  std::vector<PodDevice> out;
  for (const Container& container : pods.containers) {
    const Owner& owner = container.owner;
    auto facts = known.find({owner.name_space, owner.pod, ""});
    for (const Container::Devices& devices : container.devices) {
      for (const std::string& id : devices.ids) {
        std::optional<DeviceId> parsed = parse_device_id(id);
        const bool number = parsed && parsed->uuid.empty() && !id.starts_with("nvidia");
        if (!parsed || (number && !devices.resource.starts_with("nvidia.com/"))) continue;
        PodDevice device;
        if (!resolve(device, *parsed, snapshot)) continue;
        device.owner = owner;
        device.resource = devices.resource;
        device.id = id;
        device.replica = parsed->replica;
        if (facts != known.end()) device.facts = facts->second;
        out.push_back(std::move(device));
      }
    }
  }
  return out;
}

}  // namespace kerf::pods
