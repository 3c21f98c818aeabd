// The kerf binary: chooses a subcommand by its first argument or, like busybox, by the name it was
// called with. No logic.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "base/roots.h"
#include "base/strings.h"
#include "cli/agent_command.h"
#include "cli/busy_command.h"
#include "cli/config_command.h"
#include "cli/config_manager_command.h"
#include "cli/doctor_command.h"
#include "cli/exporter_command.h"
#include "cli/install_hook.h"
#include "cli/inventory_command.h"
#include "cli/labels_command.h"
#include "cli/mps_command.h"
#include "cli/power_command.h"
#include "cli/prepare_command.h"
#include "cli/smi_command.h"
#include "cli/status_command.h"
#include "cli/top_command.h"
#include "cli/version.h"
#include "hook/run.h"

extern "C" char** environ;

namespace {

using kerf::Roots;
using Args = std::span<const std::string>;

struct Command {
  std::string_view name;
  std::string_view help;
  int (*run)(Args args);
};

bool asks_for_help(Args args) { return !args.empty() && (args[0] == "--help" || args[0] == "-h"); }

int run_version(Args args) {
  if (asks_for_help(args)) {
    std::cout << "usage: kerf version\n\nPrints the version, and which releases of NVIDIA's device "
                 "plugin it is\ncompatible with.\n";
  } else {
    std::cout << kerf::cli::version_text();
  }
  return 0;
}

int run_modules(Args args) {
  if (asks_for_help(args)) {
    std::cout << "usage: kerf modules\n\nLists the kernel's modules, as lsmod does.\n";
    return 0;
  }
  return kerf::cli::run_lsmod(args, Roots::below("/"));
}

constexpr Command kCommands[] = {
    {"agent", "serve this node's GPUs to the kubelet (the daemon)",
     [](Args args) { return kerf::cli::run_agent(args, environ); }},
    {"status", "show what the agent on this node is doing",
     [](Args args) { return kerf::cli::run_status(args); }},
    {"top", "show who uses the GPUs of this node, again and again",
     [](Args args) { return kerf::cli::run_top(args); }},
    {"doctor", "say why this node or the cluster gives pods no GPUs, and what to do",
     [](Args args) { return kerf::cli::run_doctor(args, environ); }},
    {"config", "check FILE | explain: what is wrong with a configuration, what is in force",
     [](Args args) { return kerf::cli::run_config(args, environ); }},
    {"gpus", "list this machine's GPUs", [](Args args) { return kerf::cli::run_gpus(args); }},
    {"labels", "print the labels that this node would get",
     [](Args args) { return kerf::cli::run_labels(args, environ); }},
    {"gpu-feature-discovery", "label this node, as NVIDIA's program of that name does",
     [](Args args) { return kerf::cli::run_feature_discovery(args, environ); }},
    {"config-manager", "link the configuration that the node's label chooses",
     [](Args args) { return kerf::cli::run_config_manager(args, environ); }},
    {"mps-control-daemon", "run NVIDIA's MPS daemons, as NVIDIA's program of that name does",
     [](Args args) { return kerf::cli::run_mps_control_daemon(args, environ); }},
    {"cdi-hook", "be the hook program that CDI specifications name (also kerf-cdi-hook)",
     [](Args args) { return kerf::hook::run(args); }},
    {"install-hook", "put the CDI hook program where the host's runtime finds it",
     [](Args args) { return kerf::cli::run_install_hook(args); }},
    {"power", "show | set LIMIT | watch: power limits of this machine's GPUs",
     [](Args args) { return kerf::cli::run_power(args); }},
    {"smi", "what nvidia-smi shows of GPUs and sets of their power, in its formats",
     [](Args args) { return kerf::cli::run_smi(args); }},
    {"dcgm-exporter", "serve metrics of GPUs, as NVIDIA's program of that name does",
     [](Args args) { return kerf::cli::run_exporter(args, environ); }},
    {"modules", "list the kernel's modules, as lsmod does", run_modules},
    {"prepare", "let an unprivileged agent use the kubelet's plugin directory",
     [](Args args) { return kerf::cli::run_prepare(args); }},
    {"version", "print the version", run_version},
};

// Other names the binary goes by, as links in the image.
constexpr Command kLinks[] = {
    {"nvidia-device-plugin", "", kCommands[0].run},
    {"gpu-feature-discovery", "",
     [](Args args) { return kerf::cli::run_feature_discovery(args, environ); }},
    {"config-manager", "", [](Args args) { return kerf::cli::run_config_manager(args, environ); }},
    {"mps-control-daemon", "",
     [](Args args) { return kerf::cli::run_mps_control_daemon(args, environ); }},
    {"kerf-cdi-hook", "", [](Args args) { return kerf::hook::run(args); }},
    {"nvidia-smi", "", [](Args args) { return kerf::cli::run_smi(args); }},
    {"dcgm-exporter", "", [](Args args) { return kerf::cli::run_exporter(args, environ); }},
    {"lsmod", "", [](Args args) { return kerf::cli::run_lsmod(args, Roots::below("/")); }},
    {"ls", "", [](Args args) { return kerf::cli::run_ls(args, Roots::below("/")); }},
};

void usage(std::ostream& out) {
  out << "usage: kerf COMMAND [ARGUMENTS]\n\n";
  for (const Command& command : kCommands) {
    out << "  " << command.name << std::string(23 - command.name.size(), ' ') << command.help
        << '\n';
  }
  out << "\nkerf COMMAND --help says more.\n";
}

int unknown_command(std::string_view word) {
  std::vector<std::string_view> names;
  for (const Command& command : kCommands) names.push_back(command.name);
  std::cerr << "kerf: unknown command '" << word << "'";
  if (auto meant = kerf::nearest(word, names)) std::cerr << ", did you mean " << *meant << '?';
  std::cerr << "\n\n";
  usage(std::cerr);
  return 2;
}

// Started without standard streams, the first files and sockets opened would take their numbers,
// and what is meant for the log would be written into them.
void keep_standard_streams() {
  std::string nothing = Roots::below("/").dev + "/null";
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) [[maybe_unused]]
      int taken = open(nothing.c_str(), O_RDWR);
  }
}

int dispatch(const std::vector<std::string>& argv) {
  std::string_view called = argv.empty() ? std::string_view() : std::string_view(argv[0]);
  called = called.substr(called.rfind('/') + 1);
  Args args = Args(argv).subspan(argv.empty() ? 0 : 1);
  auto by_name = [](std::string_view name) {
    return [name](const Command& command) { return command.name == name; };
  };
  if (auto link = std::ranges::find_if(kLinks, by_name(called)); link != std::end(kLinks)) {
    return link->run(args);
  }
  if (args.empty()) {
    usage(std::cerr);
    return 2;
  }
  std::string_view word = args[0];
  if (word == "--help" || word == "-h" || word == "help") {
    usage(std::cout);
    return 0;
  }
  if (word == "--version" || word == "-v") return run_version({});
  auto command = std::ranges::find_if(kCommands, by_name(word));
  if (command == std::end(kCommands)) return unknown_command(word);
  return command->run(args.subspan(1));
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  keep_standard_streams();
  try {
    return dispatch(std::vector<std::string>(argv, argv + argc));
  } catch (const std::exception& defect) {
    // Rooms report errors as values; what arrives here is a defect or an exhausted machine.
    std::fprintf(stderr, "kerf: %s\n", defect.what());
    return 70;
  }
}
