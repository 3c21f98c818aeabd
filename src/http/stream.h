// What a connection is spoken over: a socket as it is, or TLS on it. Internal to the room; loop
// thread only.
#pragma once

#include <functional>
#include <memory>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>

namespace kerf::http {

class Tls;

// `done` is never called from inside the call, and may be called after close() with an error. The
// caller keeps the stream and the bytes until then.
class Stream {
 public:
  using Done = std::function<void(const asio::error_code& error, std::size_t bytes)>;

  virtual ~Stream() = default;
  // Before anything else.
  virtual void handshake(Done done) = 0;
  virtual void read_some(asio::mutable_buffer buffer, Done done) = 0;
  // All of the bytes.
  virtual void write(asio::const_buffer bytes, Done done) = 0;
  // Says that nothing more will be sent.
  virtual void finish(Done done) = 0;
  virtual void close() = 0;
  virtual asio::any_io_executor executor() = 0;
};

std::unique_ptr<Stream> plain_stream(asio::ip::tcp::socket socket);
// With the certificate as its file is now.
std::unique_ptr<Stream> tls_stream(asio::ip::tcp::socket socket, Tls& tls);

}  // namespace kerf::http
