// Collects every value with its origin. What the values must be is in settings.cc.
#include "config/load.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "config/parse.h"
#include "config/settings.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

// The file as it was read; `text` is kept for the excerpts of later findings.
struct File {
  std::string name;
  std::string text;
  FileValues values;
};

class Loader {
 public:
  Loader(const FlagValues& flags, const Env& env) : flags_(flags), env_(env) {
    for (const auto& [name, texts] : flags) {
      if (find_flag(name) == nullptr) {
        finding(Severity::kError, "flag --" + name, "unknown flag", "see kerf agent --help");
      }
    }
  }

  std::string config_file() {
    std::optional<Setting> file = from_outside(*find_flag("config-file"));
    return file ? to_text(file->value) : std::string();
  }

  void use_file(std::string name, std::string text) {
    Parsed parsed = parse(text, name);
    findings_.insert(findings_.end(), parsed.findings.begin(), parsed.findings.end());
    file_ = {std::move(name), std::move(text), std::move(parsed.values)};
  }

  void cannot_read(const std::string& name, const Error& error) {
    finding(Severity::kError, name, "error opening config file: " + error.what,
            error.hint.empty() ? "check --config-file (CONFIG_FILE) and the mount" : error.hint);
  }

  Effective finish() {
    Effective effective;
    effective.config.power = file_.values.power;  // before the flags, which fill parts of it
    for (const FlagSpec& spec : agent_flags()) {
      Setting setting = choose(spec);
      effective.provenance.push_back({place(spec), setting.source});
      if (std::optional<Problem> problem = apply(spec, setting.value, effective)) {
        report(setting, spec, *problem);
      }
    }
    fill_dev_root(effective);
    take_sharing(effective);
    effective.findings = std::move(findings_);
    return effective;
  }

 private:
  struct Setting {
    Value value;
    std::string source;  // as in Provenance
    bool in_file = false;
  };

  static std::string place(const FlagSpec& spec) {
    return spec.file_path.empty() ? fmt::format("--{}", spec.name) : std::string(spec.file_path);
  }

  void finding(Severity severity, std::string file, std::string message, std::string hint) {
    Diagnostic d;
    d.severity = severity;
    d.file = std::move(file);
    d.message = std::move(message);
    d.hint = std::move(hint);
    findings_.push_back(std::move(d));
  }

  void file_finding(Severity severity, const std::string& path, std::string message,
                    std::string hint) {
    finding(severity, file_.name, std::move(message), std::move(hint));
    Diagnostic& d = findings_.back();
    d.path = path;
    auto found = file_.values.positions.find(path);
    if (found != file_.values.positions.end()) d.at = found->second;
    attach_excerpt(d, file_.text);
  }

  void report(const Setting& setting, const FlagSpec& spec, const Problem& problem) {
    if (setting.in_file) {
      file_finding(Severity::kError, std::string(spec.file_path), problem.message, problem.hint);
    } else {
      finding(Severity::kError, setting.source, problem.message, problem.hint);
    }
  }

  std::optional<Setting> from_flag(const FlagSpec& spec) {
    auto given = flags_.find(spec.name);
    for (std::string_view alias : spec.aliases) {
      if (given == flags_.end()) given = flags_.find(alias);
    }
    if (given == flags_.end() || given->second.empty()) return {};
    bool is_list = spec.kind == FlagKind::kStringList || spec.kind == FlagKind::kIntList;
    std::string text = given->second.back();
    if (is_list) text = fmt::format("{}", fmt::join(given->second, ","));
    return read(spec, text, fmt::format("flag --{}", spec.name));
  }

  std::optional<Setting> from_env(const FlagSpec& spec) {
    for (std::string_view name : spec.env) {
      auto found = env_.find(name);
      if (found == env_.end()) continue;
      std::string source = fmt::format("env {}", name);
      if (!found->second.empty()) return read(spec, found->second, source);
      return empty_env(spec, source);
    }
    return {};
  }

  // NVIDIA's plugin takes an empty variable as given: a string becomes "", a bool false. Where ""
  // can have no meaning it fails to start or ignores the variable; it is ignored here in both
  // cases.
  std::optional<Setting> empty_env(const FlagSpec& spec, const std::string& source) {
    if (spec.kind == FlagKind::kBool) {
      finding(Severity::kWarning, source, "is set but empty; read as false",
              "write true or false, or remove the variable");
      return Setting{false, source, false};
    }
    if (spec.kind == FlagKind::kString && allows_empty(spec)) {
      return Setting{std::string(), source, false};
    }
    finding(Severity::kWarning, source, "is set but empty; ignored",
            "give it a value, or remove the variable");
    return {};
  }

  std::optional<Setting> read(const FlagSpec& spec, std::string_view text,
                              const std::string& source) {
    Result<Value> value = parse_value(spec.kind, text);
    if (value) return Setting{std::move(*value), source, false};
    finding(Severity::kError, source, value.error().what, value.error().hint);
    return {};
  }

  std::optional<Setting> from_outside(const FlagSpec& spec) {
    std::optional<Setting> setting = from_flag(spec);
    return setting ? setting : from_env(spec);
  }

