// Following links inside a tree.
#include "cdi/rooted.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <utility>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::cdi {
namespace {

namespace fs = std::filesystem;
constexpr int kMostLinks = 40;  // as the kernel

void put_in_front(std::deque<std::string>& parts, std::string_view path) {
  std::vector<std::string> more = split(path, '/');
  parts.insert(parts.begin(), more.begin(), more.end());
}

void step_up(std::string& path) { path.resize(path.empty() ? 0 : path.rfind('/')); }

}  // namespace

std::string Rooted::here(std::string_view path) const { return join_path(root_, path); }

std::optional<std::string> Rooted::resolve(std::string_view path) const {
  std::deque<std::string> parts;
  put_in_front(parts, path);
  std::string done;
  for (int links = 0; !parts.empty();) {
    const std::string part = std::move(parts.front());
    parts.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      step_up(done);
      continue;
    }
    const std::string next = join_path(done, part);
    std::error_code error;
    const fs::file_status status = fs::symlink_status(here(next), error);
    if (error || !fs::exists(status)) return std::nullopt;
    if (!fs::is_symlink(status)) {
      done = next;
      continue;
    }
    const std::string target = fs::read_symlink(here(next), error).string();
    if (error || ++links > kMostLinks) return std::nullopt;
    if (target.starts_with('/')) done.clear();
    put_in_front(parts, target);
  }
  return done.empty() ? "/" : done;
}

std::optional<std::string> Rooted::resolve_directory(std::string_view path) const {
  auto found = resolve(path);
  std::error_code error;
  if (!found || !fs::is_directory(here(*found), error)) return std::nullopt;
  return found;
}

std::optional<std::string> Rooted::read_link(std::string_view path) const {
  std::error_code error;
  const fs::path target = fs::read_symlink(here(path), error);
  if (error) return std::nullopt;
  return target.string();
}

std::vector<std::string> Rooted::names(std::string_view directory) const {
  std::vector<std::string> names;
  auto found = resolve_directory(directory);
  if (!found) return names;
  std::error_code error;
  for (fs::directory_iterator at(here(*found), error), end; !error && at != end;
       at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace kerf::cdi
