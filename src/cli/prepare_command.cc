#include "cli/prepare_command.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/roots.h"

#include <CLI/CLI.hpp>

namespace kerf::cli {
namespace {

// The attribute's layout: a 32-bit version, then entries of 16-bit tag, 16-bit permissions and
// 32-bit id, all little-endian, sorted by tag and id. Source: Linux UAPI, posix_acl_xattr.
constexpr char kAccessAcl[] = "system.posix_acl_access";
constexpr std::uint32_t kAclVersion = 2;
constexpr std::uint32_t kNoId = 0xffffffff;
constexpr std::size_t kEntryBytes = 8;
constexpr std::size_t kHeaderBytes = 4;

enum Tag : std::uint16_t {
  kOwner = 0x01,
  kNamedUser = 0x02,
  kGroup = 0x04,
  kNamedGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

constexpr std::uint16_t kRead = 4;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kSearch = 1;

struct Entry {
  std::uint16_t tag;
  std::uint16_t permissions;
  std::uint32_t id;

  bool operator==(const Entry&) const = default;
};
using Acl = std::vector<Entry>;

void put(std::string& out, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

std::uint32_t take(std::string_view in, std::size_t at, int bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    value |=
        static_cast<std::uint32_t>(static_cast<unsigned char>(in[at + static_cast<std::size_t>(i)]))
        << (8 * i);
  }
  return value;
}

std::string encode(const Acl& acl) {
  std::string out;
  put(out, kAclVersion, 4);
  for (const Entry& entry : acl) {
    put(out, entry.tag, 2);
    put(out, entry.permissions, 2);
    put(out, entry.id, 4);
  }
  return out;
}

std::optional<Acl> decode(std::string_view in) {
  if (in.size() < kHeaderBytes || (in.size() - kHeaderBytes) % kEntryBytes != 0 ||
      take(in, 0, 4) != kAclVersion) {
    return std::nullopt;
  }
  Acl acl;
  for (std::size_t at = kHeaderBytes; at < in.size(); at += kEntryBytes) {
    acl.push_back({static_cast<std::uint16_t>(take(in, at, 2)),
                   static_cast<std::uint16_t>(take(in, at + 2, 2)), take(in, at + 4, 4)});
  }
  return acl;
}

// The three entries every file has, which is what its mode bits say.
Acl from_mode(mode_t mode) {
  auto bits = [mode](unsigned shift) { return static_cast<std::uint16_t>(mode >> shift & 7u); };
  return {{kOwner, bits(6), kNoId}, {kGroup, bits(3), kNoId}, {kOther, bits(0), kNoId}};
}

Entry* find(Acl& acl, std::uint16_t tag, std::uint32_t id) {
  auto at = std::find_if(acl.begin(), acl.end(),
                         [&](const Entry& e) { return e.tag == tag && e.id == id; });
  return at == acl.end() ? nullptr : &*at;
}

// The same ACL with `permissions` for `uid` in effect, that is, also let through by the mask.
Acl granting(Acl acl, std::uint32_t uid, std::uint16_t permissions) {
  const Entry* group = find(acl, kGroup, kNoId);
  if (find(acl, kMask, kNoId) == nullptr) {
    acl.push_back({kMask, group == nullptr ? std::uint16_t{0} : group->permissions, kNoId});
  }
  if (find(acl, kNamedUser, uid) == nullptr) acl.push_back({kNamedUser, 0, uid});
  for (Entry* entry : {find(acl, kNamedUser, uid), find(acl, kMask, kNoId)}) {
    entry->permissions = static_cast<std::uint16_t>(entry->permissions | permissions);
  }
  std::sort(acl.begin(), acl.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.tag, a.id) < std::pair(b.tag, b.id);
  });
  return acl;
}

// A path by which the kernel reaches exactly the file that `fd` (O_PATH) stands for, whatever its
// name has become since.
std::string through(const Fd& fd) {
  return join_path(Roots::below("/").proc, "self/fd/" + std::to_string(fd.get()));
}

Error explain(std::string_view what, const std::string& path, int error_number) {
  std::string hint;
  Error error = fail_errno(what, path, error_number).value();
  if (error_number == EOPNOTSUPP) {
    error.kind = Kind::kUnsupported;
    error.hint =
        "this file system keeps no POSIX ACLs: let the plugin run as root by adding the component "
        "deploy/kustomize/components/root-plugin";
  } else if (error_number == EPERM || error_number == EACCES) {
    error.kind = Kind::kDenied;
    error.hint = "run `kerf prepare` as the owner of the kubelet's directory, which is root";
  } else if (error_number == EROFS) {
    error.hint = "mount the kubelet's directory writable";
  }
  return error;
}

// True when the ACL had to be changed.
Result<bool> grant(const Fd& fd, const std::string& path, mode_t mode, std::uint32_t uid,
                   std::uint16_t permissions) {
  const std::string file = through(fd);
  std::array<char, 4096> buffer{};
  const ssize_t size = getxattr(file.c_str(), kAccessAcl, buffer.data(), buffer.size());
  if (size < 0 && errno != ENODATA) return fail(explain("cannot read the ACL", path, errno));
  Acl before = from_mode(mode);
  if (size >= 0) {
    auto decoded = decode({buffer.data(), static_cast<std::size_t>(size)});
    if (!decoded) return fail(Kind::kCorrupt, "cannot understand the ACL", path);
    before = *std::move(decoded);
  }
  const Acl after = granting(before, uid, permissions);
  if (after == before) return false;
  const std::string value = encode(after);
  if (setxattr(file.c_str(), kAccessAcl, value.data(), value.size(), 0) != 0) {
    return fail(explain("cannot set the ACL", path, errno));
  }
  return true;
}

struct Opened {
  Fd fd;
  struct stat about;
};

// An O_PATH descriptor of the entry itself; a symbolic link is opened, not followed.
Result<Opened> open_entry(int directory, const std::string& name, const std::string& path) {
  Opened opened{Fd(openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)), {}};
  if (!opened.fd || fstat(opened.fd.get(), &opened.about) != 0) {
    return fail_errno("cannot open", path, errno);
  }
  return opened;
}

