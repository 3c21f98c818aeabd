// The configuration over the life of the process: read at start, read again when its file changes
// (edited in place, replaced, or a ConfigMap's links switched) or when told to. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/load.h"

namespace asio {
class io_context;
}

namespace kerf::agent {

class ConfigSource {
 public:
  ConfigSource(config::FlagValues flags, config::Env env)
      : flags_(std::move(flags)), env_(std::move(env)) {}
  ~ConfigSource();

  // Reads everything anew. Errors name flag, variable, or file, line and column; see config/load.h.
  Result<config::Effective> load();

  // From now on this file is read, whatever command line and environment say; "" for none.
  void use_file(const std::string& path) { flags_["config-file"] = {path}; }

  // Calls `changed` whenever the file named by --config-file has other content than at the last
  // load, whether or not it is valid. Several changes in quick succession are reported once, and
  // what is half written or emptied is not: looks must find the same for a while.
  void watch(asio::io_context& loop, const std::string& file, std::function<void()> changed);
  void stop();

 private:
  struct Watching;
  // What the file held, or why it could not be read.
  struct Look {
    std::string text;
    std::string error;
    bool operator==(const Look&) const = default;
  };
  static Look look(const Result<std::string>& text);

  config::FlagValues flags_;
  config::Env env_;
  Look seen_;  // at the last load
  std::shared_ptr<Watching> watching_;
};

// The directories in which something must change for `file` to change: its own and, where it or a
// directory of its path is a symbolic link, that of each link's target.
std::vector<std::string> directories_to_watch(const std::string& file);

}  // namespace kerf::agent
