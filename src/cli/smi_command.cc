#include "cli/smi_command.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/roots.h"
#include "base/strings.h"
#include "cli/driver_door.h"
#include "nvml/control.h"
#include "power/smi.h"
#include "power/types.h"

#include <fmt/format.h>

namespace kerf::cli {
namespace {

using nvml::Telemetry;
using power::SmiGpu;
using SessionPtr = std::shared_ptr<const nvml::Session>;
namespace abi = nvml::abi;

constexpr int kBadArguments = 2;
constexpr int kUnknownError = 255;

constexpr const char* kUsage =
    "usage: kerf smi [OPTIONS]    (also when called as nvidia-smi)\n\n"
    "Those of NVIDIA's nvidia-smi that show GPUs and set their power; kerf's own program.\n\n"
    "  -L, --list-gpus            one line a GPU\n"
    "  --query-gpu=FIELDS         with --format=csv[,noheader][,nounits]; --help-query-gpu lists\n"
    "  --query-compute-apps=FIELDS  who runs on them; --help-query-compute-apps lists\n"
    "  -q [-d SECTIONS]           all that is known, or POWER, MEMORY, TEMPERATURE, UTILIZATION,\n"
    "                             CLOCK\n"
    "  dmon [-s GROUPS] [-d SECONDS] [-c COUNT]  a line a GPU and turn; p, u, c: power, use, "
    "clocks\n"
    "  -pl, --power-limit=WATTS   set the power limit\n"
    "  -pm, --persistence-mode=0|1\n"
    "  -i, --id=GPUS              only these: indices, UUIDs or PCI addresses, comma separated\n"
    "  -l, --loop=SECONDS         again and again\n"
    "  --version\n"
    "without any: a table\n\n"
    "KERF_NVML_LIBRARY names the library to load; otherwise it is searched.\n";

struct Options {
  bool list = false, full = false, help = false, help_fields = false, version = false;
  bool help_app_fields = false;
  std::string query, apps, format;
  bool has_format = false;
  std::vector<std::string> sections;
  std::vector<std::string> ids;
  std::optional<std::uint32_t> limit_mw;
  std::optional<bool> persistence;
  std::uint64_t loop_seconds = 0;
  bool monitor = false;
  std::string groups = "puc";
  std::uint64_t turns = 0;  // 0: without end
};

Unexpected wrong(std::string what) { return fail(Kind::kInvalid, std::move(what)); }

struct Named {
  std::string_view letter, word;
  Status (*take)(Options& o, const std::string& value);
};

Status take_limit(Options& o, const std::string& value) {
  double watts = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), watts);
  const bool whole = error == std::errc() && end == value.data() + value.size();
  if (!whole || !(watts > 0 && watts < 100'000)) {
    return wrong("Unable to parse the power limit: " + value);
  }
  o.limit_mw = static_cast<std::uint32_t>(std::llround(watts * 1000));
  return {};
}

Status take_persistence(Options& o, const std::string& value) {
  const std::string word = to_lower(value);
  if (word != "0" && word != "1" && word != "disabled" && word != "enabled") {
    return wrong("Unable to parse the persistence mode: " + value);
  }
  o.persistence = word == "1" || word == "enabled";
  return {};
}

Status take_sections(Options& o, const std::string& value) {
  const auto known = power::smi_sections();
  for (const std::string& name : split(value, ',')) {
    if (std::ranges::find(known, name) == known.end()) {
      return wrong(
          fmt::format("Section \"{}\" is not known here; there are {}", name, join(known, ", ")));
    }
    o.sections.push_back(name);
  }
  return {};
}

Status take_loop(Options& o, const std::string& value) {
  auto seconds = parse_u64(value);
  if (!seconds || *seconds == 0) return wrong("Unable to parse the loop interval: " + value);
  o.loop_seconds = *seconds;
  return {};
}

// Those that have a value: "-i 0", "--id=0", "--id 0".
constexpr Named kNamed[] = {
    {"-i", "--id",
     [](Options& o, const std::string& v) -> Status {
       for (const std::string& id : split(v, ',')) o.ids.push_back(id);
       return {};
     }},
    {"-d", "--display", take_sections},
    {"-pl", "--power-limit", take_limit},
    {"-pm", "--persistence-mode", take_persistence},
    {"-l", "--loop", take_loop},
    {"", "--query-gpu",
     [](Options& o, const std::string& v) -> Status {
       o.query = v;
       return {};
     }},
    {"", "--query-compute-apps",
     [](Options& o, const std::string& v) -> Status {
       o.apps = v;
       return {};
     }},
    {"", "--format",
     [](Options& o, const std::string& v) -> Status {
       o.format = v;
       o.has_format = true;
       return {};
     }},
};

Status take(Options& o, std::span<const std::string> args, std::size_t& i) {
  const std::string& arg = args[i];
  auto is = [&](std::string_view letter, std::string_view word) {
    return arg == letter || arg == word;
  };
  bool* flag = is("-L", "--list-gpus")              ? &o.list
               : is("-q", "--query")                ? &o.full
               : is("-h", "--help")                 ? &o.help
               : arg == "--help-query-gpu"          ? &o.help_fields
               : arg == "--help-query-compute-apps" ? &o.help_app_fields
               : arg == "--version"                 ? &o.version
                                                    : nullptr;
  if (flag != nullptr) {
    *flag = true;
    return {};
  }
  const std::size_t equals = arg.find('=');
  const std::string name = arg.substr(0, equals);
  for (const Named& each : kNamed) {
    if (name != each.word && (each.letter.empty() || name != each.letter)) continue;
    if (equals != std::string::npos) return each.take(o, arg.substr(equals + 1));
    if (i + 1 >= args.size()) return wrong("A value is missing after " + name);
    return each.take(o, args[++i]);
  }
  return wrong(
      fmt::format("Invalid combination of input arguments: {}. kerf's nvidia-smi knows "
                  "part of NVIDIA's; see nvidia-smi -h",
                  arg));
}

// What follows "dmon".
Result<Options> parse_monitor(std::span<const std::string> args) {
  Options o;
  o.monitor = true;
  o.loop_seconds = 1;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& flag = args[i];
    if (flag == "-h" || flag == "--help") {
      o.help = true;
      continue;
    }
    if (i + 1 >= args.size()) return wrong("A value is missing after " + flag);
    const std::string& value = args[++i];
    const auto number = parse_u64(value);
    if ((flag == "-d" || flag == "-c") && (!number || *number == 0)) {
      return wrong(fmt::format("Unable to parse the value of {}: {}", flag, value));
    }
    if (flag == "-d") {
      o.loop_seconds = number.value_or(1);
    } else if (flag == "-c") {
      o.turns = number.value_or(0);
    } else if (flag == "-i") {
      o.ids = split(value, ',');
    } else if (flag == "-s" && !value.empty() && std::ranges::all_of(value, power::is_smi_group)) {
      o.groups = value;
    } else {
      return wrong(fmt::format("dmon does not know {} {} here; see nvidia-smi -h", flag, value));
    }
  }
  return o;
}

