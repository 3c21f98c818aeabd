// nvml-sim fault, clear and reset.

#include <cstdio>
#include <cstring>
#include <memory>
#include <time.h>

#include "dynamics.h"
#include "tool.h"

#include <CLI/CLI.hpp>

namespace nvmlsim {
namespace {

// What the options of one fault command collect.
struct FaultOptions {
  std::string gpu;
  std::string call;
  std::string driver;
  double after = 0, duration = 0, probability = 1;
  uint64_t value = 0, seed = 1, count = 1, after_calls = 0;
  uint32_t link = 0, location = 2;
  uint32_t xid = 0, minor = kNone;
  uint32_t gi = kNone, ci = kNone;
  bool vanish = false, alone = false, corrected = false;
  std::string text;
};

uint64_t to_ns(double seconds) { return static_cast<uint64_t>(seconds * 1e9); }

Fault timed(const FaultOptions& o, FaultKind kind, uint32_t gpu) {
  Fault fault{};
  fault.kind = kind;
  fault.gpu = gpu;
  fault.value = o.value;
  fault.probability = o.probability;
  fault.seed = o.seed;
  fault.after_calls = o.after_calls;
  const uint64_t start = now_ns() + to_ns(o.after);
  if (o.after > 0) fault.start_ns = start;
  if (o.duration > 0) fault.end_ns = start + to_ns(o.duration);
  return fault;
}

void wait_first(const FaultOptions& o) {
  const uint64_t ns = to_ns(o.after);
  const timespec pause{static_cast<time_t>(ns / 1000000000ULL),
                       static_cast<long>(ns % 1000000000ULL)};
  if (ns) nanosleep(&pause, nullptr);
}

void inject(ToolContext& context, const std::string& what, const Fault& fault) {
  uint32_t id = 0;
  context.change("fault " + what, [&](Shared& shared) { id = add_fault(shared, fault); });
  if (!id) throw ToolError("64 faults are in force already, clear some first");
  std::printf("fault %u: %s\n", id, what.c_str());
}

std::string glob_of(const std::string& call) {
  if (call.rfind("nvml", 0) == 0 || call.empty() || call[0] == '*')
    return call.empty() ? "*" : call;
  return "nvml" + call;
}

class FaultCommands {
 public:
  FaultCommands(CLI::App& app, ToolContext& context) : context_(context) {
    fault_ = app.add_subcommand("fault", "inject a fault");
    fault_->require_subcommand(1);
    events();
    gpus();
    driver();
    calls();
    conditions();
    links();
  }

 private:
  using Options = std::shared_ptr<FaultOptions>;

  // `target`: 0 no GPU, 1 optional (default all), 2 required.
  CLI::App* command(const char* name, const char* help, const Options& o, int target,
                    bool lasting) {
    CLI::App* app = fault_->add_subcommand(name, help);
    if (target) {
      CLI::Option* gpu = app->add_option("-g,--gpu", o->gpu, "index, UUID or PCI address");
      if (target == 2) gpu->required();
    }
    app->add_option("--after", o->after, "seconds from now");
    if (lasting) app->add_option("--for", o->duration, "seconds it lasts (default: until cleared)");
    return app;
  }

  uint32_t target(const Options& o) {
    return o->gpu.empty() || o->gpu == "all" ? kNone : context_.gpu(o->gpu);
  }

  static std::string on(const Options& o) { return o->gpu.empty() ? "" : " on GPU " + o->gpu; }

  void lasting(const char* name, const char* help, FaultKind kind, const char* value_name,
               const char* value_help, double scale, int wants_gpu) {
    const Options o = std::make_shared<FaultOptions>();
    auto number = std::make_shared<double>(0);
    CLI::App* app = command(name, help, o, wants_gpu, true);
    if (value_name) app->add_option(value_name, *number, value_help)->required();
    const std::string label = name;
    app->callback([this, o, number, kind, scale, label] {
      o->value = static_cast<uint64_t>(*number * scale);
      inject(context_, label + (o->value ? " " + std::to_string(o->value) : "") + on(o),
             timed(*o, kind, target(o)));
    });
  }

