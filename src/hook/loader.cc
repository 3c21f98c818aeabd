// Loader configuration inside a container's root.
#include "hook/loader.h"

#include <algorithm>
#include <array>

#include "base/roots.h"
#include "base/strings.h"
#include "hook/sandbox.h"

namespace kerf::hook {
namespace {

constexpr char kConf[] = "/etc/ld.so.conf";
constexpr char kInclude[] = "include /etc/ld.so.conf.d/*.conf\n";
// Read in the order of names: compatibility libraries, the driver's, and at last what this system's
// loader searches anyway, since the host's ldconfig may know other folders.
constexpr char kCompatConf[] = "/etc/ld.so.conf.d/00-compat-kerf.conf";
constexpr char kDriverConf[] = "/etc/ld.so.conf.d/00-kerf.conf";
constexpr char kSystemConf[] = "/etc/ld.so.conf.d/zz-kerf.conf";
constexpr mode_t kReadable = 0644;
constexpr const char* kSystemFolders[] = {
    "/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu",  "/usr/lib/x86_64-linux-gnu",
    "/lib",   "/usr/lib",   "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
};
constexpr std::array<const char*, 2> kArchitectures = {"x86_64", "aarch64"};
constexpr char kMuslDefault[] = "/lib:/usr/local/lib:/usr/lib";

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (char c : text) {
    if (c != ' ' && c != '\t' && c != '\r') {
      word.push_back(c);
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text + "\n";
  return all;
}

Status tell_musl(const ContainerRoot& root, const std::vector<std::string>& folders) {
  for (const char* architecture : kArchitectures) {
    const std::string name = std::string("ld-musl-") + architecture;
    if (!root.has("/lib/" + name + ".so.1")) continue;
    const std::string path = "/etc/" + name + ".path";
    auto now = root.read(path);
    auto then = with_folders(now ? *now : "", folders);
    if (!then) continue;
    if (auto put = root.put(path, *then, kReadable); !put) return fail(std::move(put.error()));
  }
  return {};
}

Status tell_glibc(const ContainerRoot& root, const std::vector<std::string>& folders) {
  auto now = root.read(kConf);
  if (auto then = with_include(now ? *now : "")) {
    if (auto put = root.put(kConf, *then, kReadable); !put) return fail(std::move(put.error()));
  }
  if (auto put = root.put(kDriverConf, lines(folders), kReadable); !put) {
    return fail(std::move(put.error()));
  }
  std::vector<std::string> system;
  for (const char* folder : kSystemFolders) {
    if (root.has(folder)) system.emplace_back(folder);
  }
  if (auto put = root.put(kSystemConf, lines(system), kReadable); !put) {
    return fail(std::move(put.error()));
  }
  return {};
}

Result<Fd> find_ldconfig(const std::string& named, const std::string& own_directory) {
  std::vector<std::string> candidates;
  if (!named.empty()) candidates = {named, named + ".real"};
  candidates.push_back(join_path(own_directory, "ldconfig"));
  std::string tried;
  for (const std::string& candidate : candidates) {
    auto program = copy_static_program(candidate);
    if (program) return program;
    tried += (tried.empty() ? "" : "; ") + program.error().text();
  }
  return fail(Kind::kNotFound, "no ldconfig on the host that could be run: " + tried, named,
              "put a static one beside this program, as `kerf install-hook` does");
}

// "libcuda.so.550.54.14" gives "550.54.14"; "libcuda.so.1" nothing.
std::string version_in(const std::string& name) {
  constexpr std::string_view kStem = "libcuda.so.";
  if (!name.starts_with(kStem)) return "";
  std::string version = name.substr(kStem.size());
  return version.find('.') == std::string::npos ? "" : version;
}

}  // namespace

std::optional<std::string> with_include(std::string_view ld_so_conf) {
  for (const std::string& line : split(ld_so_conf, '\n')) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 2 || words[0] != "include") continue;
    const bool counts = std::ranges::any_of(words, [](const std::string& word) {
      return word == "ld.so.conf.d/*.conf" || word == "/etc/ld.so.conf.d/*.conf";
    });
    if (counts) return std::nullopt;
  }
  // In front, so that the driver's folders come first as they do elsewhere.
  return kInclude + std::string(ld_so_conf);
}

std::optional<std::string> with_folders(std::string_view musl_path,
                                        const std::vector<std::string>& folders) {
  std::string text(trim(musl_path).empty() ? kMuslDefault : trim(musl_path));
  std::string parts = text;
  std::ranges::replace(parts, '\n', ':');
  const std::vector<std::string> known = split(parts, ':');
  bool changed = false;
  for (const std::string& folder : folders) {
    if (std::ranges::find(known, folder) != known.end()) continue;
    text += ":" + folder;
    changed = true;
  }
  if (!changed) return std::nullopt;
  return text + "\n";
}

bool newer_major(std::string_view image, std::string_view host) {
  const auto ours = parse_u64(image.substr(0, image.find('.')));
  const auto theirs = parse_u64(host.substr(0, host.find('.')));
  return ours && theirs && *ours > *theirs;
}

Result<std::string> update_library_cache(const ContainerRoot& root, const Arguments& arguments,
                                         const std::string& own_directory) {
  if (arguments.folders.empty()) return std::string("no folders were named");
  auto ldconfig = find_ldconfig(arguments.ldconfig, own_directory);
  if (!ldconfig) return fail(std::move(ldconfig.error()));
  if (Status told = tell_musl(root, arguments.folders); !told) return fail(std::move(told.error()));
  if (Status told = tell_glibc(root, arguments.folders); !told)
    return fail(std::move(told.error()));
  const std::vector<std::string> command = {"ldconfig", "-f", kConf, "-C", "/etc/ld.so.cache"};
  if (Status done = run_in_container(root, *ldconfig, command); !done) {
    return fail(std::move(done.error()));
  }
  return "the loader knows " + join(arguments.folders, ", ");
}

Result<std::string> enable_cuda_compat(const ContainerRoot& root, const Arguments& arguments) {
  std::vector<std::string> versions;
  for (const std::string& name : root.names(arguments.compat_root)) {
    if (std::string version = version_in(name); !version.empty()) versions.push_back(version);
  }
  if (versions.empty()) return std::string("the image has no compatibility libraries");
  if (versions.size() > 1) {
    return "the image has libraries of several versions, none is chosen: " + join(versions, ", ");
  }
  if (!newer_major(versions[0], arguments.driver_version)) {
    return "the host's driver " + arguments.driver_version + " serves as well as the image's " +
           versions[0];
  }
  auto put = root.put(kCompatConf, arguments.compat_root + "\n", kReadable);
  if (!put) return fail(std::move(put.error()));
  return "the image's libraries " + versions[0] + " come before the host's " +
         arguments.driver_version;
}

}  // namespace kerf::hook