Result<Options> parse(std::span<const std::string> args) {
  if (!args.empty() && args[0] == "dmon") return parse_monitor(args.subspan(1));
  Options o;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (Status taken = take(o, args, i); !taken) return fail(std::move(taken.error()));
  }
  if (o.query.empty() && o.apps.empty()) return o;
  if (!o.query.empty() && !o.apps.empty()) {
    return wrong("Only one of --query-gpu and --query-compute-apps can be asked at a time");
  }
  const std::vector<std::string> words = split(o.format, ',');
  if (!o.has_format || std::ranges::find(words, "csv") == words.end()) {
    return wrong(fmt::format("\"{}\" needs \"--format=csv[,noheader][,nounits]\"",
                             o.apps.empty() ? "--query-gpu" : "--query-compute-apps"));
  }
  for (const std::string& word : words) {
    if (word != "csv" && word != "noheader" && word != "nounits") {
      return wrong("Unknown format \"" + word + "\"");
    }
  }
  return o;
}

bool says(const std::string& format, std::string_view word) {
  const std::vector<std::string> words = split(format, ',');
  return std::ranges::find(words, word) != words.end();
}

// What is printed of one GPU, or why it cannot be reached.
struct Answer {
  std::string text;
  int status = 0;
};

// Asks every GPU that was chosen, one after the other, so that one that hangs costs its own line.
class Smi {
 public:
  Smi(DriverDoor& door, const Options& options) : door_(door), options_(options) {}

