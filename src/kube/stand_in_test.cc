#include "kube/stand_in_test.h"

#include <poll.h>
#include <sys/socket.h>

#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace kerf::kube::testing {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

template <typename Write>
std::string pem(Write write) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  write(bio.get());
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

Key key_from(const std::string& text) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  return {PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free};
}

Certificate certificate_from(const std::string& text) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free};
}

Identity make(const std::string& name, const Identity* issuer, const std::string& names,
              long valid_from, long valid_to) {
  static std::atomic<long> serial = 1;
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Certificate certificate(X509_new(), X509_free);
  X509* x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), valid_from);
  X509_gmtime_adj(X509_getm_notAfter(x), valid_to);
  X509_set_pubkey(x, key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  auto extend = [&](int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (issuer == nullptr) {
    extend(NID_basic_constraints, "critical,CA:TRUE");
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_sign(x, key.get(), EVP_sha256());
  } else {
    extend(NID_subject_alt_name, names);
    Certificate by = certificate_from(issuer->certificate);
    Key with = key_from(issuer->key);
    X509_set_issuer_name(x, X509_get_subject_name(by.get()));
    X509_sign(x, with.get(), EVP_sha256());
  }
  return {pem([&](BIO* bio) { PEM_write_bio_X509(bio, x); }), pem([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace

Identity make_ca(const std::string& name) { return make(name, nullptr, "", -3600, 3600); }

Identity make_server(const Identity& ca, const std::string& names, long valid_from, long valid_to) {
  return make("server", &ca, names, valid_from, valid_to);
}

void Peer::write(std::string_view bytes) {
  std::error_code ignored;
  asio::write(stream_, asio::buffer(bytes), ignored);
}

void Peer::answer(int status, std::string_view body, std::string_view more_head) {
  write("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" +
        std::string(more_head) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        std::string(body));
}

void Peer::begin_chunks() { write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); }

void Peer::chunk(std::string_view bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  write(size + std::string(bytes) + "\r\n");
}

void Peer::drop() {
  std::error_code ignored;
  stream_.lowest_layer().shutdown(asio::socket_base::shutdown_both, ignored);
}

void Peer::wait_for_close() {
  char byte = 0;
  std::error_code ignored;
  asio::read(stream_, asio::buffer(&byte, 1), ignored);
}

StandIn::StandIn(const Identity& identity, Script script)
    : context_(asio::ssl::context::tls_server),
      acceptor_(io_, {asio::ip::address_v4::loopback(), 0}),
      port_(acceptor_.local_endpoint().port()),
      script_(std::move(script)) {
  context_.use_certificate_chain(asio::buffer(identity.certificate));
  context_.use_private_key(asio::buffer(identity.key), asio::ssl::context::pem);
  acceptor_thread_ = std::thread([this] { accept(); });
}

StandIn::~StandIn() {
  ended_ = true;
  // Wakes the accept() call; the acceptor is closed when its thread is gone.
  ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
  acceptor_thread_.join();
  {
    std::lock_guard lock(mutex_);
    for (auto& stream : streams_) ::shutdown(stream->lowest_layer().native_handle(), SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

Access StandIn::access(const Identity& ca) const {
  Access access;
  access.host = "127.0.0.1";
  access.port = port_;
  access.ca.text = ca.certificate;
  access.token.text = "s3cret";
  return access;
}

std::vector<Seen> StandIn::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

void StandIn::accept() {
  while (!ended_) {
    auto stream = std::make_shared<Peer::Stream>(io_, context_);
    std::error_code error;
    acceptor_.accept(stream->lowest_layer(), error);
    if (error || ended_) return;
    int number = connections_++;
    std::lock_guard lock(mutex_);
    streams_.push_back(stream);
    threads_.emplace_back([this, stream, number] { serve(stream, number); });
  }
}

void StandIn::serve(const std::shared_ptr<Peer::Stream>& stream, int number) {
  std::error_code error;
  stream->handshake(Peer::Stream::server, error);
  std::string buffer;
  Peer peer(*stream, ended_);
  while (!error && !ended_) {
    std::size_t head = asio::read_until(*stream, asio::dynamic_buffer(buffer), "\r\n\r\n", error);
    if (error) break;
    Seen seen;
    seen.connection = number;
    seen.head = buffer.substr(0, head);
    buffer.erase(0, head);
    seen.verb = seen.head.substr(0, seen.head.find(' '));
    std::size_t target = seen.verb.size() + 1;
    seen.target = seen.head.substr(target, seen.head.find(' ', target) - target);
    std::size_t length_at = seen.head.find("Content-Length: ");
    if (length_at != std::string::npos) {
      std::size_t length = std::stoul(seen.head.substr(length_at + 16));
      if (buffer.size() < length) {
        asio::read(*stream, asio::dynamic_buffer(buffer),
                   asio::transfer_exactly(length - buffer.size()), error);
      }
      if (error) break;
      seen.body = buffer.substr(0, length);
      buffer.erase(0, length);
    }
    {
      std::lock_guard lock(mutex_);
      seen_.push_back(seen);
    }
    script_(seen, peer);
  }
  ::shutdown(stream->lowest_layer().native_handle(), SHUT_RDWR);
}

const Identity& ca() {
  static const Identity kCa = make_ca();
  return kCa;
}

const Identity& server() {
  static const Identity kServer = make_server(ca());
  return kServer;
}

}  // namespace kerf::kube::testing
