// Resolving inside a root by openat2, and changing by descriptor what was found.
#include "hook/container_root.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::hook {
namespace {

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kPermissionBits = 07777;

struct Place {
  std::string parent;  // "/etc/ld.so.conf.d"; "/" for the root
  std::string name;    // "x.conf"; empty or dots are no name
};

Place split_off_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"/", std::string(path)};
  return {slash == 0 ? "/" : std::string(path.substr(0, slash)),
          std::string(path.substr(slash + 1))};
}

bool is_name(const std::string& name) { return !name.empty() && name != "." && name != ".."; }

// A path by which the kernel reaches what `fd` stands for.
std::string through(const Fd& fd) {
  return join_path(Roots::below("/").proc, "self/fd/" + std::to_string(fd.get()));
}

std::string some_letters() {
  std::array<unsigned char, 8> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) < 0) bytes.fill(0);
  std::string letters;
  for (unsigned char byte : bytes) letters.push_back(static_cast<char>('a' + byte % 26));
  return letters;
}

// The text of a link in a directory; empty for anything else.
std::string link_text(int directory, const std::string& name) {
  std::array<char, 4096> text{};
  const ssize_t size = readlinkat(directory, name.c_str(), text.data(), text.size());
  return size < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(size));
}

// Moves what was made under a hidden name to its own, in place of what had it.
Status put_in_place(int directory, const std::string& hidden, const Place& place,
                    const std::string& path) {
  if (renameat(directory, hidden.c_str(), directory, place.name.c_str()) == 0) return {};
  // A link or file does not replace a directory by itself; an empty one makes room.
  if (errno == EISDIR && unlinkat(directory, place.name.c_str(), AT_REMOVEDIR) == 0 &&
      renameat(directory, hidden.c_str(), directory, place.name.c_str()) == 0) {
    return {};
  }
  const int why = errno;
  unlinkat(directory, hidden.c_str(), 0);
  return fail_errno("cannot put in place", path, why);
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("cannot write", path, errno);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

bool stays_inside(std::string_view target, std::string_view path) {
  std::ptrdiff_t depth = 0;
  if (!target.starts_with('/')) {
    for (const std::string& part : split(split_off_name(path).parent, '/')) {
      if (!part.empty() && part != ".") depth += part == ".." ? -1 : 1;
    }
  }
  for (const std::string& part : split(target, '/')) {
    if (part.empty() || part == ".") continue;
    depth += part == ".." ? -1 : 1;
    if (depth < 0) return false;
  }
  return true;
}

Result<ContainerRoot> ContainerRoot::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("cannot open the container's root", path, errno);
  return ContainerRoot(std::move(fd), path);
}

Result<Fd> ContainerRoot::enter(std::string_view path, int flags, Reach reach) const {
  const std::string name(path);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  if (reach == Reach::kThisMount) how.resolve |= RESOLVE_NO_XDEV;
  for (;;) {
    const long fd = syscall(SYS_openat2, fd_.get(), name.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // EAGAIN: something was renamed above us meanwhile.
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EXDEV) {
      return fail(Kind::kDenied,
                  "lies on another mount than the container's root, and is left alone", name,
                  "leave the hook out with --cdi-disable-hooks", EXDEV);
    }
    if (errno == ENOSYS) {
      return fail(Kind::kUnsupported, "this kernel has no openat2 (Linux 5.6)", name,
                  "set --nvidia-cdi-hook-path to the program of NVIDIA's container toolkit");
    }
    return fail_errno("cannot open in the container", name, errno);
  }
}

Result<Fd> ContainerRoot::find(std::string_view path, Reach reach) const {
  return enter(path, O_PATH, reach);
}

bool ContainerRoot::has(std::string_view path) const {
  return find(path, Reach::kAnyMount).has_value();
}

