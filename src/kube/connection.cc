#include "kube/connection.h"

#include <array>
#include <cerrno>
#include <deque>
#include <netinet/tcp.h>
#include <optional>
#include <system_error>
#include <utility>

#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace kerf::kube {
namespace {

using asio::ip::tcp;

constexpr std::size_t kBuffer = 16 << 10;
// A peer that vanished without a word is noticed after a minute.
constexpr int kKeepAliveIdle = 20;      // s
constexpr int kKeepAliveInterval = 10;  // s
constexpr int kKeepAliveProbes = 4;
constexpr unsigned kUnsentTimeout = 30'000;  // ms

std::string server_name(const Access& access) {
  return access.server_name.empty() ? access.host : access.server_name;
}

Unexpected unusable(std::string_view what, const Material& material, const std::error_code& why,
                    std::string hint) {
  ERR_clear_error();
  return fail(Kind::kInvalid, std::string(what) + ": " + why.message(),
              material.file.empty() ? "kubeconfig" : material.file, std::move(hint));
}

Result<std::unique_ptr<asio::ssl::context>> make_context(const Access& access) {
  Result<std::string> ca = access.ca.read();
  if (!ca) return fail(std::move(ca.error()).during("cannot read the API server's CA"));
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context->native_handle(), SSL_SESS_CACHE_OFF);
  // Without this OpenSSL would ask the terminal for a passphrase.
  SSL_CTX_set_default_passwd_cb(context->native_handle(), [](char*, int, int, void*) { return 0; });
  std::error_code error;
  context->add_certificate_authority(asio::buffer(*ca), error);
  if (error || ca->find("-----BEGIN") == std::string::npos) {
    if (!error) error = std::make_error_code(std::errc::invalid_argument);
    return unusable("the API server's CA is no certificate", access.ca, error,
                    "it must hold certificates in PEM form");
  }
  // As client-go does: what is configured is trusted, also when it is an intermediate certificate.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->native_handle()),
                              X509_V_FLAG_PARTIAL_CHAIN);
  if (access.client_certificate.empty()) return context;
  Result<std::string> certificate = access.client_certificate.read();
  if (!certificate) return fail(std::move(certificate.error()));
  Result<std::string> key = access.client_key.read();
  if (!key) return fail(std::move(key.error()));
  context->use_certificate_chain(asio::buffer(*certificate), error);
  if (error) {
    return unusable("the client certificate cannot be used", access.client_certificate, error,
                    "it must be in PEM form");
  }
  context->use_private_key(asio::buffer(*key), asio::ssl::context::pem, error);
  if (error) {
    return unusable("the client key cannot be used", access.client_key, error,
                    "it must be the certificate's, in PEM form and without a passphrase");
  }
  return context;
}

std::string remedy_for_certificate(long code, const Access& access) {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "renew the API server's certificate, or set this node's clock";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "connect by a name or address that the certificate lists, not " + server_name(access);
    default:
      return "the configured CA (" + (access.ca.file.empty() ? "kubeconfig" : access.ca.file) +
             ") must be the one that signed the API server's certificate";
  }
}

class TlsConnection final : public Connection, public std::enable_shared_from_this<TlsConnection> {
 public:
  TlsConnection(asio::io_context& loop, Access access, Hooks hooks)
      : loop_(loop), access_(std::move(access)), hooks_(std::move(hooks)), resolver_(loop) {}

  void begin() {
    if (closed_) return;
    Result<std::unique_ptr<asio::ssl::context>> context = make_context(access_);
    if (!context) return end(std::move(context.error()));
    context_ = std::move(*context);
    stream_ = std::make_unique<Stream>(loop_, *context_);
    if (Status prepared = prepare(); !prepared) return end(std::move(prepared.error()));
    std::error_code no_address;
    asio::ip::address address = asio::ip::make_address(access_.host, no_address);
    if (!no_address) {
      return connect(std::array{tcp::endpoint(address, access_.port)});
    }
    resolver_.async_resolve(
        access_.host, std::to_string(access_.port),
        [self = shared_from_this()](std::error_code error, const tcp::resolver::results_type& all) {
          if (self->closed_) return;
          if (error) {
            return self->end(
                {Kind::kGone, "cannot find the API server's address: " + error.message(),
                 self->access_.host, "check the name and this node's DNS", error.value()});
          }
          self->connect(all);
        });
  }

  void send(std::string bytes) override {
    outgoing_.push_back(std::move(bytes));
    if (outgoing_.size() == 1) write();
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    resolver_.cancel();
    std::error_code ignored;
    if (stream_) stream_->lowest_layer().close(ignored);
  }

