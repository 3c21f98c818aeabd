#include "http/server.h"

#include <algorithm>
#include <netdb.h>
#include <set>

#include "base/log.h"
#include "http/connection.h"
#include "http/tls.h"

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::http {
namespace {

using asio::ip::tcp;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kRetryAccept{1};

// The first address of a name. Blocks for a DNS answer when `host` is not a number; only at start.
Result<asio::ip::address> resolve(const std::string& host, const std::string& address) {
  asio::error_code error;
  asio::ip::address literal = asio::ip::make_address(host, error);
  if (!error) return literal;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int status = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (status != 0) {
    return fail(Kind::kNotFound,
                std::string("cannot resolve the host to listen on: ") + gai_strerror(status),
                address, "use an IP address, or :port for all addresses");
  }
  tcp::endpoint endpoint;
  std::memcpy(endpoint.data(), found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return endpoint.address();
}

Unexpected listen_error(const asio::error_code& error, const std::string& address) {
  std::string hint;
  if (error == asio::error::address_in_use) {
    hint =
        "another process of this machine (with hostNetwork, of this node) listens there: stop "
        "it, or choose another address with --listen";
  } else if (error == asio::error::access_denied) {
    hint = "ports below 1024 need a privilege: choose a higher one with --listen";
  } else if (error.value() == EADDRNOTAVAIL) {
    hint = "this machine does not have that address; use :port for all addresses";
  }
  Unexpected out = fail_errno("cannot listen for HTTP", address, error.value(), hint);
  if (error == asio::error::address_in_use) out.value().kind = Kind::kBusy;
  if (error.value() == EADDRNOTAVAIL) out.value().kind = Kind::kNotFound;
  return out;
}

Response too_busy(std::string why) {
  Response out;
  out.status = 503;
  out.headers = {{"Retry-After", "2"}};
  out.body = std::move(why) + '\n';
  return out;
}

}  // namespace

class Server::Core : public ConnectionOwner, public std::enable_shared_from_this<Server::Core> {
 public:
  Core(asio::io_context& loop, Handler handler, Limits limits, std::shared_ptr<Tls> tls)
      : acceptor_(loop),
        accept_timer_(loop),
        publish_timer_(loop),
        handler_(std::move(handler)),
        limits_(limits),
        tls_(std::move(tls)) {}

  Status open(const std::string& address) {
    auto parsed = parse_host_port(address);
    if (!parsed) return fail(parsed.error());
    asio::error_code error;
    if (parsed->host.empty()) {
      error = bind({tcp::v6(), parsed->port});
      // A kernel without IPv6 still has all IPv4 addresses.
      if (error == asio::error::address_family_not_supported || error.value() == EADDRNOTAVAIL) {
        error = bind({tcp::v4(), parsed->port});
      }
    } else {
      auto host = resolve(parsed->host, address);
      if (!host) return fail(host.error());
      error = bind({*host, parsed->port});
    }
    if (error) return listen_error(error, address);
    accept();
    return {};
  }

  tcp::endpoint endpoint() const { return endpoint_; }

  void stop() {
    stopped_ = true;
    asio::error_code ignored;
    acceptor_.close(ignored);
    accept_timer_.cancel();
    publish_timer_.cancel();
    while (!connections_.empty()) (*connections_.begin())->close();
  }

  void publish() {
    if (stopped_ || publish_pending_ || streams() == 0) return;
    publish_pending_ = true;
    publish_timer_.expires_at(std::max(steady_clock::now(), last_publish_ + limits_.gap));
    publish_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      self->publish_pending_ = false;
      if (!error && !self->stopped_) self->send_events();
    });
  }

  ServerStats stats() const {
    ServerStats out = counted_;
    out.connections = connections_.size();
    out.streams = streams();
    return out;
  }

  const Limits& limits() const override { return limits_; }
  void answered(int status) override { ++counted_.responses[status]; }
  void hold(std::ptrdiff_t bytes) override { held_ += bytes; }
  void closed(const std::shared_ptr<Connection>& connection) override {
    connections_.erase(connection);
  }

  Response answer(const Request& request) override {
    if (held_ > static_cast<std::ptrdiff_t>(limits_.buffered)) {
      return too_busy("too many answers are waiting to be read");
    }
    Response out;
    try {
      out = handler_(request);
    } catch (const std::exception& error) {
      log::error("http", "a request could not be answered",
                 {{"path", request.path}, {"err", error.what()}});
      out = {};
      out.status = 500;
      out.body = "internal error\n";
    }
    if (out.events && streams() >= limits_.streams) {
      return too_busy("too many live-update streams are open");
    }
    return out;
  }

 private:
  asio::error_code bind(const tcp::endpoint& endpoint) {
    asio::error_code error;
    acceptor_.close(error);
    acceptor_.open(endpoint.protocol(), error);
    if (error) return error;
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (endpoint.protocol() == tcp::v6() && endpoint.address().is_unspecified()) {
      acceptor_.set_option(asio::ip::v6_only(false), error);
    }
    acceptor_.bind(endpoint, error);
    if (error) return error;
    // As many as the kernel lets wait: whom it turns away comes again after a second or more.
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return error;
    endpoint_ = acceptor_.local_endpoint(error);
    return error;
  }

  void accept() {
    acceptor_.async_accept(
        [self = shared_from_this()](const asio::error_code& error, tcp::socket socket) {
          if (self->stopped_) return;
          if (error) return self->accept_later();
          self->make_room();
          asio::error_code ignored;
          socket.set_option(tcp::no_delay(true), ignored);
          auto stream = self->tls_ ? tls_stream(std::move(socket), *self->tls_)
                                   : plain_stream(std::move(socket));
          auto connection = std::make_shared<Connection>(std::move(stream), *self);
          self->connections_.insert(connection);
          connection->start();
          self->accept();
        });
  }

  // Out of descriptors, most likely: trying at once again would spin.
  void accept_later() {
    accept_timer_.expires_after(kRetryAccept);
    accept_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error && !self->stopped_) self->accept();
    });
  }

  // A full house must not lock the kubelet's probes out: whoever has been waiting longest to say
  // what it wants goes first, then whoever takes longest to read its answer, streams last.
  void make_room() {
    if (connections_.size() < limits_.connections) return;
    auto rank = [](const std::shared_ptr<Connection>& c) {
      int state = c->state() == Connection::State::kStreaming ? 2
                  : c->state() == Connection::State::kWriting ? 1
                                                              : 0;
      return std::pair(state, c->since());
    };
    auto victim =
        *std::min_element(connections_.begin(), connections_.end(),
                          [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    ++counted_.evicted;
    victim->close();
  }

  std::size_t streams() const {
    return static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(), [](const auto& connection) {
          return connection->state() == Connection::State::kStreaming;
        }));
  }

  void send_events() {
    last_publish_ = steady_clock::now();
    std::map<EventSource*, Connection::Text> made;
    auto all = connections_;  // sending may close some
    for (const auto& connection : all) {
      if (connection->state() != Connection::State::kStreaming) continue;
      EventSource* source = connection->events().get();
      Connection::Text& text = made[source];
      if (!text) text = std::make_shared<const std::string>(source->make());
      connection->send_event(text);
    }
  }

  tcp::acceptor acceptor_;
  tcp::endpoint endpoint_;
  asio::steady_timer accept_timer_;
  asio::steady_timer publish_timer_;
  Handler handler_;
  Limits limits_;
  std::shared_ptr<Tls> tls_;
  std::set<std::shared_ptr<Connection>> connections_;
  std::ptrdiff_t held_ = 0;
  bool publish_pending_ = false;
  bool stopped_ = false;
  steady_clock::time_point last_publish_{};
  ServerStats counted_;
};

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& loop, const std::string& address,
                                               Handler handler, Limits limits,
                                               std::shared_ptr<Tls> tls) {
  auto core = std::make_shared<Core>(loop, std::move(handler), limits, std::move(tls));
  if (auto opened = core->open(address); !opened) return fail(opened.error());
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

std::string Server::address() const {
  tcp::endpoint endpoint = core_->endpoint();
  std::string host = endpoint.address().to_string();
  if (endpoint.address().is_v6()) host = '[' + host + ']';
  return host + ':' + std::to_string(endpoint.port());
}

std::uint16_t Server::port() const { return core_->endpoint().port(); }
void Server::publish() { core_->publish(); }
void Server::stop() { core_->stop(); }
ServerStats Server::stats() const { return core_->stats(); }

}  // namespace kerf::http
