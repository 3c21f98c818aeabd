// Command lines of NVIDIA's hook program, which are those of kerf's own.
#include "cdi/hooks.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace kerf::cdi {
namespace {

bool enabled(const config::Config& config, std::string_view name) {
  return std::ranges::none_of(config.cdi_disable_hooks, [&](const std::string& disabled) {
    return disabled == name || disabled == "all";
  });
}

Hook hook(const config::Config& config, const DriverTree& tree, const std::string& name,
          std::vector<std::string> more) {
  const std::string path =
      tree.hook_program.empty() ? hook_programs(config).front() : tree.hook_program;
  const std::string program = path.substr(path.rfind('/') + 1);
  Hook hook;
  hook.path = path;
  hook.args = {program};
  // The older program has hooks among its other commands; the newer one has nothing else.
  if (program == "nvidia-ctk") hook.args.emplace_back("hook");
  if (program == "kerf") hook.args.emplace_back("cdi-hook");
  hook.args.push_back(name);
  for (std::string& arg : more) hook.args.push_back(std::move(arg));
  hook.env = {"NVIDIA_CTK_DEBUG=false"};
  return hook;
}

}  // namespace

std::vector<std::string> hook_programs(const config::Config& config) {
  std::vector<std::string> programs = {config.cdi_hook_path.empty() ? config::Config{}.cdi_hook_path
                                                                    : config.cdi_hook_path};
  if (config.driver_root == "/") {
    programs.emplace_back("/usr/bin/nvidia-cdi-hook");
    programs.emplace_back(kOwnHookProgram);
  }
  return programs;
}

std::vector<Hook> link_hook(const config::Config& config, const DriverTree& tree,
                            const std::vector<DriverLink>& links) {
  if (links.empty() || !enabled(config, "create-symlinks")) return {};
  std::vector<std::string> args;
  for (const DriverLink& link : links) {
    args.emplace_back("--link");
    args.push_back(link.target + "::" + link.path);
  }
  return {hook(config, tree, "create-symlinks", std::move(args))};
}

std::vector<Hook> common_hooks(const config::Config& config, const DriverTree& tree) {
  std::vector<Hook> hooks = link_hook(config, tree, tree.links);
  auto add = [&](const char* name, std::vector<std::string> args) {
    if (enabled(config, name)) hooks.push_back(hook(config, tree, name, std::move(args)));
  };
  if (!tree.version.empty()) {
    add("enable-cuda-compat", {"--host-driver-version=" + tree.version});
  }
  std::vector<std::string> folders = {"--ldconfig-path", tree.ldconfig};
  for (const std::string& dir : tree.library_dirs) {
    folders.emplace_back("--folder");
    folders.push_back(dir);
  }
  if (!tree.library_dirs.empty()) add("update-ldcache", std::move(folders));
  add("disable-device-node-modification", {});
  add("update-application-profile", {});
  return hooks;
}

}  // namespace kerf::cdi
