// Carries the lines that a daemon writes, to its output and into its log files, over into our log.
// One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace kerf::mps {

class LogFollower {
 public:
  LogFollower(std::string resource, std::string directory)
      : resource_(std::move(resource)), directory_(std::move(directory)) {}

  // What came by way of its output; an unfinished line waits for its end.
  void take(std::string_view source, std::string_view text);
  // What control.log and server.log have more than last time. A file that became shorter is read
  // from its beginning.
  void read_files();
  // The last line seen, for an error.
  const std::string& last_line() const { return last_; }

 private:
  void read_file(const char* name);

  std::string resource_;
  std::string directory_;
  std::map<std::string, std::uint64_t, std::less<>> offsets_;
  std::map<std::string, std::string, std::less<>> unfinished_;
  std::string last_;
};

}  // namespace kerf::mps
