// One task a call.
#include "hook/run.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <unistd.h>

#include "base/files.h"
#include "base/roots.h"
#include "hook/app_profile.h"
#include "hook/arguments.h"
#include "hook/container_root.h"
#include "hook/driver_params.h"
#include "hook/loader.h"
#include "hook/state.h"

namespace kerf::hook {
namespace {

constexpr std::size_t kMostState = 1 << 20;
constexpr std::size_t kMostConfig = 32 << 20;

void say(const std::string& text) { std::fprintf(stderr, "kerf-cdi-hook: %s\n", text.c_str()); }

Result<std::string> read_standard_input() {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("cannot read", "standard input", errno);
    if (size == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (text.size() > kMostState) return fail(Kind::kInvalid, "too long", "standard input");
  }
}

Result<ContainerRoot> find_root(const Arguments& arguments) {
  auto state =
      arguments.state == "-" ? read_standard_input() : read_file(arguments.state, kMostState);
  if (!state) return fail(std::move(state.error()).during("reading the container's state"));
  auto bundle = bundle_of(*state);
  if (!bundle) return fail(std::move(bundle.error()));
  auto config = read_file(join_path(*bundle, "config.json"), kMostConfig);
  if (!config) return fail(std::move(config.error()).during("reading the container's bundle"));
  auto path = root_of(*config, *bundle);
  if (!path) return fail(std::move(path.error()));
  return ContainerRoot::open(*path);
}

// The directory that this program lies in.
std::string own_directory(const Roots& host) {
  std::array<char, 4096> path{};
  const std::string self = join_path(host.proc, "self/exe");
  const ssize_t size = readlink(self.c_str(), path.data(), path.size());
  const std::string program(path.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  return program.substr(0, program.rfind('/'));
}

Result<std::string> make_links(const ContainerRoot& root, const Arguments& arguments) {
  int made = 0;
  for (const Link& link : arguments.links) {
    // The container's own /dev is a mount; everything else belongs into its root.
    const bool device = link.path.starts_with(join_path("/dev", ""));
    auto done = root.link(link.target, link.path, device ? Reach::kAnyMount : Reach::kThisMount);
    if (done) {
      made += *done ? 1 : 0;
    } else if (done.error().native == EXDEV) {
      say(done.error().text());  // a volume over a library folder: the container's own affair
    } else {
      return fail(std::move(done.error()));
    }
  }
  return std::to_string(made) + " links made";
}

Result<std::string> set_modes(const ContainerRoot& root, const Arguments& arguments) {
  int changed = 0;
  for (const std::string& path : arguments.paths) {
    auto done = root.set_mode(path, arguments.mode);
    if (done) {
      changed += *done ? 1 : 0;
    } else if (done.error().kind != Kind::kNotFound) {
      return fail(std::move(done.error()));
    }
  }
  return std::to_string(changed) + " modes changed";
}

Result<std::string> perform(const Arguments& arguments, const ContainerRoot& root,
                            const Roots& host) {
  switch (arguments.task) {
    case Task::kCreateSymlinks:
      return make_links(root, arguments);
    case Task::kUpdateLdcache:
      return update_library_cache(root, arguments, own_directory(host));
    case Task::kEnableCudaCompat:
      return enable_cuda_compat(root, arguments);
    case Task::kChmod:
      return set_modes(root, arguments);
    case Task::kDisableDeviceNodeModification:
      return disable_device_changes(root, host);
    case Task::kUpdateApplicationProfile:
      return update_application_profile(root);
    case Task::kUnknown:
      break;
  }
  return std::string("nothing to do");
}

int report(const Arguments& arguments, const Error& error) {
  // A library folder, or /etc, that is a volume: the container brings its own, as its owner wished.
  if (error.native == EXDEV) {
    say(arguments.word + ": " + error.text());
    return 0;
  }
  say(arguments.word + ": " + error.text());
  return 1;
}

}  // namespace

int run(std::span<const std::string> words) {
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) {
    std::fputs(help().c_str(), stdout);
    return 0;
  }
  auto arguments = parse_arguments(words);
  if (!arguments) {
    say(arguments.error().text());
    return 1;
  }
  if (arguments->task == Task::kUnknown) {
    say("no hook of this release, nothing is done: " + arguments->word);
    return 0;
  }
  const Roots host = Roots::below("/");
  auto root = find_root(*arguments);
  if (!root) return report(*arguments, root.error());
  auto done = perform(*arguments, *root, host);
  if (!done) return report(*arguments, done.error());
  return 0;
}

}  // namespace kerf::hook
