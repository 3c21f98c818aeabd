// The exporter as a whole: a sampler, and a thread ("exporter") that serves what it makes over HTTP
// or HTTPS and follows the counter list's file. The caller tells what is on the node and who uses
// it; nothing here blocks the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "exporter/sampler.h"
#include "exporter/types.h"

namespace kerf::exporter {

struct ExporterOptions {
  SamplerOptions sampler;
  std::string address = ":9400";
  std::string collectors;       // file of the counter list; the shipped ones need not exist
  bool ignore_unknown = false;  // fields in it
  std::string web_config;       // file; empty: plain HTTP without passwords
  // Further metrics behind the sheet's, as text; called on the exporter's thread. May be empty.
  std::function<std::string()> more;
};

struct ExporterStats {
  SamplerStats sampler;
  std::uint64_t scrapes = 0;   // answers to /metrics
  std::uint64_t reloads = 0;   // of the counter list
  std::uint64_t refusals = 0;  // lists that were not taken
  std::size_t counters = 0;    // metrics in the list
  std::string refused;         // why the newest list is not in force; empty while it is
};

class Exporter {
 public:
  // Reads the list, listens and starts the threads. What is wrong with the list, the web
  // configuration or the address is the error.
  static Result<std::unique_ptr<Exporter>> start(ExporterOptions options);
  ~Exporter();  // stops
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  // Any thread, like all below.
  void set_node(std::vector<Entity> entities, bool driver_ready, std::uint64_t epoch);
  void set_attribution(std::shared_ptr<const Attribution> attribution);
  // A list from elsewhere than the file (a ConfigMap), or the file's again with nothing. `name` is
  // for messages. One that is not valid is refused; the one before stays in force.
  void use_list(std::optional<std::string> text, std::string name);
  // Reads the file again.
  void reload();
  void stop();

  // "[::]:9400", with the port chosen.
  std::string address() const;
  ExporterStats stats() const;

 private:
  struct Shared;
  explicit Exporter(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace kerf::exporter