  using Ask = std::function<Answer(const SmiGpu&)>;
  int each(const Ask& ask) {
    auto count = door_.ask("driver", [](const SessionPtr& s) { return s->gpu_count(); });
    if (!count) return complain(count.error());
    int status = 0;
    std::vector<bool> used(options_.ids.size(), false);
    for (unsigned index = 0; index < *count; ++index) {
      const int one = ask_one(index, *count, ask, used);
      if (one != 0) status = one;
    }
    for (std::size_t i = 0; i < used.size(); ++i) {
      if (used[i]) continue;
      std::cout << "No devices were found: " << options_.ids[i] << '\n';
      status = 6;  // not found
    }
    std::cout.flush();
    return status;
  }

 private:
  static int complain(const Error& error) {
    std::cout << error.text() << '\n';
    return error.native > 0 ? error.native : kUnknownError;
  }

  int ask_one(unsigned index, unsigned count, const Ask& ask, std::vector<bool>& used) {
    struct Names {
      abi::Device device = nullptr;
      std::string uuid, bus_id;
    };
    const std::string subject = "GPU " + std::to_string(index);
    auto names = door_.ask(subject, [index](const SessionPtr& session) -> Result<Names> {
      auto device = session->gpu_by_index(index);
      if (!device) return fail(std::move(device.error()));
      Names found{*device, session->uuid(*device).value_or(""), ""};
      if (auto pci = session->pci(*device)) found.bus_id = pci->bus_id;
      return found;
    });
    bool wanted = options_.ids.empty();
    for (std::size_t i = 0; i < options_.ids.size(); ++i) {
      const bool hit = names ? names_gpu(options_.ids[i], index, names->uuid, names->bus_id)
                             : names_gpu(options_.ids[i], index, "", "");
      if (hit) wanted = used[i] = true;
    }
    if (!wanted) return 0;
    if (!names) {
      std::cout << fmt::format("Unable to determine the device handle for GPU{}: ", index);
      return complain(names.error());
    }
    auto answer = door_.ask(
        subject,
        [ask, index, count, device = names->device](const SessionPtr& session) -> Result<Answer> {
          const Telemetry telemetry(session);
          return ask(SmiGpu{telemetry, device, index, count});
        });
    if (!answer) return complain(answer.error());
    std::cout << answer->text;
    return answer->status;
  }

  DriverDoor& door_;
  const Options& options_;
};

Answer refused(const SmiGpu& gpu, std::string_view what, const Error& error) {
  const bool denied = error.kind == Kind::kDenied;
  return {
      fmt::format("Unable to set the {} for GPU {}: {}\nTerminating early due to previous "
                  "errors.\n",
                  what, power::smi_bus_id(gpu),
                  denied ? "Insufficient Permissions (needs root and CAP_SYS_ADMIN)" : error.what),
      error.native > 0 ? error.native : kUnknownError};
}

nvml::Control control_of(const SmiGpu& gpu) { return nvml::Control(gpu.ask.shared_session()); }

