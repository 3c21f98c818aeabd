#include "host/driver_files.h"

#include <algorithm>
#include <climits>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"

namespace kerf::host {

namespace {

constexpr std::string_view kControlNodes[] = {"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools",
                                              "nvidia-modeset"};
constexpr std::string_view kDriverModules[] = {"nvidia", "nvidia_uvm", "nvidia_modeset",
                                               "nvidia_drm"};

std::optional<unsigned> parse_unsigned(std::string_view text) {
  auto value = parse_u64(text);
  if (!value || *value > UINT_MAX) return std::nullopt;
  return static_cast<unsigned>(*value);
}

// "gi12" with prefix "gi" gives 12.
std::optional<unsigned> numbered(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  return parse_unsigned(text.substr(prefix.size()));
}

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (std::string& word : split(line, ' ')) {
    if (!trim(word).empty()) out.emplace_back(trim(word));
  }
  return out;
}

// "nvidia 56823808 2 nvidia_uvm,nvidia_modeset, Live 0xffff… (POE)"
std::optional<Module> parse_module(std::string_view line) {
  std::vector<std::string> fields = words(line);
  if (fields.size() < 5) return std::nullopt;
  auto size = parse_u64(fields[1]);
  auto users = parse_unsigned(fields[2]);
  // A module that cannot be unloaded shows "-" for its users.
  if (!size || (!users && fields[2] != "-")) return std::nullopt;
  Module module{fields[0], *size, users.value_or(0), {}, fields[4]};
  for (std::string& user : split(fields[3], ',')) {
    if (!user.empty() && user != "-") module.used_by.push_back(std::move(user));
  }
  return module;
}

}  // namespace

std::vector<std::string> control_nodes(const Roots& roots) {
  std::vector<std::string> nodes;
  for (std::string_view name : kControlNodes) {
    std::error_code error;
    if (std::filesystem::exists(join_path(roots.dev, name), error)) nodes.emplace_back(name);
  }
  return nodes;
}

std::optional<unsigned> MigMinors::gpu_instance(unsigned gpu, unsigned gi) const {
  auto found = access_.find({gpu, gi, std::nullopt});
  return found == access_.end() ? std::nullopt : std::optional<unsigned>(found->second);
}

std::optional<unsigned> MigMinors::compute_instance(unsigned gpu, unsigned gi, unsigned ci) const {
  auto found = access_.find({gpu, gi, ci});
  return found == access_.end() ? std::nullopt : std::optional<unsigned>(found->second);
}

MigMinors MigMinors::parse(std::string_view text) {
  MigMinors minors;
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> fields = words(line);
    if (fields.size() != 2) continue;
    auto minor = parse_unsigned(fields[1]);
    if (!minor) continue;
    if (fields[0] == "config") minors.config_ = minor;
    if (fields[0] == "monitor") minors.monitor_ = minor;
    std::vector<std::string> parts = split(fields[0], '/');
    if (parts.size() < 3 || parts.size() > 4 || parts.back() != "access") continue;
    auto gpu = numbered(parts[0], "gpu");
    auto gi = numbered(parts[1], "gi");
    if (!gpu || !gi) continue;
    std::optional<unsigned> ci;
    if (parts.size() == 4) {
      ci = numbered(parts[2], "ci");
      if (!ci) continue;
    }
    minors.access_[{*gpu, *gi, ci}] = *minor;
  }
  return minors;
}

MigMinors mig_minors(const Roots& roots) {
  auto content = read_file(join_path(roots.proc, "driver/nvidia-caps/mig-minors"));
  return content ? MigMinors::parse(*content) : MigMinors();
}

Result<std::vector<Module>> loaded_modules(const Roots& roots) {
  auto content = read_file(join_path(roots.proc, "modules"));
  if (!content) return fail(std::move(content.error()));
  std::vector<Module> modules;
  for (const std::string& line : split(*content, '\n')) {
    if (auto module = parse_module(line)) modules.push_back(std::move(*module));
  }
  return modules;
}

Result<std::vector<DriverModule>> driver_modules(const Roots& roots) {
  auto loaded = loaded_modules(roots);
  if (!loaded) return fail(std::move(loaded.error()));
  std::vector<DriverModule> modules;
  for (std::string_view name : kDriverModules) {
    DriverModule module{std::string(name), std::nullopt};
    auto found = std::find_if(loaded->begin(), loaded->end(),
                              [&](const Module& m) { return m.name == name; });
    if (found != loaded->end()) module.loaded = *found;
    modules.push_back(std::move(module));
  }
  return modules;
}

}  // namespace kerf::host
