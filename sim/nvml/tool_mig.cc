// nvml-sim mig: mode and devices.

#include <cstdio>
#include <memory>

#include "mig.h"
#include "tool.h"

#include <CLI/CLI.hpp>

namespace nvmlsim {
namespace {

struct MigOptions {
  std::string gpu, profile;
  uint32_t gi = kNone, ci = kNone;
  bool force = false;
};

void check(uint32_t code, const std::string& what) {
  if (code == 0) return;
  const char* why = code == 3    ? "not supported, or MIG is off"
                    : code == 6  ? "there is no such instance"
                    : code == 19 ? "in use"
                    : code == 23 ? "no room"
                                 : "refused";
  throw ToolError(what + ": " + why + " (code " + std::to_string(code) + ")");
}

void create(ToolContext& context, const MigOptions& o) {
  const uint32_t gpu = context.gpu(o.gpu);
  const MigTable* table = mig_table(context.store().machine().gpus[gpu].mig_table);
  const MigProfile* profile = table ? find_profile_by_name(*table, o.profile.c_str()) : nullptr;
  if (!profile) throw ToolError(o.profile + ": GPU " + o.gpu + " has no such profile");
  uint32_t code = 0;
  context.change("mig create " + o.profile, [&](Shared& shared) {
    code = create_full_device(shared, gpu, profile->profile);
    push_event(shared, gpu, 0x100, 0);
  });
  check(code, "mig create " + o.profile);
}

void destroy(ToolContext& context, const MigOptions& o) {
  const uint32_t gpu = context.gpu(o.gpu);
  uint32_t code = 0;
  context.change("mig destroy " + std::to_string(o.gi), [&](Shared& shared) {
    const GpuInstanceState* gi = find_gpu_instance(shared, gpu, o.gi);
    if (!gi) {
      code = 6;
      return;
    }
    const GpuInstanceState copy = *gi;
    for (const ComputeInstanceState& ci : copy.compute) {
      if (!ci.used || code) continue;
      if (o.force) remove_instance_processes(shared, gpu, o.gi);
      code = destroy_compute_instance(shared, gpu, o.gi, ci.id);
    }
    if (!code) code = destroy_gpu_instance(shared, gpu, o.gi);
    push_event(shared, gpu, 0x100, 0);
  });
  check(code, "mig destroy " + std::to_string(o.gi));
}

void set_mode(ToolContext& context, const MigOptions& o, bool enabled) {
  const uint32_t gpu = context.gpu(o.gpu);
  uint32_t code = 0;
  context.change(enabled ? "mig enable" : "mig disable",
                 [&](Shared& shared) { code = set_mig_mode(shared, gpu, enabled); });
  check(code, enabled ? "mig enable" : "mig disable");
}

void profiles(ToolContext& context, const MigOptions& o) {
  const MigTable* table = mig_table(context.store().machine().gpus[context.gpu(o.gpu)].mig_table);
  if (!table) throw ToolError("GPU " + o.gpu + " cannot be partitioned");
  for (uint32_t i = 0; i < table->profile_count; ++i) {
    const MigProfile& p = table->profiles[i];
    std::printf("%-12s id %-3u max %u  %u MiB  %u SMs\n", p.name, p.id, p.max_instances,
                p.memory_mib, p.sms);
  }
}

}  // namespace

void add_mig_commands(CLI::App& app, ToolContext& context) {
  CLI::App* mig = app.add_subcommand("mig", "multi-instance GPU");
  mig->require_subcommand(1);
  const auto o = std::make_shared<MigOptions>();
  const auto command = [&](const char* name, const char* help) {
    CLI::App* c = mig->add_subcommand(name, help);
    c->add_option("-g,--gpu", o->gpu)->required();
    return c;
  };
  CLI::App* c = command("create", "a GPU instance with one compute instance over it");
  c->add_option("profile", o->profile, "e.g. 1g.10gb")->required();
  c->callback([o, &context] { create(context, *o); });
  c = command("destroy", "a GPU instance and what is on it");
  c->add_option("--gpu-instance", o->gi)->required();
  c->add_flag("--force", o->force, "although processes use it");
  c->callback([o, &context] { destroy(context, *o); });
  command("enable", "MIG mode on")->callback([o, &context] { set_mode(context, *o, true); });
  command("disable", "MIG mode off")->callback([o, &context] { set_mode(context, *o, false); });
  command("profiles", "what the board offers")->callback([o, &context] { profiles(context, *o); });
}

}  // namespace nvmlsim