  Setting choose(const FlagSpec& spec) {
    if (std::optional<Setting> setting = from_outside(spec)) return std::move(*setting);
    auto in_file = file_.values.settings.find(spec.name);
    if (in_file != file_.values.settings.end()) {
      return {in_file->second, file_source(std::string(spec.file_path)), true};
    }
    return {default_value(spec), "default", false};
  }

  std::string file_source(const std::string& path) const {
    auto found = file_.values.positions.find(path);
    if (found == file_.values.positions.end()) return "file " + file_.name;
    return fmt::format("file {}:{}:{}", file_.name, found->second.line, found->second.column);
  }

  static void fill_dev_root(Effective& effective) {
    if (!effective.config.dev_root.empty()) return;
    effective.config.dev_root = effective.config.driver_root;
    for (Provenance& p : effective.provenance) {
      if (p.path == "flags.nvidiaDevRoot") p.source = "default, the driver root";
    }
  }

  void take_sharing(Effective& effective) {
    FileValues& file = file_.values;
    Config& config = effective.config;
    config.gpu_rules = file.gpu_rules;
    config.mig_rules = file.mig_rules;
    config.health = file.health;
    config.usage = file.usage;
    if (file.mps) {
      config.sharing = *file.mps;
    } else if (file.time_slicing) {
      config.sharing = *file.time_slicing;
    }
    bool shared = std::any_of(config.sharing.resources.begin(), config.sharing.resources.end(),
                              [](const SharedResource& r) { return r.replicas > 1; });
    if (shared) {
      config.sharing_strategy = file.mps ? SharingStrategy::kMps : SharingStrategy::kTimeSlicing;
    }
    if (file.mps && file.time_slicing) {
      file_finding(Severity::kWarning, "sharing.timeSlicing", "has no effect beside sharing.mps",
                   "remove one of the two sections");
    }
    check_mps(effective);
    for (const auto& [path, position] : file.positions) {
      bool is_flag = find_file_flag(path) != nullptr;
      if (path.starts_with("sharing.") || path.starts_with("resources.") ||
          path.starts_with("health.") || path.starts_with("usage.") ||
          (path.starts_with("power.") && !is_flag)) {
        effective.provenance.push_back({path, file_source(path)});
      }
    }
  }

  // What the device plugin refuses; who only labels nodes or runs MPS's daemons need not care.
  void check_mps(const Effective& effective) {
    const Config& config = effective.config;
    const auto& components = effective.process.components;
    if (config.sharing_strategy != SharingStrategy::kMps ||
        std::find(components.begin(), components.end(), "devices") == components.end()) {
      return;
    }
    if (config.mig_strategy == MigStrategy::kMixed) {
      file_finding(Severity::kError, "sharing.mps",
                   "using --mig-strategy=mixed is not supported with MPS",
                   "share with sharing.timeSlicing, or set migStrategy to none or single");
    }
    if (config.mps_root.empty()) {
      file_finding(Severity::kError, "sharing.mps", "using MPS requires --mps-root to be specified",
                   "set flags.mpsRoot, --mps-root or MPS_ROOT to the directory on the host that "
                   "holds the daemons' pipes: /run/nvidia/mps");
    }
  }

  const FlagValues& flags_;
  const Env& env_;
  File file_;
  std::vector<Diagnostic> findings_;
};

struct Outcome {
  Effective effective;
  std::optional<Error> unreadable;
};

Outcome run(const FlagValues& flags, const Env& env, const ReadFile& read) {
  Loader loader(flags, env);
  Outcome outcome;
  std::string name = loader.config_file();
  if (!name.empty()) {
    Result<std::string> text = read(name);
    if (text) {
      loader.use_file(name, std::move(*text));
    } else {
      loader.cannot_read(name, text.error());
      outcome.unreadable = text.error();
    }
  }
  outcome.effective = loader.finish();
  return outcome;
}

}  // namespace

Env env_from(const char* const* environment) {
  Env env;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    std::string_view line = *environment;
    std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    env.try_emplace(std::string(line.substr(0, equals)), line.substr(equals + 1));
  }
  return env;
}

Effective evaluate(const FlagValues& flags, const Env& env, const ReadFile& read) {
  return run(flags, env, read).effective;
}

Result<Effective> load(const FlagValues& flags, const Env& env, const ReadFile& read) {
  Outcome outcome = run(flags, env, read);
  const std::vector<Diagnostic>& findings = outcome.effective.findings;
  auto is_error = [](const Diagnostic& d) { return d.severity == Severity::kError; };
  auto first = std::find_if(findings.begin(), findings.end(), is_error);
  if (first == findings.end()) return std::move(outcome.effective);
  auto more = std::count_if(first + 1, findings.end(), is_error);
  std::string what = first->path.empty() ? first->message : first->path + ": " + first->message;
  if (more > 0) what += fmt::format(" (and {} more)", more);
  Kind kind = outcome.unreadable ? outcome.unreadable->kind : Kind::kInvalid;
  int native = outcome.unreadable ? outcome.unreadable->native : 0;
  return fail(kind, std::move(what), first->where(), first->hint, native);
}

Effective evaluate_file(std::string_view text, std::string_view file_name) {
  const FlagValues no_flags;
  const Env no_env;
  Loader loader(no_flags, no_env);
  loader.use_file(std::string(file_name), std::string(text));
  return loader.finish();
}

}  // namespace kerf::config
