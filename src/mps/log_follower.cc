#include "mps/log_follower.h"

#include <array>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/roots.h"
#include "base/strings.h"

namespace kerf::mps {
namespace {

constexpr std::size_t kLongestLine = 4096;
constexpr std::uint64_t kMostAtOnce = 1
                                      << 20;  // of a file that grows faster the middle is left out

}  // namespace

void LogFollower::take(std::string_view source, std::string_view text) {
  auto found = unfinished_.find(source);
  if (found == unfinished_.end()) found = unfinished_.emplace(source, "").first;
  std::string& line = found->second;
  for (char c : text) {
    if (c != '\n' && line.size() < kLongestLine) {
      line.push_back(c);
      continue;
    }
    if (!trim(line).empty()) {
      last_ = valid_utf8(trim(line));
      log::info("mps", "daemon says", {{"resource", resource_}, {"from", source}, {"line", last_}});
    }
    line.clear();
  }
}

void LogFollower::read_files() {
  for (const char* name : {"control.log", "server.log"}) read_file(name);
}

void LogFollower::read_file(const char* name) {
  Fd fd(open(join_path(directory_, name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts{};
  if (!fd || fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return;
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  std::uint64_t& offset = offsets_[name];
  if (size < offset) offset = 0;
  if (size - offset > kMostAtOnce) offset = size - kMostAtOnce;
  std::array<char, 4096> buffer{};
  while (offset < size) {
    const ssize_t got = pread(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got <= 0) return;
    offset += static_cast<std::uint64_t>(got);
    take(name, {buffer.data(), static_cast<std::size_t>(got)});
  }
}

}  // namespace kerf::mps
