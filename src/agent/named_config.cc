#include "agent/named_config.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <span>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "agent/api_client.h"
#include "agent/kube_events.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/roots.h"
#include "config/load.h"
#include "kube/client.h"
#include "kubelet/follow.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

namespace kerf::agent {
namespace {

using nlohmann::json;

// However often the label is switched, a choice is made no more often than this.
constexpr std::chrono::milliseconds kSettle{200};

kube::ClientOptions client_options(const NamedConfigOptions& options) {
  kube::ClientOptions out;
  out.user_agent = options.user_agent;
  out.requests_per_second = options.requests_per_second;
  out.burst = options.burst;
  return out;
}

}  // namespace

Result<std::vector<std::string>> list_configs(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  if (error) {
    return fail_errno("cannot list the configurations", directory, error.value(),
                      "check --config-file-srcdir (CONFIG_FILE_SRCDIR) and the mount");
  }
  for (const fs::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (!name.starts_with("..") && !entry.is_directory(ignored)) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

std::string label_of(std::string_view node, const std::string& label) {
  json object = json::parse(node, nullptr, false);
  for (const char* key : {"metadata", "labels"}) {
    if (!object.is_object() || !object.contains(key)) return {};
    object = json(object[key]);
  }
  if (!object.is_object() || !object.contains(label) || !object[label].is_string()) return {};
  return object[label].get<std::string>();
}

Result<NamedConfigOptions> named_config_options(const config::ProcessOptions& process,
                                                const std::string& version) {
  if (Status named = needs_node_name(process); !named) return fail(std::move(named.error()));
  Result<kube::Access> access = find_api(process);
  if (!access) return fail(std::move(access.error()));
  NamedConfigOptions options;
  options.access = std::move(*access);
  options.user_agent = "kerf/" + version;
  options.requests_per_second = process.kube_api_qps;
  options.burst = std::max(process.kube_api_burst, 1U);
  options.node = process.node_name;
  options.label = process.node_label;
  options.directory = process.config_srcdir;
  options.choices = {process.default_config, process.fallback_strategies};
  return options;
}

struct NamedConfig::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io, NamedConfigOptions given, NamedConfigHandlers on)
      : loop(io),
        options(std::move(given)),
        handlers(std::move(on)),
        client(io, options.access, client_options(options)),
        events(io, system_clock(), client, options.node, "kerf", [] {}),
        settle(io) {}

  void start() {
    std::weak_ptr<Impl> weak = shared_from_this();
    follower =
        std::make_unique<kubelet::Follower>(loop, options.directory, [weak](const std::string&) {
          if (auto self = weak.lock()) self->choose_soon();
        });
    watch = client.watch(
        "/api/v1/nodes", "fieldSelector=metadata.name%3D" + kube::escape(options.node),
        {[weak](std::span<const std::string> nodes) {
           auto self = weak.lock();
           if (self) self->on_label(nodes.empty() ? "" : label_of(nodes[0], self->options.label));
         },
         [weak](kube::Change change, std::string_view node) {
           auto self = weak.lock();
           if (!self) return;
           bool gone = change == kube::Change::kDeleted;
           self->on_label(gone ? "" : label_of(node, self->options.label));
         },
         [weak](const Error* error) {
           if (auto self = weak.lock()) self->on_trouble(error);
         }});
  }

  void on_label(std::string value) {
    if (label_known && label == value) return;
    log::info("config", "node label read", {{"label", options.label}, {"value", value}});
    bool first = !std::exchange(label_known, true);
    label = std::move(value);
    first ? choose() : choose_soon();
  }

  void on_trouble(const Error* error) {
    bool news =
        error == nullptr ? trouble.has_value() : !trouble || trouble->text() != error->text();
    trouble = error == nullptr ? std::optional<Error>() : *error;
    if (!news) return;
    if (error != nullptr) log::warn("config", "the node's label cannot be followed", *error);
    handlers.changed();
  }

  void choose_soon() {
    if (!label_known || std::exchange(choosing, true)) return;
    settle.expires_after(kSettle);
    settle.async_wait([weak = weak_from_this()](std::error_code cancelled) {
      auto self = weak.lock();
      if (!self || cancelled) return;
      self->choosing = false;
      self->choose();
    });
  }

  void choose() {
    Result<std::vector<std::string>> names = list_configs(options.directory);
    Result<std::string> name = fail(Kind::kInternal, "");
    if (names) {
      name = config::choose_config(label, options.choices, *names);
    } else {
      name = fail(names.error());
    }
    if (!name) return refuse(name.error(), names.value_or(std::vector<std::string>()));
    bool mended = std::exchange(refused, std::nullopt).has_value();
    use(*name);
    if (mended) handlers.changed();
  }

  // What was chosen before stays; where nothing was, the label counts as not set.
  void refuse(Error error, const std::vector<std::string>& names) {
    bool news = !refused || refused->text() != error.text();
    bool by_label = !label.empty() && error.kind == Kind::kNotFound && !names.empty();
    if (by_label) error.subject = options.label;
    refused = error;
    if (news) {
      log::error("config", current ? "refused, the one before stays in force" : "cannot be chosen",
                 error);
      events.send("ConfigRefused",
                  (current ? "the configuration before stays in force: " : "") + error.text(),
                  true);
    }
    if (!current && by_label) {
      if (auto instead = config::choose_config("", options.choices, names)) use(*instead);
    }
    if (!current && handlers.hopeless) handlers.hopeless(error);
    if (news) handlers.changed();
  }

  void use(const std::string& name) {
    std::string path = name.empty() ? "" : join_path(options.directory, name);
    if (current && *current == path) return handlers.touched();
    current = path;
    log::info("config", "chosen", {{"config", name.empty() ? "(empty)" : name}, {"label", label}});
    handlers.chosen(path);
  }

  asio::io_context& loop;
  NamedConfigOptions options;
  NamedConfigHandlers handlers;
  kube::Client client;
  KubeEvents events;
  std::unique_ptr<kube::Watch> watch;
  std::unique_ptr<kubelet::Follower> follower;
  asio::steady_timer settle;
  bool choosing = false;
  bool label_known = false;            // it was read at least once
  std::string label;                   // its value; empty when it is not set
  std::optional<std::string> current;  // path in use
  std::optional<Error> trouble;        // of the watch
  std::optional<Error> refused;        // why the label's word is not followed
};

NamedConfig::NamedConfig(asio::io_context& loop, NamedConfigOptions options,
                         NamedConfigHandlers handlers)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(handlers))) {
  impl_->start();
}

NamedConfig::~NamedConfig() {
  impl_->watch.reset();
  impl_->follower.reset();
  impl_->settle.cancel();
}

std::optional<Error> NamedConfig::problem() const {
  if (impl_->refused) return impl_->refused;
  if (impl_->trouble) return impl_->trouble;
  if (impl_->label_known) return {};
  return Error{Kind::kBusy, "the node's label has not been read yet", impl_->options.label,
               "wait for the API server"};
}

bool NamedConfig::chosen() const { return impl_->current.has_value(); }

void NamedConfig::tell(std::string reason, std::string message, bool warning) {
  impl_->events.send(std::move(reason), std::move(message), warning);
}

}  // namespace kerf::agent
