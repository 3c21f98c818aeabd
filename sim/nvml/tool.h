// Parts of the nvml-sim tool. Each command function throws ToolError with a line for the user.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "control.h"
#include "store.h"

namespace CLI {
class App;
}

namespace nvmlsim {

struct ToolError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Options before the command.
struct ToolContext {
  std::string machine;  // a file, or the name of a shipped machine; empty: the environment's
  std::string state;
  std::string machine_file() const;  // resolved, throws if there is none
  Store& store();                    // opened on first use
  Declared declared() const;
  uint32_t gpu(const std::string& text);  // index, uuid or bus id
  // Runs `f(Shared&)` and logs `what`.
  template <typename F>
  void change(const std::string& what, F&& f) {
    if (!store().write(f)) refuse_write();
    log_action(store(), what);
  }

 private:
  [[noreturn]] void refuse_write();
  Store store_;
  bool open_ = false;
};

std::vector<std::string> machine_directories();

void add_fault_commands(CLI::App& app, ToolContext& context);
void add_state_commands(CLI::App& app, ToolContext& context);
void add_mig_commands(CLI::App& app, ToolContext& context);
void write_tree(ToolContext& context, const std::string& directory, const std::string& library);

}  // namespace nvmlsim
