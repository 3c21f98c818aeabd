// Other programs: started in a process group of their own, waited for with deadlines, ended with
// everything they left behind. Any thread, each object one at a time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/files.h"
#include "base/result.h"

namespace kerf::mps {

struct Command {
  std::string program;                   // path
  std::vector<std::string> arguments;    // without the program
  std::vector<std::string> environment;  // NAME=value, all there is
};

// A running program. Its standard output and error go into one pipe that the owner reads.
class Child {
 public:
  // Standard input is `input`, then its end. Errors: kNotFound, kDenied, kInternal.
  static Result<Child> start(const Command& command, const std::string& input = {});
  Child(Child&&) noexcept = default;
  Child& operator=(Child&&) noexcept = default;
  // Ends it at once, where `end` was not called.
  ~Child();

  pid_t pid() const { return pid_; }
  int exited_fd() const { return exited_.get(); }  // readable once it has ended
  int output_fd() const { return output_.get(); }  // non-blocking
  // What it has written since the last call; at most 64 KiB.
  std::string read_output();
  bool running() const;
  // Asks the group to end, kills what is left of it after `grace` and collects it. How the program
  // ended: "exit status 1", "signal 9".
  std::string end(std::chrono::milliseconds grace);
  // As left by waitpid, after `end`.
  int status() const { return status_; }

 private:
  Child() = default;

  pid_t pid_ = 0;
  Fd exited_;
  Fd output_;
  int status_ = 0;
};

// Runs a program to its end and gives back what it wrote. Errors: those of start, kTimeout,
// kGone when `stop_fd` (−1: none) became readable, kInternal when it ended otherwise than with 0;
// then `what` has its last words.
Result<std::string> run(const Command& command, const std::string& input,
                        std::chrono::milliseconds limit, int stop_fd = -1);

// `name` in the program folders below `driver_root`, else in those of `path` ("/usr/bin:/bin").
// Error: kNotFound, which says where was looked.
Result<std::string> find_program(const std::string& name, const std::string& driver_root,
                                 const std::string& path);

}  // namespace kerf::mps
