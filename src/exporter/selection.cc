#include "exporter/selection.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "base/strings.h"

namespace kerf::exporter {
namespace {

constexpr std::uint64_t kMaxNumber = 1023;  // more GPUs or instances than any node has

Unexpected refuse(std::string_view text) {
  return fail(Kind::kInvalid, "'" + valid_utf8(text) + "' names no devices", "--devices",
              "write f, g, i, or a list: g:0,2-3");
}

// "0,2-5" as numbers in the order given.
std::optional<std::vector<unsigned>> parse_numbers(std::string_view text) {
  std::vector<unsigned> out;
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> ends = split(trim(part), '-');
    std::optional<std::uint64_t> first = parse_u64(ends.front());
    std::optional<std::uint64_t> last = parse_u64(ends.back());
    if (ends.size() > 2 || !first || !last || *first > *last || *last > kMaxNumber) return {};
    for (std::uint64_t n = *first; n <= *last; ++n) out.push_back(static_cast<unsigned>(n));
  }
  return out;
}

bool wanted(const Selection& selection, unsigned number) {
  return selection.numbers.empty() ||
         std::ranges::find(selection.numbers, number) != selection.numbers.end();
}

Entity gpu_entity(const inventory::Gpu& gpu) {
  return {gpu.index, gpu.uuid, dcgm_bus_id(gpu.pci_bus_id), gpu.name, {}};
}

std::vector<Entity> instances_of(const inventory::Gpu& gpu) {
  std::map<unsigned, Entity::Instance> found;
  for (const inventory::MigDevice& device : gpu.mig_devices) {
    Entity::Instance& instance = found[device.gpu_instance];
    instance.id = device.gpu_instance;
    // "1c.3g.40gb" is a part of the instance "3g.40gb".
    const std::size_t part = device.profile.find("c.");
    const std::string profile =
        part == std::string::npos ? device.profile : device.profile.substr(part + 2);
    if (instance.profile.empty()) instance.profile = profile;
    instance.uuids.push_back(device.uuid);
  }
  std::vector<Entity> out;
  for (auto& [id, instance] : found) {
    out.push_back(gpu_entity(gpu));
    out.back().instance = std::move(instance);
  }
  return out;
}

}  // namespace

Result<Selection> parse_selection(std::string_view text) {
  Selection out;
  if (text == "f") return out;
  if (text.empty() || (text[0] != 'g' && text[0] != 'i')) return refuse(text);
  out.what = text[0] == 'g' ? Selection::What::kGpus : Selection::What::kInstances;
  if (text.size() == 1) return out;
  if (text[1] != ':') return refuse(text);
  std::optional<std::vector<unsigned>> numbers = parse_numbers(text.substr(2));
  if (!numbers) return refuse(text);
  out.numbers = std::move(*numbers);
  return out;
}

std::vector<Entity> select_entities(const inventory::Snapshot& snapshot,
                                    const Selection& selection) {
  std::vector<Entity> out;
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    if (selection.what == Selection::What::kGpus) {
      if (wanted(selection, gpu.index)) out.push_back(gpu_entity(gpu));
      continue;
    }
    std::vector<Entity> instances = instances_of(gpu);
    if (selection.what == Selection::What::kFlexible && instances.empty()) {
      out.push_back(gpu_entity(gpu));
    }
    for (Entity& entity : instances) {
      const bool is_wanted = selection.what == Selection::What::kFlexible ||
                             wanted(selection, entity.instance ? entity.instance->id : 0);
      if (is_wanted) out.push_back(std::move(entity));
    }
  }
  return out;
}

std::string dcgm_bus_id(std::string_view sysfs) {
  const std::size_t colon = sysfs.find(':');
  if (colon == std::string_view::npos) return std::string(sysfs);
  std::string out(colon < 8 ? 8 - colon : 0, '0');
  for (char c : sysfs) out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace kerf::exporter
