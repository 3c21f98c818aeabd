// Start-up as a list of named steps, tear-down as the reverse list that always runs. Each step's
// duration is logged, so that a slow start or stop names its cause.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace kerf::agent {

class Steps {
 public:
  explicit Steps(const Clock& clock) : clock_(clock) {}
  ~Steps() { tear_down(); }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  // Runs `up`. On success `down` is kept for tear-down; on failure the error names the step.
  // `name` must outlive this object (a literal).
  Status run(std::string_view name, const std::function<Status()>& up,
             std::function<void()> down = {});
  // Undoes what was done, last first; each once.
  void tear_down();

 private:
  struct Done {
    std::string_view name;
    std::function<void()> down;
  };
  const Clock& clock_;
  std::vector<Done> done_;
};

}  // namespace kerf::agent
