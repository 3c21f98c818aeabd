// Copying two programs.
#include "cli/install_hook.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/put_file.h"
#include "base/roots.h"

#include <CLI/CLI.hpp>

namespace kerf::cli {
namespace {

constexpr mode_t kExecutable = 0755;
constexpr std::size_t kMostProgramBytes = 32 << 20;
constexpr char kElsewhere[] =
    "choose another directory of the host with --to, and name the same one with "
    "--nvidia-cdi-hook-path";

// Whether what lies in it may be run by the host as root.
Status check(const std::string& directory) {
  const Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat about{};
  if (!fd || fstat(fd.get(), &about) != 0) {
    return fail_errno("cannot open the directory for the hook program", directory, errno);
  }
  constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
  if (about.st_uid != geteuid() || (about.st_mode & kOthersWrite) != 0) {
    return fail(Kind::kDenied,
                "somebody else may write to the directory for the hook program, "
                "which the host runs as root",
                directory, "make it root's, mode 0755, or choose another one with --to");
  }
  struct statvfs system{};
  if (fstatvfs(fd.get(), &system) == 0 && (system.f_flag & ST_NOEXEC) != 0) {
    return fail(Kind::kDenied,
                "nothing can be run from the file system of the directory for the "
                "hook program: it is mounted noexec",
                directory, kElsewhere);
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> install_hook(const std::string& from,
                                              const std::string& directory) {
  if (mkdir(directory.c_str(), kExecutable) != 0 && errno != EEXIST) {
    return fail_errno("cannot make the directory for the hook program", directory, errno,
                      kElsewhere);
  }
  if (Status good = check(directory); !good) return fail(std::move(good.error()));
  std::vector<std::string> done;
  for (const char* name : {"kerf-cdi-hook", "ldconfig"}) {
    auto program = read_file(join_path(from, name), kMostProgramBytes);
    if (!program) {
      if (program.error().kind == Kind::kNotFound && std::string(name) == "ldconfig") continue;
      return fail(std::move(program.error()).during("looking for the hook program"));
    }
    const std::string path = join_path(directory, name);
    auto put = put_file(path, *program,
                        {.what = "hook program", .mode = kExecutable, .remedy = kElsewhere});
    if (!put) return fail(std::move(put.error()));
    if (*put) done.push_back("installed " + path);
  }
  return done;
}

int run_install_hook(std::span<const std::string> args) {
  CLI::App app("Puts the CDI hook program where the host's container runtime finds it.",
               "kerf install-hook");
  std::string to = "/opt/kerf/bin";
  std::string from = "/usr/libexec/kerf";
  app.add_option("--to", to, "directory of the host")->capture_default_str();
  app.add_option("--from", from, "where the image has it")->capture_default_str();
  try {
    // CLI11 takes them in reverse.
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto done = install_hook(from, to);
  if (!done) {
    log::error("install-hook", "cannot put the CDI hook program on the host", done.error());
    return 1;
  }
  for (const std::string& text : *done) log::info("install-hook", "changed", {{"did", text}});
  return 0;
}

}  // namespace kerf::cli
