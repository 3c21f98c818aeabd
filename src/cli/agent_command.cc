#include "cli/agent_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>

#include "agent/agent.h"
#include "cli/usual.h"
#include "cli/version.h"
#include "config/flags.h"

namespace kerf::cli {
namespace {

void print_help() {
  std::cout
      << "usage: kerf agent [FLAGS]\n\nServes this node's GPUs to the kubelet. Every flag can "
         "also be given by its environment\nvariable; most also in the file named by "
         "--config-file. The command line wins over the\nenvironment, that over the file.\n";
  for (const config::FlagSpec& flag : config::agent_flags()) {
    std::cout << "\n  --" << flag.name;
    for (std::string_view alias : flag.aliases) std::cout << ", --" << alias;
    if (!flag.default_text.empty()) std::cout << "  [" << flag.default_text << "]";
    std::cout << "\n      " << flag.help << '\n';
    if (!flag.env.empty()) {
      std::cout << "      env:";
      for (std::string_view name : flag.env) std::cout << ' ' << name;
      std::cout << '\n';
    }
  }
}

}  // namespace

int run_agent(std::span<const std::string> args, const char* const* environment) {
  if (answer_usual(args, print_help)) return 0;
  Result<config::FlagValues> flags = config::parse_arguments(args);
  if (!flags) {
    std::cerr << "kerf agent: " << flags.error().text() << '\n';
    return 2;
  }
  return agent::serve({std::move(*flags), config::env_from(environment), std::string(kVersion),
                       std::string(kCompatibility)});
}

}  // namespace kerf::cli
