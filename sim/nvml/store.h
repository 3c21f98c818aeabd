// The shared state of one machine: finding the machine file, mapping the state file, consistent
// reads (seqlock, no system call) and locked writes (flock). The simulator library and the tools
// use the same store; there is no daemon.
//
// Processes share state when their machine files have the same name and content and their state
// directories are the same directory, under whatever path.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "machine.h"
#include "shared.h"

namespace nvmlsim {

uint64_t now_ns();   // monotonic
uint64_t wall_us();  // since the epoch

class Store {
 public:
  // Maps the state for the machine file that the environment names, creating it if needed. On
  // failure returns false with one line in `error`. Where the state directory cannot be written the
  // process gets a state of its own until somebody else creates the shared one.
  bool open(std::string& error);
  // The same with explicit paths; `state` empty means the environment's.
  bool open(const std::string& machine_path, const std::string& state, std::string& error);
  void close();

  bool is_open() const { return shared_ != nullptr; }
  const Shared& shared() const { return *shared_; }
  const Machine& machine() const { return shared_->machine; }
  const char* state_path() const { return path_; }
  bool is_private() const { return private_; }

  // Runs `f(const Shared&)` on a consistent state; it may run several times, so it only copies.
  template <typename F>
  void read(F&& f) const {
    const Shared* shared = shared_;
    for (int round = 0;; ++round) {
      const uint32_t before = __atomic_load_n(&shared->sequence, __ATOMIC_ACQUIRE);
      if ((before & 1U) != 0 && !writer_gone(round)) continue;
      f(*shared);
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      if (__atomic_load_n(&shared->sequence, __ATOMIC_RELAXED) == before) return;
      if (round > 10000) return;
    }
  }

  // Runs `f(Shared&)` as the only writer and wakes everybody. False if the state cannot be written;
  // errno says why.
  template <typename F>
  bool write(F&& f) {
    Shared* shared = begin_write();
    if (!shared) return false;
    f(*shared);
    end_write(shared);
    return true;
  }

  // The futex word, and a wait until it differs from `seen` or `deadline_ns` (monotonic, 0: none).
  uint32_t wake_word() const { return __atomic_load_n(&shared_->wake, __ATOMIC_ACQUIRE); }
  void wait(uint32_t seen, uint64_t deadline_ns) const;

  // Called often: a process on private state joins the shared one when it has appeared.
  void rejoin();

 private:
  static bool writer_gone(int round);
  Shared* begin_write();
  void end_write(Shared* shared);
  bool map(std::string& error);
  bool create(const Declared& declared, std::string& error);
  bool make_private(const Declared& declared, std::string& error);

  const Shared* shared_ = nullptr;
  bool private_ = false;
  int write_fd_ = -1;
  uint64_t next_rejoin_ns_ = 0;
  char path_[512] = {};
};

// Held around fork(), so that a child never inherits a lock in use.
void lock_for_fork();
void unlock_after_fork();

// Fills `shared` as it is right after the machine was switched on.
void initialise(Shared& shared, const Declared& declared);
// The part of it that a reset repeats: live state, MIG devices and processes as declared.
void populate(Shared& shared, const Declared& declared);
// Path of the machine file by the rules of the environment; empty if there is none.
std::string find_machine_file();
std::string state_directory();
bool read_text(const std::string& path, std::string& out);

}  // namespace nvmlsim