Answer set_limit(const SmiGpu& gpu, std::uint32_t milliwatts) {
  auto two = [](std::uint32_t mw) { return fmt::format("{:.2f} W", mw / 1000.0); };
  const std::string id = power::smi_bus_id(gpu);
  const auto range = gpu.ask.power_limits(gpu.device);
  if (range && (milliwatts < range.value.low || milliwatts > range.value.high)) {
    return {
        fmt::format("Provided power limit {} is not a valid power limit which should be between "
                    "{} and {} for GPU {}\nTerminating early due to previous errors.\n",
                    two(milliwatts), two(range.value.low), two(range.value.high), id),
        kBadArguments};
  }
  const auto before = gpu.ask.power_limit(gpu.device);
  if (Status set = control_of(gpu).set_power_limit(gpu.device, milliwatts); !set) {
    return refused(gpu, "power management limit", set.error());
  }
  std::string text;
  if (auto mode = gpu.ask.persistence_mode(gpu.device); mode && mode.value == abi::kDisabled) {
    text = fmt::format(
        "Warning: persistence mode is disabled on device {}. The limit is lost when "
        "the last program closes it.\n",
        id);
  }
  text += fmt::format("Power limit for GPU {} was set to {} from {}.\n", id, two(milliwatts),
                      before ? two(before.value) : "an unknown one");
  return {std::move(text), 0};
}

Answer set_persistence(const SmiGpu& gpu, bool on) {
  const auto before = gpu.ask.persistence_mode(gpu.device);
  const std::string id = power::smi_bus_id(gpu);
  const bool already = before && (before.value == abi::kEnabled) == on;
  if (already) {
    return {fmt::format("Persistence mode is already {} for GPU {}.\n", on ? "Enabled" : "Disabled",
                        id),
            0};
  }
  if (Status set = control_of(gpu).set_persistence(gpu.device, on); !set) {
    return refused(gpu, "persistence mode", set.error());
  }
  return {fmt::format("{} persistence mode for GPU {}.\n", on ? "Enabled" : "Disabled", id), 0};
}

int change(Smi& smi, const Options& o) {
  const int status = smi.each([o](const SmiGpu& gpu) {
    Answer answer;
    if (o.persistence) answer = set_persistence(gpu, *o.persistence);
    if (answer.status != 0 || !o.limit_mw) return answer;
    Answer limit = set_limit(gpu, *o.limit_mw);
    return Answer{answer.text + limit.text, limit.status};
  });
  if (status == 0) std::cout << "All done.\n";
  return status;
}

int list(Smi& smi) {
  return smi.each([](const SmiGpu& gpu) {
    const auto name = gpu.ask.name(gpu.device);
    auto uuid = gpu.ask.session().uuid(gpu.device);
    return Answer{fmt::format("GPU {}: {} (UUID: {})\n", gpu.index, name ? name.value : "[N/A]",
                              uuid ? *uuid : "[N/A]"),
                  0};
  });
}

int report(DriverDoor& door, Smi& smi, const Options& o) {
  auto count = door.ask("driver", [](const SessionPtr& s) { return s->gpu_count(); });
  std::cout << "\n==============NVSMI LOG==============\n\n"
            << fmt::format("{:<55}: {}\n", "Driver Version", door.driver().version)
            << fmt::format("{:<55}: {}.{}\n\n", "CUDA Version", door.driver().cuda_version / 1000,
                           door.driver().cuda_version % 1000 / 10)
            << fmt::format("{:<55}: {}\n", "Attached GPUs", count ? *count : 0);
  return smi.each([sections = o.sections](const SmiGpu& gpu) {
    return Answer{power::smi_report(gpu, sections), 0};
  });
}

int query_apps(Smi& smi, const Options& o, bool first) {
  auto fields = power::parse_smi_app_fields(o.apps);
  if (!fields) {
    std::cout << fields.error().text() << '\n';
    return kBadArguments;
  }
  const bool units = !says(o.format, "nounits");
  if (first && !says(o.format, "noheader"))
    std::cout << power::smi_app_head(*fields, units) << '\n';
  return smi.each([fields = *fields, units](const SmiGpu& gpu) {
    auto processes = power::smi_processes(gpu, Roots::below("/").proc);
    if (!processes) return Answer{processes.error().text() + "\n", processes.error().native};
    return Answer{power::smi_app_lines(fields, gpu, *processes, units), 0};
  });
}

