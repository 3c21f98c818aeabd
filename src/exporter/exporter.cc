#include "exporter/exporter.h"

#include <atomic>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "base/watch.h"
#include "exporter/lists.h"
#include "exporter/web.h"
#include "exporter/web_config.h"
#include "http/server.h"
#include "http/tls.h"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::exporter {
namespace {

constexpr std::chrono::seconds kBetweenReloads{2};
constexpr std::size_t kLargestList = 1U << 20;

// The directory and the name in it.
std::pair<std::string, std::string> split_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

struct List {
  std::string text;
  std::string name;  // for messages
};

// The file, or one of those that are built in when it is not there.
Result<List> read_list(const std::string& path) {
  Result<std::string> text = read_file(path, kLargestList);
  if (text) return List{std::move(*text), split_path(path).second};
  const std::string_view shipped = shipped_list(path);
  if (shipped.empty() || text.error().kind != Kind::kNotFound) {
    return fail(std::move(text.error()).during("reading the counter list"));
  }
  return List{std::string(shipped), split_path(path).second + " (built in)"};
}

// The list as counters; its findings go to the log.
Result<std::shared_ptr<const Wanted>> understand(const List& list, bool ignore_unknown) {
  ParsedCounters parsed = parse_counters(list.text, list.name, ignore_unknown);
  const Finding* first = nullptr;
  std::size_t errors = 0;
  for (const Finding& finding : parsed.findings) {
    if (!finding.error) {
      log::warn("exporter", finding.message, {{"at", finding.where}, {"hint", finding.remedy}});
      continue;
    }
    if (first == nullptr) first = &finding;
    ++errors;
  }
  if (first == nullptr) {
    return std::make_shared<const Wanted>(wanted_by(std::move(parsed.counters)));
  }
  std::string what = first->message;
  if (errors > 1) what += " and " + std::to_string(errors - 1) + " more";
  return fail(Kind::kInvalid, std::move(what), first->where, first->remedy);
}

}  // namespace

struct Exporter::Shared {
  explicit Shared(ExporterOptions from) : options(std::move(from)), sampler(options.sampler) {}

  ExporterOptions options;
  Sampler sampler;

