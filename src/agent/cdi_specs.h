// Keeps the CDI specifications on disk in line with the plan, and tells Allocate what a container
// runtime will find there. Without a CDI strategy it touches nothing: containers that were started
// by name must be able to start again after the strategy was changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "allocate/host_facts.h"
#include "base/roots.h"
#include "cdi/directory.h"
#include "cdi/spec.h"
#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "plan/types.h"

#include <asio/steady_timer.hpp>

namespace asio {
class io_context;
}

namespace kerf::agent {

// Everything on the loop thread.
class CdiSpecs {
 public:
  // `changed` is called when looking again by itself found something else; the new facts are given.
  CdiSpecs(asio::io_context& loop, Roots roots, std::function<void(allocate::CdiFacts)> changed);

  // Looks at the driver's files, writes what differs and removes what is not wanted any more. Looks
  // again by itself every half minute, more often while something is wrong: device nodes appear
  // late, directories become writable, and others delete files.
  allocate::CdiFacts apply(const plan::PlanPtr& plan, const std::vector<int>& imex_channels);

  // What keeps containers from getting their devices by name.
  const std::vector<metrics::Problem>& problems() const { return problems_; }

  // Devices in the specifications on disk, by class, and how often one was written.
  std::vector<metrics::Family> families() const;

  void stop();

 private:
  allocate::CdiFacts bring_about();
  void write(const cdi::Spec& spec, allocate::CdiFacts& facts);
  void remove(const std::string& device_class);
  // Names of what the runtime has of `spec` where its file could not be written.
  void offer_what_stands(const cdi::Spec& spec, allocate::CdiFacts& facts) const;
  void check_hook_program(const cdi::DriverTree& tree);
  void report(const std::string& device_class, const Error& error, allocate::CdiFacts& facts);
  void say_once(const std::string& text);
  void look_again_later();

  std::function<void(allocate::CdiFacts)> changed_;
  Roots roots_;
  cdi::Directory directory_;
  asio::steady_timer timer_;
  plan::PlanPtr plan_;
  std::vector<int> imex_channels_;
  std::map<std::string, cdi::Spec> written_;  // by class: what is on disk, as far as we wrote it
  allocate::CdiFacts facts_;
  std::vector<metrics::Problem> problems_;
  std::vector<std::string> said_;  // log lines that still hold, so that they come once
  std::vector<std::string> saying_;
  std::uint64_t writes_ = 0;
};

}  // namespace kerf::agent
