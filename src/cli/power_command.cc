#include "cli/power_command.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <thread>
#include <vector>

#include "base/roots.h"
#include "base/strings.h"
#include "cli/driver_door.h"
#include "power/controller.h"
#include "power/gpus.h"
#include "power/journal.h"
#include "power/policy.h"

#include <fmt/format.h>

namespace kerf::cli {
namespace {

constexpr const char* kUsage =
    "usage: kerf power show [OPTIONS]\n"
    "       kerf power set LIMIT [OPTIONS]\n"
    "       kerf power watch [-n SECONDS] [-c TIMES] [OPTIONS]\n\n"
    "Shows, sets or watches the power limits of this machine's GPUs. A limit is 300W (or 300),\n"
    "85% (of the board's default), 90% of max, default or max. What is set here lasts until the\n"
    "driver is loaded anew; the agent's component power holds limits for good.\n\n"
    "  -i GPU               only this one: index, UUID or PCI address; may be repeated\n"
    "  --clamp              set: take the nearest limit that the board takes\n"
    "  -n SECONDS           watch: between looks (default 2)\n"
    "  -c TIMES             watch: end after so many looks\n"
    "  --nvml-library FILE  exact path of libnvidia-ml.so.1 (default: KERF_NVML_LIBRARY, "
    "searched)\n"
    "  --driver-root DIR    where the driver is installed (default /)\n\n"
    "exit status: 0 done, 1 the driver or a GPU refused, 2 wrong arguments\n";

struct Options {
  std::string verb;
  std::string limit;
  std::vector<std::string> gpus;
  std::string library;
  std::string driver_root;
  std::uint64_t seconds = 2;
  std::uint64_t times = 0;  // 0: for ever
  bool clamp = false;
  bool help = false;
};

Result<std::uint64_t> number(std::string_view text) {
  if (auto value = parse_u64(text); value && *value > 0) return *value;
  return fail(Kind::kInvalid, "not a number above 0", std::string(text));
}

// Takes one argument, and the next one where it is a value.
Status take(Options& o, std::span<const std::string> args, std::size_t& i) {
  const std::string& arg = args[i];
  const std::size_t equals = arg.starts_with("--") ? arg.find('=') : std::string::npos;
  const std::string name = arg.substr(0, equals);
  if (name == "--help" || name == "-h") {
    o.help = true;
    return {};
  }
  if (name == "--clamp") {
    o.clamp = true;
    return {};
  }
  if (!arg.starts_with('-')) {
    std::string& into = o.verb.empty() ? o.verb : o.limit;
    if (!into.empty()) return fail(Kind::kInvalid, "unexpected argument", arg);
    into = arg;
    return {};
  }
  const bool known = name == "-i" || name == "-n" || name == "-c" || name == "--nvml-library" ||
                     name == "--driver-root";
  if (!known) return fail(Kind::kInvalid, "unknown argument", arg, "kerf power --help");
  if (equals == std::string::npos && i + 1 >= args.size()) {
    return fail(Kind::kInvalid, "a value is missing", name);
  }
  const std::string value = equals == std::string::npos ? args[++i] : arg.substr(equals + 1);
  if (name == "-i") o.gpus.push_back(value);
  if (name == "--nvml-library") o.library = value;
  if (name == "--driver-root") o.driver_root = value;
  if (name == "-n" || name == "-c") {
    auto given = number(value);
    if (!given) return fail(std::move(given.error()));
    (name == "-n" ? o.seconds : o.times) = *given;
  }
  return {};
}

Result<Options> parse(std::span<const std::string> args) {
  Options o;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (Status taken = take(o, args, i); !taken) return fail(std::move(taken.error()));
  }
  if (o.help) return o;
  if (o.verb != "show" && o.verb != "set" && o.verb != "watch") {
    return fail(Kind::kInvalid, o.verb.empty() ? "nothing to do" : "unknown verb", o.verb,
                "write show, set or watch");
  }
  if ((o.verb == "set") == o.limit.empty()) {
    return o.limit.empty() ? fail(Kind::kInvalid, "no limit given", {}, "kerf power set 300W")
                           : fail(Kind::kInvalid, "unexpected argument", o.limit);
  }
  return o;
}

// The GPUs asked for.
Result<std::vector<power::Gpu>> chosen(DriverDoor& door, const Options& o) {
  auto reading = inventory::read_gpus(door.access(), Roots::below("/"), {});
  if (!reading) return fail(std::move(reading.error()));
  for (const std::string& warning : reading->warnings)
    std::cerr << "kerf power: " << warning << '\n';
  std::vector<power::Gpu> out;
  std::vector<bool> used(o.gpus.size(), false);
  for (const inventory::Gpu& gpu : reading->gpus) {
    bool wanted = o.gpus.empty();
    for (std::size_t i = 0; i < o.gpus.size(); ++i) {
      if (!names_gpu(o.gpus[i], gpu.index, gpu.uuid, gpu.pci_bus_id)) continue;
      wanted = used[i] = true;
    }
    if (wanted) out.push_back({gpu.index, gpu.uuid, gpu.name, gpu.pci_bus_id, false});
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) {
      return fail(Kind::kNotFound, "no such GPU", o.gpus[i], "kerf gpus lists those there are");
    }
  }
  return out;
}

