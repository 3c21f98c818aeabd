// The server half of transport.h over gRPC's callback API. Methods are registered raw, as generated
// code registers its "raw callback" methods, so that a call costs what generated code costs.
#include "kubelet/transport.h"

#include <atomic>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <set>
#include <sys/socket.h>

#include "kubelet/transport_bytes.h"

#include <absl/synchronization/mutex.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_posix.h>
#include <grpcpp/support/server_callback.h>

namespace kerf::kubelet {
namespace {

// The kubelet's own limit for what it sends and takes; 1600 replica ids are 70 kB.
constexpr int kMaxMessage = 4 << 20;
// A whole request fits the flow-control window, so none waits for a window update.
constexpr int kWindow = 1 << 20;

// Connections by descriptor number: gRPC names a connection "fd:<n>". A number is reused only after
// its connection ended, and then written anew, so the table stays as small as the process's.
class Peers {
 public:
  void note(int fd) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    Peer peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
      peer = {credentials.pid, credentials.uid};
    }
    std::lock_guard lock(mutex_);
    peers_[fd] = peer;
  }
  Peer find(const std::string& name) const {
    if (name.rfind("fd:", 0) != 0) return {};
    int fd = std::atoi(name.c_str() + 3);
    std::lock_guard lock(mutex_);
    auto it = peers_.find(fd);
    return it == peers_.end() ? Peer{} : it->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<int, Peer> peers_;
};

// Debian builds Abseil with its debugging aid that looks for deadlocks at every lock that gRPC
// takes and stops all threads to do so. It is for developers of gRPC.
void lock_without_checks() {
  static const bool done = [] {
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    return true;
  }();
  static_cast<void>(done);
}

using Answer = tl::expected<std::string, Failure>;

class CallerOf final : public Caller {
 public:
  CallerOf(const grpc::CallbackServerContext& context, const Peers& peers)
      : context_(context), peers_(peers) {}
  Peer peer() const override { return peers_.find(context_.peer()); }
  void after(std::function<void()> done) override { after_ = std::move(done); }
  void finished() {
    if (after_) after_();
  }

 private:
  const grpc::CallbackServerContext& context_;
  const Peers& peers_;
  std::function<void()> after_;
};

class Watch;

// One open stream. Deletes itself when gRPC is done with it.
class Stream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Stream(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}

  void show(SharedBytes state) {
    std::lock_guard lock(mutex_);
    latest_ = std::move(state);
    send_next();
  }
  // Ends the stream with OK, after the message on its way if there is one.
  void finish() {
    std::lock_guard lock(mutex_);
    ending_ = true;
    if (!writing_) finish_once();
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok || ending_) {
      finish_once();
    } else {
      send_next();
    }
  }
  void OnCancel() override { finish(); }
  void OnDone() override;

 private:
  // gRPC never calls back from inside StartWrite or Finish, so holding the lock is safe.
  void send_next();
  void finish_once() {
    if (std::exchange(finished_, true)) return;
    Finish(grpc::Status::OK);
  }

  std::shared_ptr<Watch> watch_;
  std::mutex mutex_;
  SharedBytes latest_;
  SharedBytes sent_;  // keeps the bytes alive while gRPC sends them
  grpc::ByteBuffer buffer_;
  bool writing_ = false;
  bool ending_ = false;
  bool finished_ = false;
};

// A watch method: its latest state and the streams that show it.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  explicit Watch(std::function<void()> changed) : changed_(std::move(changed)) {}

  Stream* open() {
    auto* stream = new Stream(shared_from_this());
    {
      std::lock_guard lock(mutex_);
      streams_.insert(stream);
      ++opened_;
      if (stopped_) {
        stream->finish();
      } else if (state_) {
        stream->show(state_);
      }
    }
    if (changed_) changed_();
    return stream;
  }
  void publish(SharedBytes state) {
    std::lock_guard lock(mutex_);
    state_ = std::move(state);
    for (Stream* stream : streams_) stream->show(state_);
  }
  void stop() {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    for (Stream* stream : streams_) stream->finish();
  }
  void closed(Stream* stream) {
    {
      std::lock_guard lock(mutex_);
      streams_.erase(stream);
    }
    if (changed_) changed_();
  }
  void sent() { updates_.fetch_add(1, std::memory_order_relaxed); }
  void count(Server::Watchers& into) const {
    std::lock_guard lock(mutex_);
    into.open += streams_.size();
    into.opened += opened_;
    into.updates += updates_.load(std::memory_order_relaxed);
  }

 private:
  mutable std::mutex mutex_;  // taken before a stream's own
  std::set<Stream*> streams_;
  SharedBytes state_;
  std::size_t opened_ = 0;
  std::atomic<std::size_t> updates_ = 0;
  bool stopped_ = false;
  std::function<void()> changed_;
};

