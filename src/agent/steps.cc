#include "agent/steps.h"

#include "base/log.h"

namespace kerf::agent {

Status Steps::run(std::string_view name, const std::function<Status()>& up,
                  std::function<void()> down) {
  std::int64_t begin = clock_.mono_ms();
  if (Status status = up(); !status) {
    return fail(std::move(status.error()).during(name));
  }
  log::debug("agent", "step done", {{"step", name}, {"took_ms", clock_.mono_ms() - begin}});
  done_.push_back({name, std::move(down)});
  return {};
}

void Steps::tear_down() {
  while (!done_.empty()) {
    Done step = std::move(done_.back());
    done_.pop_back();
    if (!step.down) continue;
    std::int64_t begin = clock_.mono_ms();
    step.down();
    log::debug("agent", "step undone",
               {{"step", step.name}, {"took_ms", clock_.mono_ms() - begin}});
  }
}

}  // namespace kerf::agent