std::string or_dash(const std::optional<std::uint32_t>& milliwatts) {
  return milliwatts ? power::watts(*milliwatts) : "-";
}

constexpr const char* kRow = "{:<4}{:<28}{:>9}{:>10}{:>9}{:>9}{:>9}{:>10}{:>6}{:>6}  {}\n";

void print_head() {
  std::cout << fmt::format(kRow, "GPU", "NAME", "LIMIT", "ENFORCED", "DEFAULT", "MIN", "MAX",
                           "DRAW", "UTIL", "TEMP", "PERSISTENCE");
}

// False when it could not be read.
bool print(const power::Reading& r) {
  if (r.error) {
    std::cout << fmt::format("{:<4}{:<28}  {}\n", r.gpu.index, r.gpu.name.substr(0, 27),
                             r.error->text());
    return false;
  }
  std::cout << fmt::format(kRow, r.gpu.index, r.gpu.name.substr(0, 27), or_dash(r.limit_mw),
                           or_dash(r.enforced_mw), or_dash(r.default_mw), or_dash(r.min_mw),
                           or_dash(r.max_mw), r.draw_mw ? power::drawn(*r.draw_mw) : "-",
                           r.utilization ? std::to_string(*r.utilization) + "%" : "-",
                           r.temperature ? std::to_string(*r.temperature) + "C" : "-",
                           r.persistence ? (*r.persistence ? "on" : "off") : "-");
  for (const std::string& oddity : r.oddities) {
    std::cout << "    the driver says a " << oddity << ", which is not believed\n";
  }
  return true;
}

int show(DriverDoor& door, const std::vector<power::Gpu>& gpus) {
  bool all = true;
  print_head();
  for (const power::Gpu& gpu : gpus) all = print(power::read_gpu(door.access(), gpu)) && all;
  std::cout.flush();
  return all ? 0 : 1;
}

int watch(DriverDoor& door, const std::vector<power::Gpu>& gpus, const Options& o) {
  int status = 0;
  for (std::uint64_t look = 1; std::cout.good(); ++look) {
    status = show(door, gpus);
    if (look == o.times) break;
    std::this_thread::sleep_for(std::chrono::seconds(o.seconds));
  }
  return status;
}

int set(DriverDoor& door, const std::vector<power::Gpu>& gpus, const Options& o,
        const config::PowerAmount& limit) {
  config::PowerOptions options;
  options.all.limit = limit;
  options.persistence = false;  // not asked for
  options.out_of_range = o.clamp ? config::OutOfRange::kClamp : config::OutOfRange::kRefuse;
  power::Controller controller(options);
  controller.observe({true, 1, gpus}, 0);
  std::vector<power::Reading> readings;
  readings.reserve(gpus.size());
  bool persistent = true;
  for (const power::Gpu& gpu : gpus) {
    readings.push_back(power::read_gpu(door.access(), gpu));
    persistent = persistent && readings.back().persistence.value_or(true);
  }
  for (const power::Command& command : controller.decide(readings, 0)) {
    Status outcome = power::apply(door.access(), command);
    std::optional<std::uint32_t> held;
    if (auto now = power::read_limit(door.access(), command.uuid)) held = *now;
    outcome = controller.done(command, outcome, held, 0);
    if (!outcome) std::cerr << "kerf power: " << outcome.error().text() << '\n';
  }
  controller.finish(0);
  const power::Report& report = controller.report();
  std::cout << power::table(report);
  if (!persistent) {
    std::cout
        << "persistence mode is off: the limit is lost when the last program closes the GPU\n";
  }
  for (const power::GpuReport& gpu : report.gpus) {
    const power::Standing standing = gpu.verdict.standing;
    const bool set_now =
        standing == power::Standing::kDrifted || standing == power::Standing::kHeld;
    if (gpu.failure || !set_now) return 1;
  }
  return 0;
}

}  // namespace

int run_power(std::span<const std::string> args) {
  auto complain = [](const Error& error, int status) {
    std::cerr << "kerf power: " << error.text() << '\n';
    return status;
  };
  Result<Options> options = parse(args);
  if (!options) return complain(options.error(), 2);
  if (options->help) {
    std::cout << kUsage;
    return 0;
  }
  std::optional<config::PowerAmount> limit;
  if (options->verb == "set") {
    auto amount = config::parse_power_amount(options->limit);
    if (!amount) return complain(amount.error(), 2);
    if (amount->unit == config::PowerAmount::Unit::kUnmanaged) {
      return complain({Kind::kInvalid, "unmanaged is no limit to set", {}, {}, 0}, 2);
    }
    limit = *amount;
  }
  if (const char* library = getenv("KERF_NVML_LIBRARY");
      library != nullptr && options->library.empty()) {
    options->library = library;
  }
  auto door = DriverDoor::open(options->library, options->driver_root);
  if (!door) return complain(door.error(), 1);
  auto gpus = chosen(**door, *options);
  if (!gpus) return complain(gpus.error(), gpus.error().kind == Kind::kNotFound ? 2 : 1);
  if (limit) return set(**door, *gpus, *options, *limit);
  if (options->verb == "watch") return watch(**door, *gpus, *options);
  return show(**door, *gpus);
}

}  // namespace kerf::cli