  void events() {
    const Options o = std::make_shared<FaultOptions>();
    CLI::App* xid = command("xid", "an XID error, with what it brings along", o, 2, false);
    xid->add_option("number", o->xid)->required();
    xid->add_option("--gpu-instance", o->gi);
    xid->add_option("--compute-instance", o->ci);
    xid->add_option("--link", o->link, "the NVLink of an XID 74");
    xid->add_flag("--vanish", o->vanish, "XID 79: the GPU leaves the enumeration too");
    xid->add_flag("--event-only", o->alone, "without counters and states");
    xid->callback([this, o] {
      wait_first(*o);
      const uint32_t gpu = context_.gpu(o->gpu);
      context_.change("fault xid " + std::to_string(o->xid) + on(o), [&](Shared& shared) {
        raise_xid(shared, gpu, o->xid, {o->gi, o->ci, o->link, o->vanish, !o->alone});
      });
    });
    const Options e = std::make_shared<FaultOptions>();
    CLI::App* ecc = command("ecc", "memory errors", e, 2, false);
    ecc->add_flag("--corrected", e->corrected, "single-bit (default: double-bit)");
    ecc->add_option("--count", e->count);
    ecc->add_option("--location", e->location, "0 L1, 1 L2, 2 DRAM, 3 registers, 7 SRAM");
    ecc->callback([this, e] {
      wait_first(*e);
      const uint32_t gpu = context_.gpu(e->gpu);
      if (!context_.store().machine().gpus[gpu].ecc) throw ToolError("this GPU has no ECC memory");
      context_.change("fault ecc " + std::to_string(e->count) + on(e), [&](Shared& shared) {
        add_ecc(shared, gpu, e->corrected, e->location, e->count);
      });
    });
    const Options r = std::make_shared<FaultOptions>();
    CLI::App* remap =
        command("remap", "a row remapping (page retirement on older boards)", r, 2, false);
    remap->add_flag("--failed", r->alone);
    remap->callback([this, r] {
      wait_first(*r);
      const uint32_t gpu = context_.gpu(r->gpu);
      context_.change("fault remap" + on(r),
                      [&](Shared& shared) { raise_xid(shared, gpu, r->alone ? 64 : 63, {}); });
    });
  }

  void gpus() {
    const Options o = std::make_shared<FaultOptions>();
    CLI::App* lost = command("lost", "the GPU falls off the bus", o, 2, true);
    lost->add_flag("--vanish", o->vanish, "it leaves the enumeration too");
    lost->callback([this, o] {
      o->value = o->vanish;
      inject(context_, "lost" + on(o), timed(*o, FaultKind::kLost, target(o)));
    });
    const Options b = std::make_shared<FaultOptions>();
    CLI::App* back = command("back", "a lost GPU returns, reset", b, 2, false);
    back->add_option("--minor", b->minor, "under another minor number");
    back->callback([this, b] {
      wait_first(*b);
      const uint32_t gpu = context_.gpu(b->gpu);
      context_.change("fault back" + on(b),
                      [&](Shared& shared) { bring_back(shared, gpu, b->minor); });
    });
  }

  void driver() {
    const Options o = std::make_shared<FaultOptions>();
    o->value = 999;
    CLI::App* unload = command("driver-unload", "the driver goes away", o, 0, false);
    unload->add_option("--code", o->value, "what calls on open handles return");
    unload->callback([this, o] {
      wait_first(*o);
      context_.change("fault driver-unload", [&](Shared& shared) {
        clear_faults(shared, 0, kNone, FaultKind::kDriverAbsent);
        unload_driver(shared, static_cast<uint32_t>(o->value));
      });
    });
    const Options r = std::make_shared<FaultOptions>();
    CLI::App* reload = command("driver-reload", "the driver is loaded (again)", r, 0, false);
    reload->add_option("--version", r->driver, "another one: old processes get error 18");
    reload->callback([this, r] {
      wait_first(*r);
      context_.change("fault driver-reload " + r->driver,
                      [&](Shared& shared) { reload_driver(shared, r->driver); });
    });
  }

  void calls() {
    struct Row {
      const char* name;
      const char* help;
      FaultKind kind;
      const char* value;
    };
    const Row rows[] = {{"hang", "calls block", FaultKind::kHang, nullptr},
                        {"slow", "calls take longer", FaultKind::kSlow, "--ms"},
                        {"error", "calls fail", FaultKind::kError, "--code"},
                        {"flaky", "calls fail sometimes", FaultKind::kError, "--code"}};
    for (const Row& row : rows) {
      const Options o = std::make_shared<FaultOptions>();
      o->value = 999;
      o->probability = std::strcmp(row.name, "flaky") == 0 ? 0.5 : 1;
      CLI::App* app = command(row.name, row.help, o, 1, true);
      app->add_option("-c,--call", o->call, "function name or glob")->required();
      if (row.value) app->add_option(row.value, o->value);
      app->add_option("--after-calls", o->after_calls, "calls per process that still work");
      app->add_option("-p,--probability", o->probability)->check(CLI::Range(0.0, 1.0));
      app->add_option("--seed", o->seed);
      app->callback([this, o, row] {
        Fault fault = timed(*o, row.kind, target(o));
        std::snprintf(fault.glob, sizeof(fault.glob), "%s", glob_of(o->call).c_str());
        inject(context_, std::string(row.name) + " " + fault.glob + on(o), fault);
      });
    }
  }

