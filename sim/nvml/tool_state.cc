// nvml-sim show, process and set.

#include <cstdio>
#include <cstring>
#include <memory>

#include "dynamics.h"
#include "mig.h"
#include "tool.h"

#include <CLI/CLI.hpp>

namespace nvmlsim {
namespace {

std::unique_ptr<Shared> snapshot(ToolContext& context) {
  auto copy = std::make_unique<Shared>();
  context.store().read([&](const Shared& shared) {
    std::memcpy(static_cast<void*>(copy.get()), &shared, sizeof(Shared));
  });
  return copy;
}

void show_gpu(const Shared& shared, uint32_t i, uint64_t now) {
  const GpuSpec& spec = shared.machine.gpus[i];
  const Effects fx = effects_on(shared, i, now);
  const Reading r = reading(spec, shared.live[i], fx, now);
  std::printf("GPU %-2u %s  %s  %s", i, bus_id_text(spec.bus_id).c_str(), spec.name, spec.uuid);
  if (fx.lost) std::printf("  LOST%s", fx.vanished ? " (vanished)" : "");
  std::printf("\n       load %u%%  %u.%u W of %u W  %u C  %u MHz", r.load_pct, r.power_mw / 1000,
              r.power_mw / 100 % 10, r.enforced_mw / 1000, r.temperature, r.sm_mhz);
  if (spec.memory_info)
    std::printf("  memory %u of %u MiB",
                shared.live[i].memory_used_mib + shared.live[i].process_memory_mib,
                spec.memory_mib);
  std::printf("\n");
  const MigTable* table = mig_table(spec.mig_table);
  for (const GpuInstanceState& gi : shared.mig[i])
    for (const ComputeInstanceState& ci : gi.compute)
      if (table && gi.used && ci.used)
        std::printf("       MIG %s  gi %u ci %u  place %u:%u  %s\n",
                    find_profile(*table, gi.profile)->name, gi.id, ci.id, gi.start, gi.size,
                    mig_uuid(spec, gi, ci).c_str());
}

void show(ToolContext& context) {
  const auto shared = snapshot(context);
  const uint64_t now = now_ns();
  const Effects machine = effects_on(*shared, kNone, now);
  std::printf("machine %s  driver %s%s  state %s\n", shared->machine.name, shared->driver_version,
              machine.driver_absent ? " (unloaded)" : "", context.store().state_path());
  for (uint32_t i = 0; i < shared->machine.gpu_count; ++i) show_gpu(*shared, i, now);
  for (const Process& p : shared->processes)
    if (p.used)
      std::printf("process %u on GPU %u  %u MiB  %u%%  %s\n", p.pid, p.gpu, p.memory_mib, p.sm_pct,
                  p.name);
  for (const Fault& f : shared->faults) {
    if (!f.used) continue;
    std::printf("fault %u: %s", f.id, kind_name(f.kind));
    if (f.gpu != kNone) std::printf(" on GPU %u", f.gpu);
    if (f.glob[0]) std::printf(" %s", f.glob);
    if (f.value) std::printf(" value %llu", static_cast<unsigned long long>(f.value));
    if (f.end_ns > now) std::printf(" for %.1f s more", static_cast<double>(f.end_ns - now) / 1e9);
    std::printf("%s\n", in_force(f, now) ? "" : " (not now)");
  }
}

struct ProcessOptions {
  std::string gpu, name = "python3", type = "compute";
  Process p{};
};

void add_process_commands(CLI::App& app, ToolContext& context) {
  CLI::App* process = app.add_subcommand("process", "processes that use a GPU");
  process->require_subcommand(1);
  const auto o = std::make_shared<ProcessOptions>();
  o->p.gi = o->p.ci = kNone;
  CLI::App* add = process->add_subcommand("add", "start one, or change it");
  add->add_option("-g,--gpu", o->gpu)->required();
  add->add_option("--pid", o->p.pid)->required();
  add->add_option("--mem", o->p.memory_mib, "MiB");
  add->add_option("--sm", o->p.sm_pct, "percent")->check(CLI::Range(0, 100));
  add->add_option("--name", o->name);
  add->add_option("--type", o->type)->check(CLI::IsMember({"compute", "graphics", "mps"}));
  add->add_option("--gpu-instance", o->p.gi);
  add->add_option("--compute-instance", o->p.ci);
  add->callback([o, &context] {
    o->p.gpu = context.gpu(o->gpu);
    o->p.type = o->type == "compute" ? 'C' : o->type == "graphics" ? 'G' : 'M';
    o->p.memory_pct = o->p.sm_pct / 2;
    std::snprintf(o->p.name, sizeof(o->p.name), "%s", o->name.c_str());
    bool ok = false;
    context.change("process add " + std::to_string(o->p.pid), [&](Shared& shared) {
      remove_processes(shared, o->p.gpu, o->p.pid);
      ok = add_process(shared, o->p);
    });
    if (!ok) throw ToolError("256 processes run already");
  });
  const auto r = std::make_shared<std::pair<std::string, uint32_t>>("", kNone);
  CLI::App* remove = process->add_subcommand("remove", "end them");
  remove->add_option("-g,--gpu", r->first);
  remove->add_option("--pid", r->second);
  remove->callback([r, &context] {
    const uint32_t gpu = r->first.empty() ? kNone : context.gpu(r->first);
    uint32_t count = 0;
    context.change("process remove",
                   [&](Shared& shared) { count = remove_processes(shared, gpu, r->second); });
    std::printf("%u removed\n", count);
  });
}

struct SetOptions {
  std::string gpu;
  uint32_t load = kNone, memory = kNone, limit_w = kNone, persistence = kNone;
};

void set(ToolContext& context, const SetOptions& o) {
  const uint32_t only = o.gpu.empty() || o.gpu == "all" ? kNone : context.gpu(o.gpu);
  context.change("set" + (o.gpu.empty() ? "" : " GPU " + o.gpu), [&](Shared& shared) {
    for (uint32_t i = 0; i < shared.machine.gpu_count; ++i) {
      if (only != kNone && i != only) continue;
      GpuLive& live = shared.live[i];
      if (o.load != kNone) live.load_pct = o.load;
      if (o.memory != kNone) live.memory_used_mib = o.memory;
      if (o.limit_w != kNone) live.power_limit_mw = o.limit_w * 1000;
      if (o.persistence != kNone) live.persistence = o.persistence;
    }
  });
}

}  // namespace

void add_state_commands(CLI::App& app, ToolContext& context) {
  app.add_subcommand("show", "the machine as it is now")->callback([&context] { show(context); });
  add_process_commands(app, context);
  const auto o = std::make_shared<SetOptions>();
  CLI::App* command = app.add_subcommand("set", "load and settings of GPUs");
  command->add_option("-g,--gpu", o->gpu, "default: all");
  command->add_option("--load", o->load, "percent, beside the processes")
      ->check(CLI::Range(0, 100));
  command->add_option("--memory", o->memory, "MiB used, beside the processes");
  command->add_option("--power-limit", o->limit_w, "W, as another writer would set it");
  command->add_option("--persistence", o->persistence)->check(CLI::Range(0, 1));
  command->callback([o, &context] { set(context, *o); });
}

}  // namespace nvmlsim
