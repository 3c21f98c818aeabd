// Measures who uses the node's GPUs, once for all components of a process that need it: the
// sampler that asks the driver, and the account that adds up.
//
// Loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/shared_pods.h"
#include "base/roots.h"
#include "config/load.h"
#include "kubelet/gate.h"
#include "plan/types.h"
#include "usage/account.h"
#include "usage/sampler.h"

namespace kerf::agent {

struct View;

class UsageMeter {
 public:
  // What was just added to the account.
  struct Round {
    const usage::Sample& sample;
    std::set<std::string> missing;  // GPUs that there are and that did not answer
    std::int64_t now_ms;            // monotonic
  };
  struct User {
    // Measure at least as often, if nobody else leaves it to the configuration (usage.interval).
    std::optional<std::chrono::milliseconds> at_most;
    std::function<void(const Round&)> taken;
  };

  // As long as it lives there is measuring. Must not outlive the UsageMeter.
  class Membership {
   public:
    ~Membership();
    Membership(const Membership&) = delete;
    Membership& operator=(const Membership&) = delete;

   private:
    friend class UsageMeter;
    Membership(UsageMeter& meter, std::list<User>::iterator user) : meter_(meter), user_(user) {}
    UsageMeter& meter_;
    std::list<User>::iterator user_;
  };

  UsageMeter(asio::io_context& loop, Roots roots, std::shared_ptr<SharedPods> pods);
  ~UsageMeter();
  UsageMeter(const UsageMeter&) = delete;
  UsageMeter& operator=(const UsageMeter&) = delete;

  std::unique_ptr<Membership> join(const config::Effective& effective, User user);
  // Every member passes on what it observes; the second that does so changes nothing.
  void observe(const View& view);

  const usage::Account& account() const { return account_; }
  // Null before the first plan.
  const plan::PlanPtr& plan() const { return plan_; }
  std::chrono::milliseconds interval() const { return interval_; }
  usage::SamplerStats stats() const;

 private:
  void start_sampler(const config::Effective& effective);
  void settle_interval();
  void take(const usage::Sample& sample);
  void tell_failures(const usage::Sample& sample);
  void end();

  asio::io_context& loop_;
  const Roots roots_;
  const std::shared_ptr<SharedPods> pods_;
  std::list<User> users_;
  std::chrono::milliseconds configured_{5'000};
  std::chrono::milliseconds interval_{5'000};
  bool quotas_ = true;
  plan::PlanPtr plan_;
  usage::Account account_;
  std::set<std::string> failing_;
  std::shared_ptr<kubelet::Gate> gate_;
  std::unique_ptr<SharedPods::Interest> interest_;
  std::unique_ptr<usage::Sampler> sampler_;  // last: its thread uses what is above
};

}  // namespace kerf::agent
