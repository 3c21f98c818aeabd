// Which of several named configurations is this node's, over time: follows the node's label through
// the API server and the directory that holds the configurations. Waits for the first word on the
// label before it chooses; a name that is not there changes nothing, and is told of by a problem,
// an Event and the log. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/choose.h"
#include "config/types.h"
#include "kube/access.h"

namespace asio {
class io_context;
}

namespace kerf::agent {

struct NamedConfigOptions {
  kube::Access access;
  std::string user_agent;
  double requests_per_second = 5;  // 0: no limit
  unsigned burst = 10;             // at once, at least 1
  std::string node;
  std::string label = "nvidia.com/device-plugin.config";
  std::string directory;
  config::Choices choices;
};

// From the flags of the agent. Errors: kInvalid without a node name; as kube::find_access().
Result<NamedConfigOptions> named_config_options(const config::ProcessOptions& process,
                                                const std::string& version);

struct NamedConfigHandlers {
  // A file is to be used, by its path; "" for the empty configuration. Only when it is another than
  // before.
  std::function<void(const std::string& path)> chosen;
  // Something in the directory has changed and the choice is the same.
  std::function<void()> touched;
  // problem() is another.
  std::function<void()> changed;
  // Nothing can be chosen although the label is known. Not called once something was chosen.
  std::function<void(const Error& error)> hopeless;
};

class NamedConfig {
 public:
  NamedConfig(asio::io_context& loop, NamedConfigOptions options, NamedConfigHandlers handlers);
  ~NamedConfig();
  NamedConfig(const NamedConfig&) = delete;
  NamedConfig& operator=(const NamedConfig&) = delete;

  // Why the label or the configuration it names is not followed; absent while all is well. Until
  // the first choice there is always something to say.
  std::optional<Error> problem() const;
  // Something was chosen, if only for want of what the label names.
  bool chosen() const;
  // An Event about this node; see KubeEvents.
  void tell(std::string reason, std::string message, bool warning);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// The names of the configurations in a directory: its files, also behind links, but not those whose
// name begins with "..". Errors: as of the directory.
Result<std::vector<std::string>> list_configs(const std::string& directory);

// The value of a label of a Node object (JSON); "" when it is not set.
std::string label_of(std::string_view node, const std::string& label);

}  // namespace kerf::agent
