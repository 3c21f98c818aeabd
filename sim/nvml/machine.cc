#include "machine.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "fields.h"
#include "mig_table.h"

namespace nvmlsim {
namespace {

constexpr std::pair<const char*, uint32_t> kArchitectures[] = {
    {"pascal", 4}, {"volta", 5},  {"turing", 6},     {"ampere", 7},
    {"ada", 8},    {"hopper", 9}, {"blackwell", 10}, {"rubin", 13}};
constexpr std::pair<const char*, uint32_t> kBrands[] = {
    {"unknown", 0}, {"quadro", 1},      {"tesla", 2},       {"geforce", 5},
    {"titan", 6},   {"quadro-rtx", 12}, {"nvidia-rtx", 13}, {"nvidia", 14}};
constexpr std::pair<const char*, uint32_t> kVirtualization[] = {
    {"none", 0}, {"passthrough", 1}, {"vgpu", 2}, {"host-vgpu", 3}, {"host-vsga", 4}};
constexpr std::pair<const char*, uint32_t> kAddressing[] = {{"none", 0}, {"hmm", 1}, {"ats", 2}};
constexpr std::pair<const char*, uint32_t> kFabricStates[] = {
    {"not-supported", 0}, {"not-started", 1}, {"in-progress", 2}, {"completed", 3}};
constexpr std::pair<const char*, uint32_t> kLinkVersions[] = {
    {"1.0", 1}, {"2.0", 2}, {"2.2", 3}, {"3.0", 4}, {"3.1", 5}, {"4.0", 6}, {"5.0", 7}, {"6.0", 8}};

// Links to switches: `counts[i]` of them to the i-th switch of the GPU's own baseboard.
void read_links(Fields fields, const Machine& machine, GpuSpec& gpu, uint32_t self) {
  fields.number("speed_mbps", gpu.link_mbps);
  fields.choice("version", gpu.link_version, kLinkVersions);
  const YamlNode* switches = fields.get("per_switch");
  const YamlNode* peers = fields.get("peers");
  const auto add = [&](uint32_t type, uint32_t peer, const YamlNode& at) {
    if (gpu.link_count >= kMaxLinks)
      return fields.report().fail(at.line, fields.path("per_switch"), "more than 36 links");
    gpu.links[gpu.link_count++] = {type, peer};
  };
  if (switches) {
    std::vector<uint32_t> own;
    for (uint32_t i = 0; i < machine.switch_count; ++i)
      if (machine.switches[i].baseboard == gpu.baseboard) own.push_back(i);
    if (switches->items.size() > own.size())
      fields.report().fail(switches->line, fields.path("per_switch"),
                           "lists more switches than the GPU's baseboard has");
    for (std::size_t i = 0; i < switches->items.size() && i < own.size(); ++i) {
      double count = 0;
      if (!to_number(switches->items[i].text, count) || count < 0 || count > kMaxLinks)
        fields.report().fail(switches->line, fields.path("per_switch"),
                             "expected numbers of links");
      for (int k = 0; k < static_cast<int>(count); ++k) add(2, own[i], *switches);
    }
  }
  if (peers) {
    for (const YamlNode& item : peers->items) {
      double peer = 0;
      if (!to_number(item.text, peer) || peer < 0 || peer >= kMaxGpus)
        fields.report().fail(peers->line, fields.path("peers"), "expected indices of GPUs");
      else if (static_cast<uint32_t>(peer) != self)
        add(0, static_cast<uint32_t>(peer), *peers);
    }
  }
  fields.finish();
}

void read_mig(Fields fields, GpuSpec& gpu) {
  if (const YamlNode* table = fields.get("table")) {
    gpu.mig_table = find_mig_table(table->text.c_str());
    if (!gpu.mig_table)
      fields.report().fail(
          table->line, fields.path("table"),
          "'" + table->text + "' is none of a100-40, a100-80, a30, h100-80, h200, b200");
  }
  fields.flag("enabled", gpu.mig_enabled);
  if (const YamlNode* devices = fields.get("devices")) {
    const MigTable* table = mig_table(gpu.mig_table);
    for (const YamlNode& item : devices->items) {
      const MigProfile* profile = table ? find_profile_by_name(*table, item.text.c_str()) : nullptr;
      if (!profile || !gpu.mig_enabled || gpu.mig_device_count >= kMaxGpuInstances)
        return fields.report().fail(
            item.line, fields.path("devices"),
            "'" + item.text +
                "' is no profile of this GPU's table, MIG is not enabled, or there are too many");
      gpu.mig_devices[gpu.mig_device_count++] = profile->profile;
    }
  }
  fields.finish();
}

void read_fabric(Fields fields, GpuSpec& gpu) {
  if (!fields.get("state")) return fields.finish();
  gpu.fabric = 1;
  fields.choice("state", gpu.fabric_state, kFabricStates);
  fields.number("clique", gpu.fabric_clique);
  if (const YamlNode* cluster = fields.get("cluster")) {
    std::string hex;
    for (const char c : cluster->text)
      if (c != '-') hex += c;
    for (std::size_t i = 0; i < 16; ++i) {
      unsigned byte = 0;
      if (hex.size() != 32 || std::sscanf(hex.c_str() + 2 * i, "%2x", &byte) != 1)
        return fields.report().fail(cluster->line, fields.path("cluster"), "expected a UUID");
      gpu.fabric_cluster[i] = static_cast<uint8_t>(byte);
    }
  }
  fields.finish();
}

void read_hardware(Fields& f, GpuSpec& g) {
  f.text("name", g.name, true);
  f.text("part_number", g.part_number);
  f.text("vbios", g.vbios);
  f.text("cpus", g.cpus);
  f.pci_id("pci_id", g.pci_id);
  f.pci_id("subsystem_id", g.subsystem_id);
  f.choice("brand", g.brand, kBrands);
  f.choice("architecture", g.architecture, kArchitectures);
  if (const YamlNode* cc = f.get("compute_capability")) {
    if (std::sscanf(cc->text.c_str(), "%u.%u", &g.cc_major, &g.cc_minor) != 2)
      f.report().fail(cc->line, f.path("compute_capability"), "expected a pair like 8.6");
  }
  f.number("sms", g.sm_count);
  f.number("cores", g.core_count);
  f.number("bar1_mib", g.bar1_mib);
  f.flag("ecc", g.ecc);
  f.flag("page_retirement", g.page_retirement);
  f.flag("row_remapper", g.row_remapper);
  f.number("remap_banks", g.remap_banks);
  f.flag("gpm", g.gpm);
  f.number("fans", g.fans);
  f.flag("persistence", g.persistence);
  f.choice("virtualization", g.virtualization, kVirtualization);
  g.addressing_supported = f.get("addressing") != nullptr;
  f.choice("addressing", g.addressing, kAddressing);
  Fields inforom = f.sub("inforom");
  inforom.text("image", g.inforom_image);
  inforom.text("oem", g.inforom_oem);
  inforom.text("ecc", g.inforom_ecc);
  inforom.text("power", g.inforom_power);
  inforom.finish();
  Fields pcie = f.sub("pcie");
  pcie.number("gen", g.pcie_gen);
  g.pcie_gen_now = g.pcie_gen;
  pcie.number("width", g.pcie_width);
  pcie.number("gen_now", g.pcie_gen_now);
  pcie.finish();
}

void read_limits(Fields& f, GpuSpec& g) {
  Fields memory = f.sub("memory");
  g.memory_info = memory.get("total_mib") != nullptr;
  memory.number("total_mib", g.memory_mib);
  memory.number("reserved_mib", g.reserved_mib);
  memory.number("used_mib", g.memory_used_mib);
  memory.number("bus_width", g.memory_bus_width);
  memory.finish();
  Fields power = f.sub("power");
  g.power_limits = power.get("max_w") != nullptr;
  g.power_usage = power.get("idle_w") != nullptr;
  power.number("min_w", g.power_min_mw, 1000);
  power.number("max_w", g.power_max_mw, 1000);
  power.number("default_w", g.power_default_mw, 1000);
  power.number("idle_w", g.power_idle_mw, 1000);
  power.finish();
  if (g.power_limits &&
      !(g.power_min_mw <= g.power_default_mw && g.power_default_mw <= g.power_max_mw))
    f.report().fail(power.line(), f.path("power"), "min_w <= default_w <= max_w does not hold");
  Fields clocks = f.sub("clocks");
  clocks.number("sm_max", g.clock_sm_max);
  clocks.number("memory_max", g.clock_mem_max);
  clocks.number("video_max", g.clock_video_max);
  clocks.number("sm_idle", g.clock_sm_idle);
  clocks.number("memory_idle", g.clock_mem_idle);
  clocks.finish();
  Fields temp = f.sub("temperature");
  temp.number("idle", g.temp_idle);
  temp.number("load", g.temp_load);
  temp.number("shutdown", g.temp_shutdown);
  temp.number("slowdown", g.temp_slowdown);
  temp.number("gpu_max", g.temp_gpu_max);
  temp.number("memory_max", g.temp_mem_max);
  temp.flag("margins", g.temp_margins);
  temp.flag("memory_sensor", g.memory_temp);
  temp.finish();
  f.number("load", g.load_pct, 1, 100);
}

void read_place(Fields& f, GpuSpec& g, uint32_t index, const Machine& machine, uint64_t hash) {
  g.minor = index;
  g.numa = g.root = g.pcie_switch = kNone;
  f.bus("bus_id", g.bus_id, true);
  f.number("minor", g.minor);
  f.number("module_id", g.module_id);
  f.number("numa", g.numa);
  f.number("root", g.root);
  f.number("pcie_switch", g.pcie_switch);
  f.number("baseboard", g.baseboard);
  f.text("serial", g.serial);
  f.text("uuid", g.uuid);
  if (!g.uuid[0])
    std::snprintf(g.uuid, sizeof(g.uuid), "%s",
                  make_uuid("GPU", hash_text(machine.name), index).c_str());
  g.seed = hash_text(g.uuid, hash);
}

void read_gpus(Report& report, const YamlNode& root, Declared& out) {
  const YamlNode* defaults = root.find("defaults");
  const YamlNode* gpus = root.find("gpus");
  Machine& machine = out.machine;
  if (!gpus || gpus->kind == YamlNode::Kind::kNull) return;
  if (gpus->kind != YamlNode::Kind::kSequence)
    return report.fail(gpus->line, "gpus", "expected a list");
  std::set<std::string> ids;
  for (const YamlNode& item : gpus->items) {
    const uint32_t index = machine.gpu_count;
    const std::string path = "gpus[" + std::to_string(index) + "]";
    if (index == kMaxGpus) return report.fail(item.line, path, "more than 32 GPUs");
    GpuSpec& gpu = machine.gpus[machine.gpu_count++];
    Fields fields(report, path, &item, defaults);
    read_hardware(fields, gpu);
    read_limits(fields, gpu);
    read_place(fields, gpu, index, machine, out.hash);
    read_links(fields.sub("nvlink"), machine, gpu, index);
    read_mig(fields.sub("mig"), gpu);
    read_fabric(fields.sub("fabric"), gpu);
    fields.finish();
    if (!ids.insert(gpu.uuid).second || !ids.insert(bus_id_text(gpu.bus_id)).second)
      report.fail(item.line, path, "shares its uuid or bus_id with another GPU");
  }
}

void read_switches(Report& report, const YamlNode& root, Machine& machine) {
  const YamlNode* switches = root.find("switches");
  if (!switches) return;
  for (const YamlNode& item : switches->items) {
    const std::string path = "switches[" + std::to_string(machine.switch_count) + "]";
    if (machine.switch_count == kMaxSwitches)
      return report.fail(item.line, path, "more than 16 switches");
    SwitchSpec& spec = machine.switches[machine.switch_count++];
    Fields fields(report, path, &item, nullptr);
    spec.numa = kNone;
    fields.bus("bus_id", spec.bus_id, true);
    fields.pci_id("pci_id", spec.pci_id);
    fields.number("numa", spec.numa);
    fields.number("baseboard", spec.baseboard);
    fields.text("uuid", spec.uuid);
    if (!spec.uuid[0])
      std::snprintf(spec.uuid, sizeof(spec.uuid), "%s",
                    make_uuid("SWX", hash_text(machine.name), machine.switch_count).c_str());
    fields.finish();
  }
}

void read_processes(Report& report, const YamlNode& root, Declared& out) {
  const YamlNode* processes = root.find("processes");
  if (!processes) return;
  for (const YamlNode& item : processes->items) {
    const std::string path = "processes[" + std::to_string(out.processes.size()) + "]";
    Fields fields(report, path, &item, nullptr);
    Process p{};
    p.used = 1;
    p.type = 'C';
    p.gi = p.ci = kNone;
    fields.number("gpu", p.gpu);
    fields.number("pid", p.pid);
    fields.number("memory_mib", p.memory_mib);
    fields.number("sm", p.sm_pct, 1, 100);
    fields.number("memory", p.memory_pct, 1, 100);
    fields.number("gpu_instance", p.gi);
    fields.number("compute_instance", p.ci);
    fields.text("name", p.name);
    constexpr std::pair<const char*, uint32_t> kTypes[] = {
        {"compute", 'C'}, {"graphics", 'G'}, {"mps", 'M'}};
    fields.choice("type", p.type, kTypes);
    fields.finish();
    if (p.gpu >= out.machine.gpu_count)
      report.fail(item.line, path + ".gpu", "there is no such GPU");
    out.processes.push_back(p);
  }
}

void read_system(Report& report, const YamlNode& root, Machine& machine) {
  Fields fields(report, "system", root.find("system"), nullptr);
  std::snprintf(machine.architecture, sizeof(machine.architecture), "x86_64");
  machine.memory_kib = 64ULL << 20;
  fields.text("driver", machine.driver, true);
  fields.text("nvml", machine.nvml);
  fields.text("architecture", machine.architecture);
  machine.driver_loaded = std::strcmp(machine.driver, "none") != 0;
  if (const YamlNode* cuda = fields.get("cuda")) {
    unsigned major = 0, minor = 0;
    if (std::sscanf(cuda->text.c_str(), "%u.%u", &major, &minor) != 2)
      report.fail(cuda->line, "system.cuda", "expected a version like 13.0");
    machine.cuda = major * 1000 + minor * 10;
  }
  uint32_t mib = 0;
  fields.number("memory_mib", mib);
  if (mib) machine.memory_kib = static_cast<uint64_t>(mib) << 10;
  uint32_t p2p = 1;
  fields.flag("p2p", p2p);
  machine.no_p2p = !p2p;
  if (const YamlNode* missing = fields.get("missing_symbols")) {
    for (const YamlNode& item : missing->items) {
      if (machine.missing_count == kMaxMissing || item.text.size() >= sizeof(MissingSymbol))
        return report.fail(item.line, "system.missing_symbols", "too many, or a name too long");
      std::snprintf(machine.missing[machine.missing_count++].name, sizeof(MissingSymbol), "%s",
                    item.text.c_str());
    }
  }
  fields.finish();
}

}  // namespace

uint64_t hash_text(const std::string& text, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325ULL ^ seed;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

std::string make_uuid(const char* prefix, uint64_t a, uint64_t b) {
  const auto mix = [](uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  };
  const uint64_t h = mix(a ^ mix(b)), l = mix(h ^ b);
  char out[64];
  std::snprintf(out, sizeof(out), "%s-%08x-%04x-%04x-%04x-%012llx", prefix,
                static_cast<unsigned>(h >> 32), static_cast<unsigned>(h >> 16 & 0xffff),
                static_cast<unsigned>(h & 0xffff), static_cast<unsigned>(l >> 48),
                static_cast<unsigned long long>(l & 0xffffffffffffULL));
  return out;
}

std::string bus_id_text(const BusId& id) {
  char out[40];
  std::snprintf(out, sizeof(out), "%08X:%02X:%02X.0", id.domain, id.bus, id.device);
  return out;
}

std::string bus_id_sysfs(const BusId& id) {
  char out[40];
  std::snprintf(out, sizeof(out), "%04x:%02x:%02x.0", id.domain, id.bus, id.device);
  return out;
}

bool parse_bus_id(const std::string& text, BusId& id) {
  unsigned domain = 0, bus = 0, device = 0, function = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%8x:%2x:%2x.%1u%c", &domain, &bus, &device, &function, &rest) !=
      4) {
    domain = 0;
    if (std::sscanf(text.c_str(), "%2x:%2x.%1u%c", &bus, &device, &function, &rest) != 3)
      return false;
  }
  id = {domain, bus, device};
  return function == 0;
}

bool parse_machine(const std::string& path, const std::string& text, Declared& out,
                   std::string& error) {
  Report report(path, error);
  YamlNode root;
  int line = 0;
  std::string what;
  if (!parse_yaml(text, root, line, what)) {
    report.fail(line, "", what);
    return false;
  }
  if (root.kind != YamlNode::Kind::kMapping) {
    report.fail(1, "", "expected a mapping with name, system and gpus");
    return false;
  }
  out.hash = hash_text(text);
  Fields fields(report, "", &root, nullptr);
  fields.text("name", out.machine.name, true);
  for (const char* key : {"system", "defaults", "gpus", "switches", "processes"}) fields.get(key);
  fields.finish();
  for (const char* c = out.machine.name; *c; ++c)
    if (!std::isalnum(static_cast<unsigned char>(*c)) && *c != '-' && *c != '_' && *c != '.')
      report.fail(root.line, "name", "only letters, digits, '-', '_' and '.' are allowed");
  read_system(report, root, out.machine);
  read_switches(report, root, out.machine);
  read_gpus(report, root, out);
  read_processes(report, root, out);
  return !report.failed();
}

}  // namespace nvmlsim