void Stream::send_next() {
  if (writing_ || ending_ || finished_ || !latest_ || latest_ == sent_) return;
  sent_ = latest_;
  writing_ = true;
  buffer_ = bytes_of(sent_);
  watch_->sent();
  StartWrite(&buffer_);
}

void Stream::OnDone() {
  watch_->closed(this);
  delete this;
}

// The methods, as a service made at run time.
class ByteService final : public grpc::Service {
 public:
  explicit ByteService(const Peers& peers) : peers_(peers) {}

  void add_unary(const std::string& path, Unary handler) {
    auto* run = new grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
        [this, handler = std::move(handler)](
            grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
            grpc::ByteBuffer* response) { return answer(handler, context, *request, *response); });
    add(path, grpc::internal::RpcMethod::NORMAL_RPC, run);
  }
  void add_watch(const std::string& path, const std::shared_ptr<Watch>& watch) {
    auto* run =
        new grpc::internal::CallbackServerStreamingHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
            [watch](grpc::CallbackServerContext*, const grpc::ByteBuffer*) {
              return watch->open();
            });
    add(path, grpc::internal::RpcMethod::SERVER_STREAMING, run);
  }

 private:
  void add(const std::string& path, grpc::internal::RpcMethod::RpcType type,
           grpc::internal::MethodHandler* handler) {
    AddMethod(new grpc::internal::RpcServiceMethod(path.c_str(), type, nullptr));
    MarkMethodRawCallback(count_++, handler);
  }

  grpc::ServerUnaryReactor* answer(const Unary& handler, grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer& request, grpc::ByteBuffer& response) {
    CallerOf caller(*context, peers_);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    grpc::Slice whole;
    if (!flatten(request, whole)) {
      reactor->Finish(grpc::Status(grpc::StatusCode::INTERNAL, "the request could not be read"));
      return reactor;
    }
    auto result = handler(caller, view_of(whole));
    if (result) {
      response = bytes_of(std::move(*result));
      reactor->Finish(grpc::Status::OK);
    } else {
      reactor->Finish(
          grpc::Status(static_cast<grpc::StatusCode>(result.error().code), result.error().message));
    }
    caller.finished();
    return reactor;
  }

  const Peers& peers_;
  int count_ = 0;
};

class GrpcServer final : public Server {
 public:
  ~GrpcServer() override { stop(std::chrono::milliseconds(0)); }

  Status begin(std::vector<Method> methods, const std::function<void()>& streams_changed) {
    lock_without_checks();
    for (Method& method : methods) {
      if (method.handler) {
        service_.add_unary(method.path, std::move(method.handler));
      } else {
        auto watch = std::make_shared<Watch>(streams_changed);
        service_.add_watch(method.path, watch);
        watches_.emplace(method.path, std::move(watch));
      }
    }
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxMessage);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindow);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (!server_) return fail(Kind::kInternal, "cannot start the gRPC server");
    return {};
  }

  void adopt(Fd connection) override {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    fcntl(connection.get(), F_SETFL, fcntl(connection.get(), F_GETFL) | O_NONBLOCK);
    peers_.note(connection.get());
    grpc::AddInsecureChannelFromFd(server_.get(), connection.release());
  }
  void publish(std::string_view path, SharedBytes state) override {
    auto it = watches_.find(path);
    if (it != watches_.end()) it->second->publish(std::move(state));
  }
  Watchers watchers() const override {
    Watchers all;
    for (const auto& [path, watch] : watches_) watch->count(all);
    return all;
  }
  void stop(std::chrono::milliseconds grace) override {
    {
      std::lock_guard lock(mutex_);
      if (std::exchange(stopped_, true)) return;
    }
    for (const auto& [path, watch] : watches_) watch->stop();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + grace);
  }

 private:
  Peers peers_;
  ByteService service_{peers_};
  std::map<std::string, std::shared_ptr<Watch>, std::less<>> watches_;
  std::mutex mutex_;
  bool stopped_ = false;
  std::unique_ptr<grpc::Server> server_;  // last: destroyed before what its handlers use
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(std::vector<Method> methods,
                                              const std::function<void()>& streams_changed) {
  auto server = std::make_unique<GrpcServer>();
  if (Status begun = server->begin(std::move(methods), streams_changed); !begun) {
    return fail(begun.error());
  }
  return server;
}

void warm_up() {
  // The threads belong to all servers together, so one that nobody can reach starts and keeps them.
  static const auto kept =
      Server::start({{"/kerf.Transport/WarmUp", [](Caller&, std::string_view) -> Answer {
                        return tl::unexpected(Failure{Code::kUnimplemented, ""});
                      }}});
}

}  // namespace kerf::kubelet
