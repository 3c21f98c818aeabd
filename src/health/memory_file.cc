#include "health/memory_file.h"

#include <cerrno>
#include <sys/stat.h>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/put_file.h"
#include "base/strings.h"

namespace kerf::health {
namespace {

constexpr std::string_view kFileName = "health";
constexpr std::string_view kRemedy =
    "give --state-dir (KERF_STATE_DIR) a directory that may be written, or none";

// A module that is loaded anew has a new folder, and the kernel numbers those one after the other.
std::string load_of_module(const Roots& roots) {
  struct stat about{};
  if (stat(join_path(roots.sys, "module/nvidia").c_str(), &about) != 0) return "-";
  return std::to_string(about.st_ino);
}

std::string boot_path(const Roots& roots) {
  return join_path(roots.proc, "sys/kernel/random/boot_id");
}

}  // namespace

MemoryFile::MemoryFile(const std::string& directory, Roots roots, const Roots& own)
    : roots_(std::move(roots)) {
  if (directory.empty()) return;
  std::string boot = boot_path(roots_);
  Result<std::string> id = read_file(boot);
  if (!id && id.error().native == ENOENT) id = read_file(boot = boot_path(own));
  if (id) epoch_.boot = trim(*id);
  if (epoch_.boot.empty()) {
    say_once(id ? Error{Kind::kCorrupt, "this boot has no id", boot, "", 0} : id.error());
    return;
  }
  // When this fails, so will writing the file, which says why.
  static_cast<void>(mkdir(directory.c_str(), 0755));
  path_ = join_path(directory, kFileName);
}

void MemoryFile::driver_started(const std::string& version) {
  epoch_.driver = version;
  epoch_.load = load_of_module(roots_);
}

std::optional<Memory> MemoryFile::load() {
  if (path_.empty()) return std::nullopt;
  Result<std::string> text = read_file(path_);
  if (!text) {
    text.error().hint = kRemedy;
    if (text.error().native != ENOENT) say_once(text.error());
    return std::nullopt;
  }
  Result<Memory> memory = memory_from_text(*text, path_);
  if (!memory) {
    log::warn("health", "what was known of the GPUs cannot be read and begins anew",
              memory.error());
    return std::nullopt;
  }
  if (memory->epoch != epoch_) {
    const bool same_boot = memory->epoch.boot == epoch_.boot;
    log::info("health", "what was known of the GPUs is forgotten",
              {{"why", same_boot ? "the driver was loaded anew" : "the node was booted"}});
    return std::nullopt;
  }
  kept_ = *memory;
  return std::move(*memory);
}

void MemoryFile::save(Memory memory) {
  if (path_.empty()) return;
  memory.epoch = epoch_;
  if (kept_ == memory) return;
  Result<bool> put = put_file(path_, to_text(memory),
                              {.what = "memory of unhealthy GPUs", .remedy = std::string(kRemedy)});
  if (!put) {
    say_once(put.error());
    return;
  }
  kept_ = std::move(memory);
  said_ = false;
}

void MemoryFile::say_once(const Error& error) {
  if (std::exchange(said_, true)) return;
  log::warn("health", "a restart of the agent will forget what XIDs did to GPUs", error);
}

}  // namespace kerf::health
