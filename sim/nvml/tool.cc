// nvml-sim: looks at and steers a simulated machine. It works on the shared state file directly;
// processes that have the simulator library loaded see each change at once.

#include "tool.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <unistd.h>

#include <CLI/CLI.hpp>

namespace nvmlsim {
namespace {

namespace fs = std::filesystem;

fs::path own_directory() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path(".") : self.parent_path();
}

}  // namespace

std::vector<std::string> machine_directories() {
  return {(own_directory() / "machines").string(), (own_directory() / "../share/nvml-sim").string(),
          "/usr/share/nvml-sim", NVML_SIM_MACHINES};
}

std::string ToolContext::machine_file() const {
  if (machine.empty()) {
    const std::string file = find_machine_file();
    if (file.empty())
      throw ToolError(
          "which machine? Give --machine FILE|NAME or set NVML_SIM_MACHINE; "
          "`nvml-sim list` shows the shipped ones");
    return file;
  }
  if (fs::is_regular_file(machine)) return machine;
  for (const std::string& directory : machine_directories()) {
    const std::string file = directory + "/" + machine + ".yaml";
    if (fs::is_regular_file(file)) return file;
  }
  throw ToolError(machine + ": neither a file nor a shipped machine; see `nvml-sim list`");
}

Store& ToolContext::store() {
  if (open_) return store_;
  std::string error;
  if (!store_.open(machine_file(), state, error)) throw ToolError(error);
  if (store_.is_private())
    throw ToolError(std::string(store_.state_path()) +
                    ": cannot be created; choose a writable directory with --state or "
                    "NVML_SIM_STATE, or run as root");
  open_ = true;
  return store_;
}

Declared ToolContext::declared() const {
  const std::string file = machine_file();
  std::string text, error;
  Declared declared;
  if (!read_text(file, text)) throw ToolError(file + ": " + std::strerror(errno));
  if (!parse_machine(file, text, declared, error)) throw ToolError(error);
  return declared;
}

uint32_t ToolContext::gpu(const std::string& text) {
  const Machine& machine_data = store().machine();
  BusId id{};
  const bool is_bus = text.find(':') != std::string::npos && parse_bus_id(text, id);
  for (uint32_t i = 0; i < machine_data.gpu_count; ++i) {
    const GpuSpec& spec = machine_data.gpus[i];
    if (text == spec.uuid || text == std::to_string(i)) return i;
    if (is_bus && spec.bus_id.domain == id.domain && spec.bus_id.bus == id.bus &&
        spec.bus_id.device == id.device)
      return i;
  }
  throw ToolError("--gpu " + text + ": " + machine_data.name +
                  " has no such GPU; give an index 0-" +
                  std::to_string(machine_data.gpu_count ? machine_data.gpu_count - 1 : 0) +
                  ", a UUID or a PCI address");
}

void ToolContext::refuse_write() {
  throw ToolError(std::string(store_.state_path()) + ": " + std::strerror(errno) +
                  "; steering needs write permission there");
}

namespace {

void list_machines() {
  for (const std::string& directory : machine_directories()) {
    if (!fs::is_directory(directory)) continue;
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(directory))
      if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      std::string text, error;
      Declared d;
      if (!read_text(file, text) || !parse_machine(file, text, d, error)) {
        std::printf("%-20s %s\n", fs::path(file).stem().c_str(), error.c_str());
        continue;
      }
      std::printf("%-20s %2u x %-28s driver %s\n", d.machine.name, d.machine.gpu_count,
                  d.machine.gpu_count ? d.machine.gpus[0].name : "-", d.machine.driver);
    }
    return;
  }
  throw ToolError("no machine files found");
}

void run_smi(ToolContext& context, const std::vector<std::string>& rest) {
  setenv("NVML_SIM_MACHINE", fs::absolute(context.machine_file()).c_str(), 1);
  if (!context.state.empty()) setenv("NVML_SIM_STATE", context.state.c_str(), 1);
  const std::string program = (own_directory() / "sim-nvidia-smi").string();
  std::vector<std::string> words{program};
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  throw ToolError(program + ": " + std::strerror(errno));
}

void show_log(ToolContext& context) {
  std::string text;
  if (read_text(log_path(context.store()), text)) std::fputs(text.c_str(), stdout);
}

int run(int argc, char** argv) {
  CLI::App app{"Looks at and steers a simulated machine with NVIDIA GPUs"};
  ToolContext context;
  app.add_option("-m,--machine", context.machine,
                 "machine file, or the name of a shipped one (default: NVML_SIM_MACHINE)");
  app.add_option("-s,--state", context.state, "state directory (default: NVML_SIM_STATE)");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_subcommand("list", "shipped machines")->callback(list_machines);
  std::vector<std::string> smi_words;
  CLI::App* smi = app.add_subcommand("smi", "what nvidia-smi would print (options after --)");
  smi->add_option("options", smi_words);
  smi->callback([&] { run_smi(context, smi_words); });
  std::string directory, library;
  CLI::App* tree =
      app.add_subcommand("tree", "write the host's view of the machine: sys, proc, dev");
  tree->add_option("directory", directory)->required();
  tree->add_option("--library", library, "also place this libnvidia-ml.so.1 under usr/lib");
  tree->callback([&] { write_tree(context, directory, library); });
  app.add_subcommand("log", "what was done to the machine")->callback([&] { show_log(context); });
  add_fault_commands(app, context);
  add_state_commands(app, context);
  add_mig_commands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nvml-sim: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace nvmlsim

int main(int argc, char** argv) { return nvmlsim::run(argc, argv); }