Result<Opened> open_directory(const std::string& path) {
  auto opened = open_entry(AT_FDCWD, path, path);
  if (!opened) {
    Error error = std::move(opened.error());
    error.hint =
        "the kubelet makes this directory when it starts; give another one with "
        "--kubelet-dir if its --root-dir differs";
    return fail(std::move(error));
  }
  if (!S_ISDIR(opened->about.st_mode)) {
    return fail(Kind::kInvalid, "not a directory", path,
                "give the kubelet's device-plugin "
                "directory with --kubelet-dir");
  }
  return opened;
}

Result<bool> make_sticky(const Opened& directory, const std::string& path) {
  if ((directory.about.st_mode & S_ISVTX) != 0) return false;
  // With an ACL the group bits show the mask, which must be kept: read the mode anew.
  struct stat now{};
  if (fstat(directory.fd.get(), &now) != 0 ||
      chmod(through(directory.fd).c_str(), (now.st_mode & 07777) | S_ISVTX) != 0) {
    return fail(explain("cannot set the sticky bit", path, errno));
  }
  return true;
}

bool nobody_listens(const Fd& socket_file) {
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = through(socket_file);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return probe &&
         connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

std::vector<std::string> names_in(const Opened& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(through(directory.fd).c_str()), closedir);
  if (!open) return names;
  while (const dirent* entry = readdir(open.get())) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

// Sockets that a plugin run by another user left behind.
std::vector<std::string> remove_left_behind(const Opened& directory, const PrepareTarget& target) {
  std::vector<std::string> done;
  for (const std::string& name : names_in(directory)) {
    if (!name.starts_with("nvidia-") || !name.ends_with(".sock")) continue;
    const std::string path = join_path(target.directory, name);
    auto entry = open_entry(directory.fd.get(), name, path);
    if (!entry || !S_ISSOCK(entry->about.st_mode) || entry->about.st_uid == target.uid ||
        !nobody_listens(entry->fd)) {
      continue;
    }
    if (unlinkat(directory.fd.get(), name.c_str(), 0) == 0) {
      done.push_back("removed " + path + ", on which nobody listens");
    }
  }
  return done;
}

}  // namespace