 private:
  using Stream = asio::ssl::stream<tcp::socket>;

  void end(Error error) {
    if (closed_) return;
    close();
    hooks_.closed(std::move(error));
  }

  Status prepare() {
    SSL* ssl = stream_->native_handle();
    X509_VERIFY_PARAM* checks = SSL_get0_param(ssl);
    std::string name = server_name(access_);
    std::error_code no_address;
    asio::ip::make_address(name, no_address);
    bool set = false;
    if (no_address) {
      X509_VERIFY_PARAM_set_hostflags(
          checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
      set =
          X509_VERIFY_PARAM_set1_host(checks, name.c_str(), name.size()) == 1 &&
          SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) == 1;
    } else {
      set = X509_VERIFY_PARAM_set1_ip_asc(checks, name.c_str()) == 1;
    }
    std::error_code refused;
    stream_->set_verify_mode(asio::ssl::verify_peer, refused);
    if (set && !refused) return {};
    return fail(Kind::kInvalid, "is no name that a server can have", name, "correct the server");
  }

  template <typename Endpoints>
  void connect(const Endpoints& endpoints) {
    asio::async_connect(
        stream_->lowest_layer(), endpoints,
        [self = shared_from_this()](std::error_code error, const tcp::endpoint&) {
          if (self->closed_) return;
          if (error) {
            return self->end({Kind::kGone,
                              "cannot connect to the API server: " + error.message(),
                              {},
                              "is it running, and reachable from this pod's network?",
                              error.value()});
          }
          self->handshake();
        });
  }

  void handshake() {
    auto& socket = stream_->lowest_layer();
    std::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    auto set = [&](int option, auto value) {
      setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
    };
    set(TCP_KEEPIDLE, kKeepAliveIdle);
    set(TCP_KEEPINTVL, kKeepAliveInterval);
    set(TCP_KEEPCNT, kKeepAliveProbes);
    set(TCP_USER_TIMEOUT, kUnsentTimeout);
    stream_->async_handshake(Stream::client, [self = shared_from_this()](std::error_code error) {
      if (self->closed_) return;
      if (error) return self->end(self->handshake_failed(error));
      self->hooks_.opened();
      if (!self->closed_) self->read();
    });
  }

  Error handshake_failed(const std::error_code& error) {
    long verdict = SSL_get_verify_result(stream_->native_handle());
    if (verdict != X509_V_OK) {
      return {Kind::kDenied,
              std::string("the API server's certificate is not accepted: ") +
                  X509_verify_cert_error_string(verdict),
              {},
              remedy_for_certificate(verdict, access_)};
    }
    return {Kind::kGone,
            "no TLS connection to the API server: " + error.message(),
            {},
            "is this the API server's address and port?"};
  }

  void read() {
    stream_->async_read_some(asio::buffer(buffer_),
                             [self = shared_from_this()](std::error_code error, std::size_t size) {
                               if (self->closed_) return;
                               if (error) return self->end(read_failed(error));
                               self->hooks_.data(std::string_view(self->buffer_.data(), size));
                               if (!self->closed_) self->read();
                             });
  }

  static Error read_failed(const std::error_code& error) {
    if (error == asio::error::eof || error == asio::ssl::error::stream_truncated) {
      return {Kind::kGone, {}, {}, {}, 0};
    }
    bool of_tls = error.category() == asio::error::get_ssl_category();
    return {Kind::kGone,
            "the connection to the API server failed: " + error.message(),
            {},
            of_tls ? "does the API server ask for a client certificate?"
                   : "see the API server's log if this lasts",
            of_tls ? EPROTO : error.value()};
  }

  void write() {
    asio::async_write(*stream_, asio::buffer(outgoing_.front()),
                      [self = shared_from_this()](std::error_code error, std::size_t) {
                        if (self->closed_) return;
                        // The reader learns of it as well, and of an answer that came before.
                        if (error) return;
                        self->outgoing_.pop_front();
                        if (!self->outgoing_.empty()) self->write();
                      });
  }

  asio::io_context& loop_;
  Access access_;
  Hooks hooks_;
  tcp::resolver resolver_;
  std::unique_ptr<asio::ssl::context> context_;
  std::unique_ptr<Stream> stream_;
  std::deque<std::string> outgoing_;
  bool closed_ = false;
  std::array<char, kBuffer> buffer_{};
};

}  // namespace

std::shared_ptr<Connection> Connection::open(asio::io_context& loop, const Access& access,
                                             Hooks hooks) {
  auto connection = std::make_shared<TlsConnection>(loop, access, std::move(hooks));
  asio::post(loop, [connection] { connection->begin(); });
  return connection;
}

}  // namespace kerf::kube
