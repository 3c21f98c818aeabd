#include "cli/busy_command.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <map>
#include <memory>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vector>

#include "base/files.h"
#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::cli {

Result<std::string> render_modules(std::string_view text) {
  std::string out = "Module                  Size  Used by\n";
  int number = 0;
  for (const std::string& line : split(text, '\n')) {
    ++number;
    if (trim(line).empty()) continue;
    // name size count users state address; count is "-" where modules cannot be unloaded.
    const std::vector<std::string> words = split(line, ' ');
    const auto size = words.size() < 4 ? std::nullopt : parse_u64(words[1]);
    if (!size) {
      return fail(Kind::kCorrupt, "not a list of kernel modules",
                  "line " + std::to_string(number) + ": " + line);
    }
    std::string users = words[3] == "-" ? "" : words[3];
    while (users.ends_with(',')) users.pop_back();
    out += fmt::format("{:<19} {:>8}  {}{}{}\n", words[0], *size, words[2],
                       users.empty() ? "" : " ", users);
  }
  return out;
}

Result<std::string> list_modules(const Roots& roots) {
  const std::string path = join_path(roots.proc, "modules");
  auto text = read_file(path);
  if (!text && text.error().kind == Kind::kNotFound) {
    return fail(Kind::kUnsupported, "this kernel has no loadable modules", path,
                "drivers must be built into it, or it must be built with CONFIG_MODULES");
  }
  if (!text) return fail(std::move(text.error()));
  return render_modules(*text);
}

namespace {

// Names by number, from the third field of /etc/passwd or /etc/group.
class Names {
 public:
  explicit Names(const std::string& path) {
    const auto text = read_file(path);
    if (!text) return;  // numbers will do
    for (const std::string& line : split(*text, '\n')) {
      const std::vector<std::string> fields = split(line, ':');
      if (fields.size() < 3) continue;
      if (const auto id = parse_u64(fields[2])) by_id_.emplace(*id, fields[0]);
    }
  }

  std::string of(std::uint64_t id) const {
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? std::to_string(id) : at->second;
  }

