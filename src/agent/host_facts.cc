#include "agent/host_facts.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/log.h"
#include "host/driver_files.h"

namespace kerf::agent {

Result<allocate::HostFacts> host_facts(const Roots& roots, const config::Config& config) {
  std::vector<std::string> nodes = host::control_nodes(roots);
  auto has = [&](const char* name) { return std::ranges::count(nodes, name) > 0; };
  allocate::HostFacts facts;
  facts.nvidiactl = has("nvidiactl");
  facts.uvm = has("nvidia-uvm");
  facts.uvm_tools = has("nvidia-uvm-tools");
  facts.modeset = has("nvidia-modeset");
  for (int id : config.imex_channel_ids) {
    std::string name = "nvidia-caps-imex-channels/channel" + std::to_string(id);
    std::error_code error;
    bool found =
        std::filesystem::exists(join_path(config.container_driver_root, "dev/" + name), error) ||
        std::filesystem::exists(join_path(roots.dev, name), error);
    if (found) {
      facts.imex_channels.push_back(id);
    } else if (config.imex_required) {
      return fail(Kind::kNotFound,
                  "error querying IMEX channels: requested IMEX channel channel" +
                      std::to_string(id) + " does not exist",
                  join_path(roots.dev, name), "create the channel or set imex.required to false");
    } else {
      log::warn("host", "configured IMEX channel does not exist", {{"channel", id}});
    }
  }
  return facts;
}

}  // namespace kerf::agent
