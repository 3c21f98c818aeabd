// An API server for the tests of this room: TLS on a port of loopback with certificates made on the
// spot, and a script that says what happens to each request, down to the bytes. Each connection has
// a thread of its own; the script runs there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kube/access.h"

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ssl.hpp>

namespace kerf::kube::testing {

// A certificate with its key, in PEM form.
struct Identity {
  std::string certificate;
  std::string key;
};
Identity make_ca(const std::string& name = "test CA");
// `names`: "IP:127.0.0.1,DNS:localhost". Validity in seconds from now.
Identity make_server(const Identity& ca, const std::string& names = "IP:127.0.0.1",
                     long valid_from = -3600, long valid_to = 3600);

// One of each for all tests of a process: making keys is slow.
const Identity& ca();
const Identity& server();

struct Seen {
  std::string verb;
  std::string target;
  std::string head;  // all of it
  std::string body;
  int connection = 0;  // 0, 1, … in the order they came
};

// The other end of a connection, as the script sees it.
class Peer {
 public:
  using Stream = asio::ssl::stream<asio::ip::tcp::socket>;
  Peer(Stream& stream, std::atomic<bool>& ended) : stream_(stream), ended_(ended) {}

  void write(std::string_view bytes);
  void answer(int status, std::string_view body, std::string_view more_head = "");
  // The head of an answer in chunks, and one chunk.
  void begin_chunks();
  void chunk(std::string_view bytes);
  void end_chunks() { write("0\r\n\r\n"); }
  // Closes without a word.
  void drop();
  // Until the client has closed the connection, or the test ends.
  void wait_for_close();
  bool ended() const { return ended_; }

 private:
  Stream& stream_;
  std::atomic<bool>& ended_;
};

class StandIn {
 public:
  using Script = std::function<void(const Seen& request, Peer& peer)>;

  StandIn(const Identity& identity, Script script);
  ~StandIn();

  std::uint16_t port() const { return port_; }
  // Access to it for somebody who trusts `ca`.
  Access access(const Identity& ca) const;
  std::vector<Seen> seen() const;
  int connections() const { return connections_; }

 private:
  void accept();
  void serve(const std::shared_ptr<Peer::Stream>& stream, int number);

  asio::io_context io_;
  asio::ssl::context context_;
  asio::ip::tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  Script script_;
  std::atomic<bool> ended_ = false;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;                              // under mutex_
  std::vector<std::shared_ptr<Peer::Stream>> streams_;  // under mutex_
  std::vector<std::thread> threads_;                    // under mutex_
  std::thread acceptor_thread_;
};

}  // namespace kerf::kube::testing
