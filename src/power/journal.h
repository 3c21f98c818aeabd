// What is said of a look: a line for each change, each thing that stands in the way once and not
// every time, and at regular looks how every GPU does.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "power/controller.h"

namespace kerf::power {

// Remembers what was said. One thread.
class Journal {
 public:
  // The outcome of one command.
  void tell(const Command& command, const GpuReport& gpu, const Status& outcome);
  // The look as a whole.
  void tell(const Report& report);

 private:
  // Whether this was not the last thing said under this key. "" forgets.
  bool is_new(const std::string& key, const std::string& text);
  void tell_gpu(const GpuReport& gpu, bool regular);

  std::map<std::string, std::string> said_;
};

// Of a report, as a table with a head; the limits found and those left. For people.
std::string table(const Report& report);

}  // namespace kerf::power
