// Keeps a tracker's memory in a file, so that the next agent on this boot finds it. A GPU that the
// driver called broken must not be given out again because the agent was restarted: the driver says
// it only once. Whatever stands in the way is said once, and everything works without.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/roots.h"
#include "health/memory.h"

namespace kerf::health {

// One thread. Reads and writes a small file; blocks as long as its file system does.
class MemoryFile {
 public:
  // `directory` is made when only it itself is missing; "": nothing is kept. Which boot this is
  // says `own` where `roots` are a part of the host's trees that does not: the kernel tells all its
  // processes the same.
  MemoryFile(const std::string& directory, Roots roots, const Roots& own = Roots::below("/"));

  // To be told when a driver was started: what is kept belongs to this load of it.
  void driver_started(const std::string& version);

  // What an agent before this one kept. None when there is nothing, when it was another boot or
  // another load of the driver, or when the file is broken, which is said.
  std::optional<Memory> load();

  // Puts it in the place of what is kept; does nothing when that is the same.
  void save(Memory memory);

 private:
  void say_once(const Error& error);

  std::string path_;  // empty: nothing is kept
  Roots roots_;
  Epoch epoch_;
  std::optional<Memory> kept_;
  bool said_ = false;  // that it cannot be kept, since it was last kept
};

}  // namespace kerf::health
