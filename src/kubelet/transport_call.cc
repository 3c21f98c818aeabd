// The client half of transport.h: one unary call over one connection of its own. The connection is
// made here, because connect(2) on a unix socket says at once, and precisely, what is wrong.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <mutex>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "kubelet/transport.h"
#include "kubelet/transport_bytes.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace kerf::kubelet {
namespace {

// The limit that the kubelet's own clients have for its list of pods and their devices.
constexpr int kLargestAnswer = 16 << 20;

Result<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Kind::kInvalid, "socket path is empty or longer than 107 bytes", path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot create socket", path, errno);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return fd;
  }
  int error = errno;
  switch (error) {
    case ENOENT:
      return fail(Kind::kNotFound, "the kubelet's socket does not exist", path,
                  "is the kubelet running, and is its device-plugin directory mounted here?",
                  error);
    case ECONNREFUSED:
      return fail(Kind::kGone, "nobody listens on the kubelet's socket", path,
                  "is the kubelet running?", error);
    case EAGAIN:
      return fail(Kind::kBusy, "the kubelet accepts no connection: its backlog is full", path,
                  "is the kubelet hung?", error);
    case EACCES:
    case EPERM:
      return fail_errno("user " + std::to_string(geteuid()) + " may not connect to the kubelet",
                        path, error, "let kerf prepare grant it access, or run as root");
    default:
      return fail_errno("cannot connect to the kubelet", path, error);
  }
}

Error error_of(const grpc::Status& status, const std::string& path) {
  // gRPC reports a connection that broke under a call as UNKNOWN with this text of its own.
  bool broke = status.error_code() == grpc::StatusCode::UNKNOWN &&
               status.error_message() == "Stream removed";
  switch (broke ? grpc::StatusCode::UNAVAILABLE : status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {Kind::kTimeout, "the kubelet did not answer in time", path, "is the kubelet hung?"};
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
      return {Kind::kGone, "the kubelet hung up or does not speak gRPC: " + status.error_message(),
              path, ""};
    default:
      return {Kind::kUnsupported,
              "the kubelet refused: " + status.error_message() + " (gRPC status " +
                  std::to_string(status.error_code()) + ")",
              path, ""};
  }
}

// gRPC's polling threads end with the last server or channel that uses them, and whoever lets go of
// that one waits for them to end. A call is let go of by its completion, on such a thread, which
// would wait for itself. So channels are held here as well, and destroyed by other threads.
class Channels {
 public:
  ~Channels() {
    // Calls were cancelled before the process ends; their completions are a matter of moments.
    for (int tries = 0; tries < 500 && !sweep(); ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  // Holds `channel`, and destroys those whose calls are over.
  void hold(std::shared_ptr<grpc::Channel> channel) {
    sweep();
    std::lock_guard lock(mutex_);
    channels_.push_back(std::move(channel));
  }

 private:
  // True when none is left.
  bool sweep() {
    std::vector<std::shared_ptr<grpc::Channel>> over;  // destroyed outside the lock
    std::lock_guard lock(mutex_);
    auto first = std::partition(channels_.begin(), channels_.end(),
                                [](const auto& channel) { return channel.use_count() > 1; });
    over.assign(std::make_move_iterator(first), std::make_move_iterator(channels_.end()));
    channels_.erase(first, channels_.end());
    return channels_.empty();
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
};

// Lives until its completion has run; `self` is that reference.
struct GrpcCall final : Call {
  void cancel() override { context.TryCancel(); }

  void finish(const grpc::Status& status) {
    Result<std::string> result;
    grpc::Slice whole;
    if (!status.ok()) {
      result = fail(error_of(status, path));
    } else if (!flatten(response, whole)) {
      result = fail(Kind::kCorrupt, "the kubelet's answer could not be read", path);
    } else {
      result = std::string(view_of(whole));
    }
    done(std::move(result));
  }

  std::string path;
  std::string method;
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
  std::function<void(Result<std::string>)> done;
};

}  // namespace

std::shared_ptr<Call> call(const std::string& socket_path, const std::string& method,
                           std::string request, std::chrono::milliseconds deadline,
                           std::function<void(Result<std::string>)> done) {
  auto self = std::make_shared<GrpcCall>();
  Result<Fd> connection = connect_to(socket_path);
  if (!connection) {
    done(fail(connection.error()));
    return self;
  }
  self->path = socket_path;
  self->method = method;
  self->done = std::move(done);
  self->request = bytes_of(std::move(request));
  self->context.set_deadline(std::chrono::system_clock::now() + deadline);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetMaxReceiveMessageSize(kLargestAnswer);
  self->channel =
      grpc::CreateCustomInsecureChannelFromFd("localhost", connection->release(), arguments);
  warm_up();
  static Channels channels;
  channels.hold(self->channel);
  grpc::GenericStub(self->channel)
      .UnaryCall(&self->context, self->method, grpc::StubOptions(), &self->request, &self->response,
                 [self](const grpc::Status& status) { self->finish(status); });
  return self;
}

}  // namespace kerf::kubelet
