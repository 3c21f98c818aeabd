// Reading the command line.
#include "hook/arguments.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/strings.h"

namespace kerf::hook {
namespace {

struct Name {
  std::string_view word;
  Task task;
};
constexpr std::array<Name, 6> kTasks = {
    {{"create-symlinks", Task::kCreateSymlinks},
     {"update-ldcache", Task::kUpdateLdcache},
     {"enable-cuda-compat", Task::kEnableCudaCompat},
     {"chmod", Task::kChmod},
     {"disable-device-node-modification", Task::kDisableDeviceNodeModification},
     {"update-application-profile", Task::kUpdateApplicationProfile}}};

Task task_of(std::string_view word) {
  for (const Name& name : kTasks) {
    if (name.word == word) return name.task;
  }
  return Task::kUnknown;
}

std::optional<mode_t> octal(std::string_view text) {
  mode_t mode = 0;
  if (text.empty() || text.size() > 5) return std::nullopt;
  for (char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<mode_t>(c - '0');
  }
  return mode <= 07777 ? std::optional(mode) : std::nullopt;
}

Status bad(std::string what, const std::string& subject, std::string hint = {}) {
  return fail(Kind::kInvalid, std::move(what), subject, std::move(hint));
}

Status absolute(const std::string& option, const std::string& value) {
  if (value.starts_with('/') && value.find('\n') == std::string::npos) return {};
  return bad("an absolute path is needed", option + " " + value);
}

Status take_link(const std::string& value, Arguments& into) {
  const std::size_t at = value.find("::");
  if (at == std::string::npos || at == 0) {
    return bad("a link is written target::path", "--link " + value);
  }
  Link link{value.substr(0, at), value.substr(at + 2)};
  if (Status good = absolute("--link", link.path); !good) return good;
  into.links.push_back(std::move(link));
  return {};
}

// True when `option` belongs to the task.
Result<bool> take(const std::string& option, const std::string& value, Arguments& into) {
  auto taken = [](Status status) -> Result<bool> {
    if (!status) return fail(std::move(status.error()));
    return true;
  };
  if (option == "--container-spec") {
    into.state = value.empty() ? "-" : value;
    return true;
  }
  if (into.task == Task::kCreateSymlinks && option == "--link")
    return taken(take_link(value, into));
  if (into.task == Task::kUpdateLdcache && option == "--folder") {
    into.folders.push_back(value);
    return taken(absolute(option, value));
  }
  if (into.task == Task::kUpdateLdcache && option == "--ldconfig-path") {
    into.ldconfig = value.starts_with('@') ? value.substr(1) : value;  // "@": a path of the host
    return true;
  }
  if (into.task == Task::kEnableCudaCompat) {
    if (option == "--host-driver-version") return into.driver_version = value, true;
    // What the driver's version already says.
    if (option == "--host-cuda-version") return true;
    if (option == "--cuda-compat-container-root") {
      into.compat_root = value;
      return taken(absolute(option, value));
    }
  }
  if (into.task == Task::kChmod && option == "--path") {
    into.paths.push_back(value);
    return taken(absolute(option, value));
  }
  if (into.task == Task::kChmod && option == "--mode") {
    if (auto mode = octal(value)) return into.mode = *mode, true;
    return taken(bad("a mode is written in octal, such as 755", "--mode " + value));
  }
  return false;
}

Status complete(const Arguments& arguments) {
  if (arguments.task == Task::kEnableCudaCompat && arguments.driver_version.empty()) {
    return bad("says nothing of the host's driver", "enable-cuda-compat",
               "add --host-driver-version=VERSION");
  }
  if (arguments.task == Task::kChmod && arguments.mode == 0 && !arguments.paths.empty()) {
    return bad("says no mode", "chmod", "add --mode=755");
  }
  return {};
}

}  // namespace

Result<Arguments> parse_arguments(std::span<const std::string> words) {
  if (!words.empty() && words[0] == "hook") words = words.subspan(1);
  if (words.empty()) return fail(Kind::kInvalid, "no hook is named", "", "--help lists them");
  Arguments arguments;
  arguments.word = words[0];
  arguments.task = task_of(words[0]);
  if (arguments.task == Task::kUnknown) return arguments;
  for (std::size_t i = 1; i < words.size(); ++i) {
    std::string option = words[i];
    std::string value;
    if (const std::size_t equals = option.find('='); equals != std::string::npos) {
      value = option.substr(equals + 1);
      option.resize(equals);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    } else {
      return fail(Kind::kInvalid, "an option without a value", option);
    }
    auto taken = take(option, value, arguments);
    if (!taken) return fail(std::move(taken.error()));
    if (!*taken) return fail(Kind::kInvalid, "no option of " + arguments.word, option);
  }
  if (Status whole = complete(arguments); !whole) return fail(std::move(whole.error()));
  return arguments;
}

std::string help() {
  return "usage: kerf-cdi-hook HOOK [OPTIONS], by a container runtime\n\n"
         "What CDI specifications have runtimes do inside a container that is being created.\n\n"
         "  create-symlinks --link TARGET::PATH ...\n"
         "  update-ldcache [--ldconfig-path PROGRAM] --folder DIRECTORY ...\n"
         "  enable-cuda-compat --host-driver-version VERSION [--cuda-compat-container-root "
         "DIRECTORY]\n"
         "  chmod --mode MODE --path PATH ...\n"
         "  disable-device-node-modification\n"
         "  update-application-profile\n\n"
         "The container's state is read from standard input, or from --container-spec FILE.\n";
}

}  // namespace kerf::hook