namespace {

// Lets the uid make files in a directory, and change only its own.
Status open_up(const Opened& directory, const std::string& path, std::uint32_t uid,
               std::vector<std::string>& done) {
  auto granted = grant(directory.fd, path, directory.about.st_mode, uid, kRead | kWrite | kSearch);
  if (!granted) return fail(std::move(granted.error()));
  if (*granted) done.push_back("let uid " + std::to_string(uid) + " use " + path);
  auto sticky = make_sticky(directory, path);
  if (!sticky) return fail(std::move(sticky.error()));
  if (*sticky) done.push_back("set the sticky bit on " + path);
  return {};
}

Status prepare_cdi(const PrepareTarget& target, std::vector<std::string>& done) {
  const std::string& path = target.cdi_directory;
  constexpr mode_t kMode = 0755;
  if (mkdir(path.c_str(), kMode) == 0) {
    done.push_back("made " + path);
  } else if (errno != EEXIST) {
    return fail(explain("cannot make the directory for CDI specifications", path, errno));
  }
  auto directory = open_entry(AT_FDCWD, path, path);
  if (!directory) return fail(std::move(directory.error()));
  if (!S_ISDIR(directory->about.st_mode)) {
    return fail(Kind::kInvalid, "not a directory", path,
                "give the directory for CDI specifications with --cdi-dir");
  }
  if (Status opened = open_up(*directory, path, target.uid, done); !opened) return opened;
  for (const std::string& name : names_in(*directory)) {
    if (!name.starts_with("k8s.device-plugin.nvidia.com-") || !name.ends_with(".json")) continue;
    auto entry = open_entry(directory->fd.get(), name, join_path(path, name));
    if (!entry || !S_ISREG(entry->about.st_mode) || entry->about.st_uid == target.uid) continue;
    if (unlinkat(directory->fd.get(), name.c_str(), 0) == 0) {
      done.push_back("removed " + join_path(path, name) + ", which another user wrote");
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> prepare_once(const PrepareTarget& target) {
  auto directory = open_directory(target.directory);
  if (!directory) return fail(std::move(directory.error()));
  std::vector<std::string> done;
  const std::string user = "uid " + std::to_string(target.uid);

  if (Status opened = open_up(*directory, target.directory, target.uid, done); !opened) {
    return fail(std::move(opened.error()));
  }
  for (std::string& text : remove_left_behind(*directory, target)) done.push_back(std::move(text));

  if (!target.cdi_directory.empty()) {
    if (Status prepared = prepare_cdi(target, done); !prepared) {
      return fail(std::move(prepared.error()));
    }
  }

  // No socket yet means the kubelet is about to make one. Anything else of that name is not ours
  // to open to anybody.
  const std::string socket_path = join_path(target.directory, "kubelet.sock");
  auto socket = open_entry(directory->fd.get(), "kubelet.sock", socket_path);
  if (!socket || !S_ISSOCK(socket->about.st_mode)) return done;
  auto granted = grant(socket->fd, socket_path, socket->about.st_mode, target.uid, kRead | kWrite);
  if (!granted) return fail(std::move(granted.error()));
  if (*granted) done.push_back("let " + user + " connect to " + socket_path);
  return done;
}

namespace {

constexpr std::uint32_t kWatched =
    IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

Result<Fd> stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Fd fd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd) return fail_errno("cannot receive signals", "signalfd", errno);
  return fd;
}

Result<Fd> watch(const std::string& directory) {
  Fd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd || inotify_add_watch(fd.get(), directory.c_str(), kWatched) < 0) {
    return fail_errno(
        "cannot watch the directory", directory, errno,
        "raise fs.inotify.max_user_instances or max_user_watches if they are used up");
  }
  return fd;
}

// Empties the queue; false when the directory itself went away.
bool still_there(const Fd& events) {
  alignas(inotify_event) std::array<char, 4096> buffer{};
  bool there = true;
  for (ssize_t size; (size = read(events.get(), buffer.data(), buffer.size())) > 0;) {
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if ((event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) there = false;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  return there;
}

Status prepare_and_log(const PrepareTarget& target) {
  auto done = prepare_once(target);
  if (!done) return fail(std::move(done.error()));
  for (const std::string& text : *done) log::info("prepare", "changed", {{"did", text}});
  return {};
}

}  // namespace

Status prepare_and_watch(const PrepareTarget& target) {
  auto signals = stop_signals();
  if (!signals) return fail(std::move(signals.error()));
  // Watch first: what happens while preparing is then seen too.
  auto events = watch(target.directory);
  if (!events) return fail(std::move(events.error()));
  for (;;) {
    if (auto done = prepare_and_log(target); !done) return done;
    std::array<pollfd, 2> waiting{{{signals->get(), POLLIN, 0}, {events->get(), POLLIN, 0}}};
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
      return fail_errno("cannot wait for events", target.directory, errno);
    }
    if (waiting[0].revents != 0) return {};
    if (waiting[1].revents != 0 && !still_there(*events)) {
      return fail(Kind::kGone, "the kubelet's directory was replaced", target.directory,
                  "restart this container so that it sees the new one");
    }
  }
}

int run_prepare(std::span<const std::string> args) {
  CLI::App app("Lets the plugin, run without root, use the kubelet's device-plugin directory.",
               "kerf prepare");
  PrepareTarget target{.directory = join_path(Roots::below("/").var, "lib/kubelet/device-plugins")};
  bool stay = false;
  app.add_option("--kubelet-dir", target.directory, "directory that holds kubelet.sock")
      ->capture_default_str();
  // The largest number stands for "no user" in the kernel.
  app.add_option("--uid", target.uid, "the user the plugin runs as")
      ->check(CLI::Range(0u, kNoId - 1))
      ->capture_default_str();
  app.add_option("--cdi-dir", target.cdi_directory,
                 "also this directory for CDI specifications, made if missing: /var/run/cdi");
  app.add_flag("--watch", stay, "stay, and prepare anew whenever the kubelet made a new socket");
  try {
    // CLI11 takes them in reverse.
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const Status done = stay ? prepare_and_watch(target) : prepare_and_log(target);
  if (done) return 0;
  log::error("prepare", "cannot let the plugin use the kubelet's directory", done.error());
  return 1;
}

}  // namespace kerf::cli