 private:
  std::map<std::uint64_t, std::string> by_id_;
};

std::string mode_text(mode_t mode) {
  constexpr std::array<std::pair<mode_t, char>, 6> kTypes = {{{S_IFDIR, 'd'},
                                                              {S_IFLNK, 'l'},
                                                              {S_IFSOCK, 's'},
                                                              {S_IFCHR, 'c'},
                                                              {S_IFBLK, 'b'},
                                                              {S_IFIFO, 'p'}}};
  std::string out = "-rwxrwxrwx";
  for (const auto& [type, letter] : kTypes) {
    if ((mode & S_IFMT) == type) out[0] = letter;
  }
  for (unsigned bit = 0; bit < 9; ++bit) {
    if ((mode & (0400u >> bit)) == 0) out[bit + 1] = '-';
  }
  const auto special = [&](mode_t bit, std::size_t at, char lower, char upper) {
    if ((mode & bit) != 0) out[at] = out[at] == 'x' ? lower : upper;
  };
  special(S_ISUID, 3, 's', 'S');
  special(S_ISGID, 6, 's', 'S');
  special(S_ISVTX, 9, 't', 'T');
  return out;
}

std::string time_text(std::time_t when, std::time_t now) {
  constexpr std::time_t kHalfYear = 365 * 24 * 3600 / 2;
  const bool near = when <= now && now - when < kHalfYear;
  std::tm parts{};
  gmtime_r(&when, &parts);
  std::array<char, 32> text{};
  const std::size_t size =
      strftime(text.data(), text.size(), near ? "%b %e %H:%M" : "%b %e  %Y", &parts);
  return std::string(text.data(), size);
}

struct Row {
  std::string mode, links, owner, group, size, time, name;
  std::uint64_t blocks = 0;  // of 512 bytes
};

struct Context {
  Names users, groups;
  std::time_t now = 0;
};

Result<Row> describe(const std::string& path, const std::string& name, const Context& context) {
  struct stat about{};
  if (lstat(path.c_str(), &about) != 0) return fail_errno("cannot access", path, errno);
  Row row;
  const bool has_acl =
      !S_ISLNK(about.st_mode) && lgetxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
  row.mode = mode_text(about.st_mode) + (has_acl ? "+" : "");
  row.links = std::to_string(about.st_nlink);
  row.owner = context.users.of(about.st_uid);
  row.group = context.groups.of(about.st_gid);
  row.size = S_ISCHR(about.st_mode) || S_ISBLK(about.st_mode)
                 ? fmt::format("{}, {}", major(about.st_rdev), minor(about.st_rdev))
                 : std::to_string(about.st_size);
  row.time = time_text(about.st_mtime, context.now);
  row.name = name;
  row.blocks = static_cast<std::uint64_t>(about.st_blocks);
  if (S_ISLNK(about.st_mode)) {
    std::array<char, 4096> target{};
    const ssize_t size = readlink(path.c_str(), target.data(), target.size());
    if (size >= 0) row.name += " -> " + std::string(target.data(), static_cast<std::size_t>(size));
  }
  return row;
}

// Columns as wide as their widest cell; numbers to the right, words to the left.
std::string table(const std::vector<Row>& rows) {
  std::array<std::size_t, 5> wide{};
  for (const Row& row : rows) {
    const std::array<const std::string*, 5> cells{&row.mode, &row.links, &row.owner, &row.group,
                                                  &row.size};
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = std::max(wide[i], cells[i]->size());
  }
  std::string out;
  for (const Row& row : rows) {
    out += fmt::format("{:<{}} {:>{}} {:<{}} {:<{}} {:>{}} {} {}\n", row.mode, wide[0], row.links,
                       wide[1], row.owner, wide[2], row.group, wide[3], row.size, wide[4], row.time,
                       row.name);
  }
  return out;
}

Result<std::vector<std::string>> names_in(const std::string& path, ListStyle style) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (!directory) return fail_errno("cannot open directory", path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    const bool self = name == "." || name == "..";
    if (name.starts_with('.') && !style.all && (!style.almost_all || self)) continue;
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_directory(const std::string& path, ListStyle style) {
  struct stat about{};
  // As the real one does: -l shows a link itself, unless a slash asks for what it leads to.
  const bool follow = !style.longer || path.ends_with('/');
  return (follow ? stat(path.c_str(), &about) : lstat(path.c_str(), &about)) == 0 &&
         S_ISDIR(about.st_mode);
}

}  // namespace

Result<std::string> list_files(const std::string& path, ListStyle style, const Roots& roots,
                               std::time_t now) {
  const Context context{Names(join_path(roots.etc, "passwd")), Names(join_path(roots.etc, "group")),
                        now};
  const bool directory = is_directory(path, style);
  std::vector<std::string> names{path};
  if (directory) {
    auto read = names_in(path, style);
    if (!read) return fail(std::move(read.error()));
    names = *std::move(read);
  }
  std::vector<Row> rows;
  std::uint64_t blocks = 0;
  for (const std::string& name : names) {
    auto row = describe(directory ? join_path(path, name) : path, name, context);
    // What vanishes while a directory is read was not there.
    if (!row && directory) continue;
    if (!row) return fail(std::move(row.error()));
    blocks += row->blocks;
    rows.push_back(*std::move(row));
  }
  if (style.longer) {
    // The total is in KiB.
    return (directory ? fmt::format("total {}\n", blocks / 2) : "") + table(rows);
  }
  std::string out;
  for (const Row& row : rows) out += row.name.substr(0, row.name.find(" -> ")) + "\n";
  return out;
}

namespace {

int print(const char* command, const Result<std::string>& text) {
  if (text) {
    std::fwrite(text->data(), 1, text->size(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
  }
  std::fputs((std::string(command) + ": " + text.error().text() + "\n").c_str(), stderr);
  return 1;
}

int wrong_usage(const char* command, const std::string& argument, const char* usage) {
  std::fputs(
      fmt::format("{}: unknown argument '{}'; usage: {}\n", command, argument, usage).c_str(),
      stderr);
  return 2;
}

// False when a letter is none of ours.
bool read_letters(std::string_view letters, ListStyle& style) {
  for (const char letter : letters) {
    if (letter == 'a') {
      style.all = true;
    } else if (letter == 'A') {
      style.almost_all = true;
    } else if (letter == 'l') {
      style.longer = true;
    } else if (letter != '1') {  // -1 is how we list anyway
      return false;
    }
  }
  return true;
}

}  // namespace

int run_lsmod(std::span<const std::string> args, const Roots& roots) {
  if (!args.empty()) return wrong_usage("lsmod", args.front(), "lsmod");
  return print("lsmod", list_modules(roots));
}

int run_ls(std::span<const std::string> args, const Roots& roots) {
  ListStyle style;
  std::vector<std::string> paths;
  for (const std::string& arg : args) {
    if (arg.size() > 1 && arg.front() == '-') {
      if (!read_letters(std::string_view(arg).substr(1), style)) {
        return wrong_usage("ls", arg, "ls [-a] [-A] [-l] [-1] [PATH...]");
      }
    } else {
      paths.push_back(arg);
    }
  }
  if (paths.empty()) paths.emplace_back(".");
  int status = 0;
  for (const std::string& path : paths) {
    if (paths.size() > 1) std::fputs((path + ":\n").c_str(), stdout);
    status = std::max(status, print("ls", list_files(path, style, roots, std::time(nullptr))));
  }
  return status;
}

}  // namespace kerf::cli