  void conditions() {
    lasting("temperature", "fixed temperature", FaultKind::kTemperature, "degrees", "Celsius", 1,
            1);
    lasting("limit-drift", "the power limit is another than requested", FaultKind::kLimitDrift,
            "watts", "0: the board's default", 1000, 1);
    lasting("enforced-limit", "something else limits the power further", FaultKind::kEnforced,
            "watts", "W", 1000, 1);
    lasting("setter", "setting the power limit fails", FaultKind::kSetterRefusal, "code",
            "return code; 0: success without effect", 1, 1);
    lasting("process-growth", "process lists grow between size query and read",
            FaultKind::kProcessGrowth, "times", "so many reads come too late", 1, 1);
    lasting("mig", "MIG changes fail", FaultKind::kMigBusy, "code", "return code, 16: mode pends",
            1, 1);
    const Options o = std::make_shared<FaultOptions>();
    CLI::App* throttle = command("throttle", "clock event reasons", o, 1, true);
    throttle->add_option("mask", o->text, "bits, e.g. 0x80 for the power brake")->required();
    throttle->callback([this, o] {
      Fault fault = timed(*o, FaultKind::kThrottle, target(o));
      fault.mask = std::strtoull(o->text.c_str(), nullptr, 0);
      inject(context_, "throttle " + o->text + on(o), fault);
    });
  }

  void links() {
    const Options o = std::make_shared<FaultOptions>();
    CLI::App* down = command("nvlink-down", "an NVLink goes down", o, 1, true);
    down->add_option("link", o->link)->required()->check(CLI::Range(0, 35));
    down->callback([this, o] {
      Fault fault = timed(*o, FaultKind::kLinkDown, target(o));
      fault.mask = 1ULL << o->link;
      inject(context_, "nvlink-down " + std::to_string(o->link) + on(o), fault);
    });
    const Options f = std::make_shared<FaultOptions>();
    CLI::App* fabric = command("fabric", "state of the NVLink fabric", f, 1, true);
    fabric->add_option("state", f->text)
        ->required()
        ->check(CLI::IsMember({"not-started", "in-progress", "completed"}));
    fabric->add_option("--status", f->count, "status code")->default_val(0);
    fabric->callback([this, f] {
      Fault fault = timed(*f, FaultKind::kFabricState, target(f));
      fault.value = f->text == "not-started" ? 1 : f->text == "in-progress" ? 2 : 3;
      fault.extra = f->count;
      inject(context_, "fabric " + f->text + on(f), fault);
    });
  }

  ToolContext& context_;
  CLI::App* fault_ = nullptr;
};

void clear(ToolContext& context, uint32_t id, const std::string& gpu, const std::string& kind) {
  const FaultKind wanted = kind.empty() ? FaultKind::kUnused : kind_by_name(kind);
  if (!kind.empty() && wanted == FaultKind::kUnused)
    throw ToolError("--kind " + kind + ": no such kind; `nvml-sim show` names those in force");
  const uint32_t index = gpu.empty() ? kNone : context.gpu(gpu);
  uint32_t cleared = 0;
  context.change("clear",
                 [&](Shared& shared) { cleared = clear_faults(shared, id, index, wanted); });
  std::printf("%u cleared\n", cleared);
}

}  // namespace

void add_fault_commands(CLI::App& app, ToolContext& context) {
  static std::unique_ptr<FaultCommands> commands;
  commands = std::make_unique<FaultCommands>(app, context);
  struct ClearOptions {
    uint32_t id = 0;
    std::string gpu, kind;
  };
  const auto o = std::make_shared<ClearOptions>();
  CLI::App* command = app.add_subcommand("clear", "end faults (all that are given must match)");
  command->add_option("--id", o->id);
  command->add_option("-g,--gpu", o->gpu);
  command->add_option("--kind", o->kind);
  command->callback([o, &context] { clear(context, o->id, o->gpu, o->kind); });
  app.add_subcommand("reset", "as after switching the machine on")->callback([&context] {
    const Declared declared = context.declared();
    context.change("reset", [&](Shared& shared) { reset_machine(shared, declared); });
  });
}

}  // namespace nvmlsim
