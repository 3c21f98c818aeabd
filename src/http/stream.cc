#include "http/stream.h"

#include <sys/stat.h>
#include <utility>

#include "base/log.h"
#include "http/tls.h"

#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>

namespace kerf::http {
namespace {

using asio::ip::tcp;
using Context = asio::ssl::context;

class PlainStream final : public Stream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  void handshake(Done done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done(asio::error_code(), 0); });
  }
  void read_some(asio::mutable_buffer buffer, Done done) override {
    socket_.async_read_some(buffer, std::move(done));
  }
  void write(asio::const_buffer bytes, Done done) override {
    asio::async_write(socket_, bytes, std::move(done));
  }
  void finish(Done done) override {
    asio::error_code error;
    socket_.shutdown(tcp::socket::shutdown_send, error);
    asio::post(socket_.get_executor(), [done = std::move(done), error] { done(error, 0); });
  }
  void close() override {
    asio::error_code ignored;
    socket_.close(ignored);
  }
  asio::any_io_executor executor() override { return socket_.get_executor(); }

 private:
  tcp::socket socket_;
};

// Keeps the context alive: a newer one may replace it while this connection is open.
class TlsStream final : public Stream {
 public:
  TlsStream(tcp::socket socket, std::shared_ptr<Context> context)
      : context_(std::move(context)), stream_(std::move(socket), *context_) {}

  void handshake(Done done) override {
    stream_.async_handshake(
        asio::ssl::stream_base::server,
        [done = std::move(done)](const asio::error_code& error) { done(error, 0); });
  }
  void read_some(asio::mutable_buffer buffer, Done done) override {
    stream_.async_read_some(buffer, std::move(done));
  }
  void write(asio::const_buffer bytes, Done done) override {
    asio::async_write(stream_, bytes, std::move(done));
  }
  void finish(Done done) override {
    stream_.async_shutdown(
        [done = std::move(done)](const asio::error_code& error) { done(error, 0); });
  }
  void close() override {
    asio::error_code ignored;
    stream_.lowest_layer().close(ignored);
  }
  asio::any_io_executor executor() override { return stream_.get_executor(); }

 private:
  std::shared_ptr<Context> context_;
  asio::ssl::stream<tcp::socket> stream_;
};

// What tells one state of the files from another.
std::string fingerprint(const TlsConfig& config) {
  std::string out;
  for (const std::string& file : {config.cert_file, config.key_file, config.client_ca_file}) {
    struct stat status{};
    if (file.empty() || stat(file.c_str(), &status) != 0) {
      out += "-;";
      continue;
    }
    out += std::to_string(status.st_ino) + '.' + std::to_string(status.st_mtim.tv_sec) + '.' +
           std::to_string(status.st_mtim.tv_nsec) + ';';
  }
  return out;
}

Unexpected unusable(std::string what, const std::string& file, const asio::error_code& error,
                    std::string hint) {
  ERR_clear_error();
  return fail(Kind::kInvalid, std::move(what) + ": " + error.message(), file, std::move(hint));
}

int verify_mode(ClientAuth auth) {
  switch (auth) {
    case ClientAuth::kNone:
      return SSL_VERIFY_NONE;
    case ClientAuth::kRequest:
    case ClientAuth::kVerifyIfGiven:
      return SSL_VERIFY_PEER;
    case ClientAuth::kRequireAny:
    case ClientAuth::kRequireVerify:
      return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  }
  return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

Status ask_clients(Context& context, const TlsConfig& config) {
  SSL_CTX* native = context.native_handle();
  const bool looks = config.client_auth == ClientAuth::kVerifyIfGiven ||
                     config.client_auth == ClientAuth::kRequireVerify;
  // Any certificate will do where none is looked at.
  constexpr SSL_verify_cb kAnything = [](int, X509_STORE_CTX*) { return 1; };
  SSL_CTX_set_verify(native, verify_mode(config.client_auth), looks ? nullptr : kAnything);
  if (config.client_ca_file.empty()) return {};
  asio::error_code error;
  context.load_verify_file(config.client_ca_file, error);
  if (error) {
    return unusable("the clients' CA cannot be used", config.client_ca_file, error,
                    "it must hold certificates in PEM form");
  }
  SSL_CTX_set_client_CA_list(native, SSL_load_client_CA_file(config.client_ca_file.c_str()));
  return {};
}

Result<std::shared_ptr<Context>> make_context(const TlsConfig& config) {
  auto context = std::make_shared<Context>(Context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, static_cast<int>(config.least));
  SSL_CTX_set_max_proto_version(native, static_cast<int>(config.most));
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  // Without this OpenSSL would ask the terminal for a passphrase.
  SSL_CTX_set_default_passwd_cb(native, [](char*, int, int, void*) { return 0; });
  if (!config.ciphers.empty() && SSL_CTX_set_cipher_list(native, config.ciphers.c_str()) != 1) {
    ERR_clear_error();
    return fail(Kind::kInvalid, "none of the cipher suites is known", config.ciphers,
                "leave cipher_suites out to use OpenSSL's choice");
  }
  asio::error_code error;
  context->use_certificate_chain_file(config.cert_file, error);
  if (error) {
    return unusable("the certificate cannot be used", config.cert_file, error,
                    "cert_file must be a readable certificate in PEM form");
  }
  context->use_private_key_file(config.key_file, Context::pem, error);
  if (error) {
    return unusable("the key cannot be used", config.key_file, error,
                    "key_file must be the certificate's, in PEM form and without a passphrase");
  }
  if (Status asked = ask_clients(*context, config); !asked) return fail(std::move(asked.error()));
  return context;
}

}  // namespace

struct Tls::State {
  TlsConfig config;
  std::string read_from;  // fingerprint of the files behind `context`
  std::shared_ptr<Context> context;
};

Tls::Tls(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tls::~Tls() = default;

Result<std::shared_ptr<Tls>> Tls::make(TlsConfig config) {
  auto state = std::make_unique<State>();
  state->config = std::move(config);
  state->read_from = fingerprint(state->config);
  auto context = make_context(state->config);
  if (!context) return fail(std::move(context.error()));
  state->context = std::move(*context);
  return std::shared_ptr<Tls>(new Tls(std::move(state)));
}

std::unique_ptr<Stream> plain_stream(tcp::socket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

std::unique_ptr<Stream> tls_stream(tcp::socket socket, Tls& tls) {
  Tls::State& state = tls.state();
  std::string now = fingerprint(state.config);
  if (now != state.read_from) {
    // While a pair of files is half replaced the one of before serves on.
    auto context = make_context(state.config);
    if (context) {
      state.context = std::move(*context);
      log::info("http", "certificate read anew", {{"file", state.config.cert_file}});
    } else {
      log::warn("http", "the certificate of before stays in use", context.error());
    }
    state.read_from = std::move(now);
  }
  return std::make_unique<TlsStream>(std::move(socket), state.context);
}

}  // namespace kerf::http
