#include "kubelet/plugin.h"

#include <mutex>

#include "base/log.h"
#include "kubelet/codec.h"
#include "kubelet/events.h"
#include "kubelet/listener.h"
#include "kubelet/transport.h"

namespace kerf::kubelet {
namespace {

using Answer = tl::expected<std::string, Failure>;
using Instant = std::chrono::steady_clock::time_point;

tl::unexpected<Failure> refuse(Code code, std::string message) {
  return tl::unexpected(Failure{code, std::move(message)});
}

// A request that is not the message it should be, or is too large, is the caller's defect and not
// a plugin error: gRPC servers answer INTERNAL when they cannot decode.
tl::unexpected<Failure> undecodable(const Error& error) {
  return refuse(error.kind == Kind::kInvalid ? Code::kInvalidArgument : Code::kInternal,
                error.text());
}

class PluginServer final : public Plugin {
 public:
  PluginServer(asio::io_context& loop, Options options)
      : loop_(loop), options_(std::move(options)) {}
  ~PluginServer() override { stop(std::chrono::milliseconds(0)); }

  Status begin() {
    std::vector<Server::Method> methods;
    methods.push_back(
        {kOptions, [](Caller&, std::string_view) -> Answer { return encode_options(true); }});
    methods.push_back({kListAndWatch, {}});
    methods.push_back({kPreferred, [this](Caller& caller, std::string_view request) {
                         return preferred(caller, request);
                       }});
    methods.push_back({kAllocate, [this](Caller& caller, std::string_view request) {
                         return allocate(caller, request);
                       }});
    methods.push_back({kPreStart, [](Caller&, std::string_view request) -> Answer {
                         if (well_formed(request)) return std::string();
                         return refuse(Code::kInternal,
                                       "the request is not a valid PreStartContainerRequest");
                       }});
    auto server = Server::start(std::move(methods), options_.streams_changed);
    if (!server) return fail(server.error());
    server_ = std::move(*server);
    return {};
  }

  bool offer(std::span<const plan::Device> devices, Answers answers) override {
    auto next = std::make_shared<const Answers>(std::move(answers));
    auto list = std::make_shared<const std::string>(encode_list(devices));
    {
      std::lock_guard lock(mutex_);
      answers_.swap(next);  // the old ones are destroyed outside the lock
    }
    if (list_ && *list == *list_) return false;
    list_ = std::move(list);
    server_->publish(kListAndWatch, list_);
    options_.stats->updates.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  Result<bool> bind() override {
    if (bound()) return false;
    listener_.reset();
    auto opened = Listener::open(loop_, options_.socket_path, options_.socket_mode,
                                 [this](Fd connection) { server_->adopt(std::move(connection)); });
    if (!opened) return fail(opened.error());
    listener_ = std::move(*opened);
    return true;
  }
  bool bound() const override { return listener_ && listener_->in_place(); }
  std::size_t streams() const override { return server_->watchers().open; }
  std::size_t streams_ever() const override { return server_->watchers().opened; }
  std::size_t updates() const override { return server_->watchers().updates; }

  void stop(std::chrono::milliseconds grace) override {
    listener_.reset();
    if (server_) server_->stop(grace);
  }

 private:
  // The lock guards the pointer alone and is never held while working.
  std::shared_ptr<const Answers> answers() const {
    std::lock_guard lock(mutex_);
    return answers_;
  }

  Answer allocate(Caller& caller, std::string_view request) {
    const Instant begin = std::chrono::steady_clock::now();
    auto containers = decode_allocate(request);
    if (!containers) return undecodable(containers.error());
    auto answers = this->answers();
    if (!answers) return refuse(Code::kUnknown, "no devices are advertised yet");
    std::vector<edits::Edits> edits;
    edits.reserve(containers->size());
    std::optional<Error> error;
    for (const Ids& ids : *containers) {
      auto one = answers->allocate(ids);
      if (!one) {
        error = std::move(one.error());
        break;
      }
      edits.push_back(std::move(*one));
    }
    Answer answer =
        error ? Answer(refuse(Code::kUnknown, error->text())) : Answer(encode_allocate(edits));
    caller.after([this, &caller, begin, containers = std::move(*containers),
                  error = std::move(error)] { allocated(caller, begin, containers, error); });
    return answer;
  }

  void allocated(const Caller& caller, Instant begin, const std::vector<Ids>& containers,
                 const std::optional<Error>& error) {
    options_.stats->allocate.observe(std::chrono::steady_clock::now() - begin);
    if (error) {
      options_.stats->allocate_errors.fetch_add(1, std::memory_order_relaxed);
      log::warn("kubelet", "allocation refused",
                {{"resource", options_.resource}, {"err", error->text()}});
    }
    if (options_.events == nullptr) return;
    const pid_t pid = caller.peer().pid;
    if (containers.size() == 1) {
      options_.events->allocated(options_.resource, containers.front(), pid, error);
    } else {
      Ids all;
      for (const Ids& ids : containers) all.insert(all.end(), ids.begin(), ids.end());
      options_.events->allocated(options_.resource, all, pid, error);
    }
  }

  Answer preferred(Caller& caller, std::string_view request) {
    const Instant begin = std::chrono::steady_clock::now();
    auto containers = decode_preferred(request);
    if (!containers) return undecodable(containers.error());
    auto answers = this->answers();
    if (!answers) return refuse(Code::kUnknown, "no devices are advertised yet");
    std::vector<Ids> chosen;
    chosen.reserve(containers->size());
    std::optional<Error> error;
    for (const PreferredRequest& one : *containers) {
      auto ids = answers->preferred(one.available, one.must_include, one.size);
      if (!ids) {
        error = std::move(ids.error());
        break;
      }
      chosen.push_back(std::move(*ids));
    }
    Answer answer =
        error ? Answer(refuse(Code::kUnknown, error->text())) : Answer(encode_preferred(chosen));
    caller.after(
        [this, begin, request, failed = error.has_value(), containers = std::move(*containers)] {
          options_.stats->preferred.observe(std::chrono::steady_clock::now() - begin);
          if (failed) options_.stats->preferred_errors.fetch_add(1, std::memory_order_relaxed);
          if (options_.events == nullptr || containers.empty()) return;
          options_.events->available(options_.resource, request, containers.front().available);
        });
    return answer;
  }

  asio::io_context& loop_;
  Options options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Answers> answers_;  // guarded by mutex_
  std::shared_ptr<const std::string> list_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Listener> listener_;  // last: it calls the server
};

}  // namespace

Result<std::unique_ptr<Plugin>> Plugin::start(asio::io_context& loop, Options options) {
  auto plugin = std::make_unique<PluginServer>(loop, std::move(options));
  if (Status begun = plugin->begin(); !begun) return fail(begun.error());
  return plugin;
}

}  // namespace kerf::kubelet
