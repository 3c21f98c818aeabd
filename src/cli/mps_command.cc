#include "cli/mps_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>

#include "agent/agent.h"
#include "base/files.h"
#include "base/roots.h"
#include "cli/usual.h"
#include "cli/version.h"
#include "config/flags.h"
#include "config/load.h"
#include "mps/layout.h"
#include "mps/shm.h"

namespace kerf::cli {
namespace {

using Args = std::span<const std::string>;

void print_help() {
  std::cout
      << "usage: mps-control-daemon [FLAGS]\n"
         "       mps-control-daemon mount-shm [--mps-dir=/mps]\n\n"
         "Runs NVIDIA's MPS control daemons for the resources under sharing.mps, in /mps. With\n"
         "mount-shm: mounts the shared memory of daemons and clients at /mps/shm, and ends.\n\n"
         "  --config-file, CONFIG_FILE    configuration file\n"
         "  --mig-strategy, MIG_STRATEGY  how MIG devices are advertised  [none]\n\n"
         "and all flags of kerf agent.\n";
}

int mount(Args args) {
  std::string directory = "/mps";
  for (std::size_t i = 0; i < args.size(); ++i) {
    constexpr std::string_view kFlag = "--mps-dir";
    if (args[i].starts_with(std::string(kFlag) + "=")) {
      directory = args[i].substr(kFlag.size() + 1);
    } else if (args[i] == kFlag && i + 1 < args.size()) {
      directory = args[++i];
    } else {
      std::cerr << "mps-control-daemon mount-shm: unknown argument " << args[i] << '\n';
      return 2;
    }
  }
  Result<std::string> meminfo = read_file(join_path(Roots::below("/").proc, "meminfo"));
  const std::string size = mps::shm_size(meminfo ? *meminfo : "");
  const std::string target = mps::shm_directory(directory);
  if (Status mounted = mps::mount_shm(target, size); !mounted) {
    std::cerr << "mps-control-daemon mount-shm: " << mounted.error().text() << '\n';
    return 1;
  }
  std::cout << "mounted " << target << " with size=" << size << '\n';
  return 0;
}

}  // namespace

int run_mps_control_daemon(Args args, const char* const* environment) {
  if (answer_usual(args, print_help)) return 0;
  if (!args.empty() && args[0] == "mount-shm") return mount(args.subspan(1));
  Result<config::FlagValues> flags = config::parse_arguments(args);
  if (!flags) {
    std::cerr << "mps-control-daemon: " << flags.error().text() << '\n';
    return 2;
  }
  config::Env env = config::env_from(environment);
  // No pages: the device plugin's container in the same pod has them on the port already.
  if (!env.contains("KERF_COMPONENTS")) flags->try_emplace("components", 1, "mps");
  if (!env.contains("KERF_LISTEN")) flags->try_emplace("listen", 1, "none");
  return agent::serve(
      {std::move(*flags), std::move(env), std::string(kVersion), std::string(kCompatibility)});
}

}  // namespace kerf::cli