  asio::io_context loop{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  std::thread thread;
  // Of the thread alone.
  std::unique_ptr<http::Server> server;
  std::unique_ptr<DirectoryWatch> watch;
  std::unique_ptr<asio::steady_timer> reload_timer;
  bool reload_pending = false;
  std::optional<List> given;  // instead of the file
  std::string text_in_force;

  std::string address;
  std::atomic<std::uint64_t> scrapes{0};
  std::atomic<bool> reloading{false};
  mutable std::mutex mutex;
  ExporterStats stats;
  bool stopped = false;

  Status open();
  void follow_file();
  void reload_soon();
  void reload_now();
  Status take(const List& list);
};

Status Exporter::Shared::take(const List& list) {
  auto wanted = understand(list, options.ignore_unknown);
  if (!wanted) return fail(std::move(wanted.error()));
  const std::size_t count = (*wanted)->counters.values.size() + (*wanted)->counters.computed.size();
  sampler.set_counters(std::move(*wanted));
  text_in_force = list.text;
  log::info("exporter", "counter list in force", {{"list", list.name}, {"counters", count}});
  const std::lock_guard lock(mutex);
  stats.counters = count;
  stats.refused.clear();
  return {};
}

Status Exporter::Shared::open() {
  auto list = read_list(options.collectors);
  if (!list) return fail(std::move(list.error()));
  if (Status taken = take(*list); !taken) return taken;
  WebConfig web;
  if (!options.web_config.empty()) {
    auto text = read_file(options.web_config);
    if (!text) return fail(std::move(text.error()).during("reading the web configuration"));
    auto parsed = parse_web_config(*text, options.web_config);
    if (!parsed) return fail(std::move(parsed.error()));
    web = std::move(*parsed);
  }
  std::shared_ptr<http::Tls> tls;
  if (web.tls) {
    auto made = http::Tls::make(web.tls_config);
    if (!made) return fail(std::move(made.error()));
    tls = std::move(*made);
  }
  WebSources sources;
  sources.sheet = [this] {
    ++scrapes;
    return sampler.sheet();
  };
  sources.reload_in_progress = [this] { return reloading.load(); };
  sources.more = options.more;
  http::Limits limits;
  limits.head = std::chrono::milliseconds(10'000);
  limits.write = std::chrono::milliseconds(10'000);
  auto listening = http::Server::listen(
      loop, options.address, ask_for_password(std::move(web.users), make_pages(std::move(sources))),
      limits, std::move(tls));
  if (!listening) return fail(std::move(listening.error()));
  server = std::move(*listening);
  address = server->address();
  reload_timer = std::make_unique<asio::steady_timer>(loop);
  follow_file();
  return {};
}

// A ConfigMap's files are links that are turned, so any change in the directory counts.
void Exporter::Shared::follow_file() {
  auto opened = DirectoryWatch::open(loop, split_path(options.collectors).first,
                                     [this](const std::string& /*name*/) { reload_soon(); });
  if (opened) watch = std::move(*opened);
}

void Exporter::Shared::reload_soon() {
  if (std::exchange(reload_pending, true)) return;
  reload_timer->expires_after(kBetweenReloads);
  reload_timer->async_wait([this](const asio::error_code& error) {
    if (error) return;
    reload_pending = false;
    reload_now();
  });
}

void Exporter::Shared::reload_now() {
  reloading = true;
  Result<List> list = given ? Result<List>(*given) : read_list(options.collectors);
  const bool same = list && list->text == text_in_force;
  Status taken = !list ? Status(fail(std::move(list.error()))) : same ? Status() : take(*list);
  reloading = false;
  const std::lock_guard lock(mutex);
  if (taken) {
    stats.refused.clear();
    if (!same) ++stats.reloads;
    return;
  }
  log::error("exporter", "counter list refused, the one before stays in force", taken.error());
  ++stats.refusals;
  stats.refused = taken.error().text();
}

Exporter::Exporter(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

Exporter::~Exporter() { stop(); }

Result<std::unique_ptr<Exporter>> Exporter::start(ExporterOptions options) {
  auto shared = std::make_shared<Shared>(std::move(options));
  if (Status opened = shared->open(); !opened) return fail(std::move(opened.error()));
  if (Status started = shared->sampler.start(); !started) return fail(std::move(started.error()));
  shared->thread = std::thread([shared] {
    pthread_setname_np(pthread_self(), "exporter");
    shared->loop.run();
  });
  return std::unique_ptr<Exporter>(new Exporter(std::move(shared)));
}

void Exporter::set_node(std::vector<Entity> entities, bool driver_ready, std::uint64_t epoch) {
  shared_->sampler.set_node(std::move(entities), driver_ready, epoch);
}

void Exporter::set_attribution(std::shared_ptr<const Attribution> attribution) {
  shared_->sampler.set_attribution(std::move(attribution));
}

void Exporter::use_list(std::optional<std::string> text, std::string name) {
  asio::post(shared_->loop, [shared = shared_, text = std::move(text), name = std::move(name)] {
    shared->given.reset();
    if (text) shared->given = List{*text, name};
    shared->reload_now();
  });
}

void Exporter::reload() {
  asio::post(shared_->loop, [shared = shared_] { shared->reload_soon(); });
}

void Exporter::stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    if (std::exchange(shared_->stopped, true)) return;
  }
  asio::post(shared_->loop, [shared = shared_] {
    if (shared->server) shared->server->stop();
    shared->watch.reset();
    shared->reload_timer.reset();
    shared->work.reset();
    shared->loop.stop();
  });
  if (shared_->thread.joinable()) shared_->thread.join();
  shared_->sampler.stop();
}

std::string Exporter::address() const { return shared_->address; }

ExporterStats Exporter::stats() const {
  ExporterStats out;
  {
    const std::lock_guard lock(shared_->mutex);
    out = shared_->stats;
  }
  out.scrapes = shared_->scrapes;
  out.sampler = shared_->sampler.stats();
  return out;
}

}  // namespace kerf::exporter
