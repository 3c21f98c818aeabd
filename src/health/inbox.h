// What reaches the watch thread from elsewhere: requests of the agent, events of the pump, word
// from the lane. Senders never block on the receiver.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "health/settings.h"
#include "nvml/events.h"

namespace kerf::health {

struct Mail {
  bool stop = false;
  bool refresh = false;
  bool lane_returned = false;        // a call that had been given up came back
  std::vector<std::string> clears;   // uuids; "" for all
  std::optional<Settings> settings;  // the newest
  std::vector<nvml::Event> events;
  std::uint64_t events_dropped = 0;
  // From the pump, with the number it was given when it started.
  std::optional<std::pair<std::uint64_t, std::vector<nvml::EventPump::Sink::Refusal>>> watching;
  std::optional<std::pair<std::uint64_t, Error>> pump_ended;

  bool empty() const {
    return !stop && !refresh && !lane_returned && clears.empty() && !settings && events.empty() &&
           !watching && !pump_ended;
  }
};

class Inbox {
 public:
  // Changes the waiting mail under the lock and wakes the receiver.
  template <typename Change>
  void put(Change change) {
    {
      std::lock_guard lock(mutex_);
      change(mail_);
    }
    arrived_.notify_one();
  }

  // A GPU in trouble can report thousands of times a second; what exceeds this is only counted.
  void put_event(nvml::Event event) {
    constexpr std::size_t kMaxWaiting = 1024;
    put([&](Mail& mail) {
      if (mail.events.size() < kMaxWaiting) {
        mail.events.push_back(std::move(event));
      } else {
        ++mail.events_dropped;
      }
    });
  }

  // All mail, as soon as there is some; empty mail at the deadline. Stop is never taken out.
  Mail take(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    arrived_.wait_until(lock, deadline, [&] { return !mail_.empty(); });
    Mail taken = std::move(mail_);
    mail_ = Mail{};
    mail_.stop = taken.stop;
    return taken;
  }

  bool stopped() const {
    std::lock_guard lock(mutex_);
    return mail_.stop;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  Mail mail_;
};

}  // namespace kerf::health