Result<std::string> ContainerRoot::read(std::string_view path, std::size_t limit) const {
  auto found = find(path, Reach::kAnyMount);
  if (!found) return fail(std::move(found.error()));
  struct stat about{};
  // Before it is opened for reading: that alone may block on a pipe, or act on a device.
  if (fstat(found->get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return fail(Kind::kInvalid, "not a regular file", std::string(path));
  }
  return read_file(through(*found), limit);
}

std::vector<std::string> ContainerRoot::names(std::string_view directory) const {
  std::vector<std::string> names;
  auto fd = enter(directory, O_RDONLY | O_DIRECTORY, Reach::kAnyMount);
  if (!fd) return names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(fdopendir(fd->get()), closedir);
  if (!open) return names;
  fd->release();
  while (const dirent* entry = readdir(open.get())) {
    if (is_name(entry->d_name)) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<Fd> ContainerRoot::make_directory(std::string_view path, Reach reach) const {
  auto there = enter("/", O_PATH | O_DIRECTORY, reach);
  std::string done;
  for (const std::string& part : split(path, '/')) {
    if (!there || part.empty() || part == ".") continue;
    const std::string next = join_path(done, part);
    auto below = enter(next, O_PATH | O_DIRECTORY, reach);
    if (!below && below.error().native == ENOENT && is_name(part)) {
      if (mkdirat(there->get(), part.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
        return fail_errno("cannot make the directory in the container", next, errno);
      }
      below = enter(next, O_PATH | O_DIRECTORY, reach);
    }
    there = std::move(below);
    done = next;
  }
  return there;
}

Result<bool> ContainerRoot::put(std::string_view path, std::string_view text, mode_t mode) const {
  const std::string subject(path);
  const Place place = split_off_name(path);
  if (!is_name(place.name)) return fail(Kind::kInvalid, "names no file", subject);
  auto directory = make_directory(place.parent, Reach::kThisMount);
  if (!directory) return fail(std::move(directory.error()));
  struct stat about{};
  if (fstatat(directory->get(), place.name.c_str(), &about, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISREG(about.st_mode)) {
    if (auto now = read(path, text.size() + 1); now && *now == text) return false;
  }
  const std::string hidden = ".kerf-" + some_letters();
  Fd file(openat(directory->get(), hidden.c_str(),
                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!file) return fail_errno("cannot make a file in the container", subject, errno);
  Status done = write_all(file.get(), text, subject);
  if (done && fchmod(file.get(), mode) != 0)
    done = fail_errno("cannot set the mode", subject, errno);
  if (!done) unlinkat(directory->get(), hidden.c_str(), 0);
  if (done) done = put_in_place(directory->get(), hidden, place, subject);
  if (!done) return fail(std::move(done.error()));
  return true;
}

Result<bool> ContainerRoot::link(std::string_view target, std::string_view path,
                                 Reach reach) const {
  const std::string subject(path);
  const std::string text(target);
  const Place place = split_off_name(path);
  if (!is_name(place.name) || text.empty()) return fail(Kind::kInvalid, "names no link", subject);
  if (!stays_inside(target, path)) {
    return fail(Kind::kInvalid, "a link to " + text + " leads out of the container", subject);
  }
  auto directory = make_directory(place.parent, reach);
  if (!directory) return fail(std::move(directory.error()));
  if (link_text(directory->get(), place.name) == text) return false;
  const std::string hidden = ".kerf-" + some_letters();
  if (symlinkat(text.c_str(), directory->get(), hidden.c_str()) != 0) {
    return fail_errno("cannot make a link in the container", subject, errno);
  }
  if (Status done = put_in_place(directory->get(), hidden, place, subject); !done) {
    return fail(std::move(done.error()));
  }
  return true;
}

Result<bool> ContainerRoot::set_mode(std::string_view path, mode_t mode) const {
  auto found = find(path, Reach::kAnyMount);
  if (!found) return fail(std::move(found.error()));
  struct stat about{};
  if (fstat(found->get(), &about) == 0 && (about.st_mode & kPermissionBits) == mode) return false;
  if (chmod(through(*found).c_str(), mode) != 0) {
    return fail_errno("cannot set the mode in the container", std::string(path), errno);
  }
  return true;
}

}  // namespace kerf::hook