int table(DriverDoor& door, Smi& smi) {
  // A call that hangs may come back when nobody waits for it any more.
  struct Foot {
    std::mutex mutex;
    std::string rows;
  };
  auto foot = std::make_shared<Foot>();
  std::cout << power::smi_table_head({door.driver().version, door.driver().cuda_version});
  const int status = smi.each([foot](const SmiGpu& gpu) {
    Answer row{power::smi_table_row(gpu), 0};
    if (auto processes = power::smi_processes(gpu, Roots::below("/").proc)) {
      const std::lock_guard lock(foot->mutex);
      foot->rows += power::smi_process_rows(gpu.index, *processes);
    }
    return row;
  });
  const std::lock_guard lock(foot->mutex);
  std::cout << power::smi_process_table(foot->rows) << std::flush;
  return status;
}

int once(DriverDoor& door, const Options& o, bool first) {
  Smi smi(door, o);
  if (o.monitor) {
    return smi.each([groups = o.groups](const SmiGpu& gpu) {
      return Answer{power::smi_monitor_line(gpu, groups), 0};
    });
  }
  if (o.limit_mw || o.persistence) return change(smi, o);
  if (o.list) return list(smi);
  if (!o.query.empty()) {
    auto fields = power::parse_smi_fields(o.query);
    if (!fields) {
      std::cout << fields.error().text() << '\n';
      return kBadArguments;
    }
    const bool units = !says(o.format, "nounits");
    if (first && !says(o.format, "noheader")) std::cout << power::smi_head(*fields, units) << '\n';
    return smi.each([fields = *fields, units](const SmiGpu& gpu) {
      return Answer{power::smi_line(fields, gpu, units) + "\n", 0};
    });
  }
  if (!o.apps.empty()) return query_apps(smi, o, first);
  if (o.full) return report(door, smi, o);
  return table(door, smi);
}

template <typename Field>
void print_fields(const char* option, std::span<const Field> fields) {
  std::cout << "Fields of " << option << ":\n";
  for (const Field& field : fields) {
    std::cout << "  " << field.name;
    if (!field.alias.empty()) std::cout << ", " << field.alias;
    if (!field.unit.empty()) std::cout << " [" << field.unit << "]";
    std::cout << '\n';
  }
}

}  // namespace

int run_smi(std::span<const std::string> args) {
  Result<Options> options = parse(args);
  if (!options) {
    std::cout << options.error().what << '\n';
    return kBadArguments;
  }
  if (options->help) return std::cout << kUsage, 0;
  if (options->help_fields) return print_fields("--query-gpu", power::smi_fields()), 0;
  if (options->help_app_fields) {
    return print_fields("--query-compute-apps", power::smi_app_fields()), 0;
  }
  const char* library = getenv("KERF_NVML_LIBRARY");
  const char* root = getenv("CONTAINER_DRIVER_ROOT");
  auto door = DriverDoor::open(library != nullptr ? library : "", root != nullptr ? root : "");
  if (!door) {
    std::cout << "NVIDIA-SMI has failed: " << door.error().text() << '\n';
    return door.error().native > 0 ? door.error().native : 12;  // no library
  }
  if (options->version) {
    std::cout << fmt::format("NVIDIA-SMI version  : {0} (kerf)\nDRIVER version      : {0}\n",
                             (*door)->driver().version);
    return 0;
  }
  // After so many lines dmon says again what they are.
  constexpr std::uint64_t kPage = 15;
  const auto head = [&](std::uint64_t turn) {
    if (options->monitor && turn % kPage == 0)
      std::cout << power::smi_monitor_head(options->groups);
  };
  head(0);
  int status = once(**door, *options, true);
  for (std::uint64_t turn = 1; options->loop_seconds > 0 && std::cout.good(); ++turn) {
    if (options->turns == turn) break;
    std::cout.flush();
    std::this_thread::sleep_for(std::chrono::seconds(options->loop_seconds));
    head(turn);
    status = once(**door, *options, false);
  }
  return status;
}

}  // namespace kerf::cli
