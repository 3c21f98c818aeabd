// One accepted connection of the server: reads requests, writes answers, streams events, and ends
// itself at its deadlines. Internal to the room.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "http/server.h"
#include "http/stream.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::http {

class Connection;

// What a connection needs from its server. Calls come on the loop's thread.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual const Limits& limits() const = 0;
  // The answer to a request, with the limits on streams and buffered bytes already applied.
  virtual Response answer(const Request& request) = 0;
  // Counts a response.
  virtual void answered(int status) = 0;
  // Accounts for response bytes held for a client; negative when they are let go.
  virtual void hold(std::ptrdiff_t bytes) = 0;
  // The connection is closed; the owner forgets it.
  virtual void closed(const std::shared_ptr<Connection>& connection) = 0;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Text = std::shared_ptr<const std::string>;

  // `owner` must outlive the connection's open time: it closes all before it goes.
  Connection(std::unique_ptr<Stream> stream, ConnectionOwner& owner);
  void start();
  void close();

  // How dispensable it is when room is needed: waiting for a request is more so than writing an
  // answer; streams are not.
  enum class State { kReading, kWriting, kStreaming, kLingering, kClosed };
  State state() const { return state_; }
  std::chrono::steady_clock::time_point since() const { return since_; }

  // For streams: the source it shows, and the newest event. An event that comes while one is being
  // written replaces any that waits: a slow client sees fewer states, never old ones.
  const std::shared_ptr<EventSource>& events() const { return events_; }
  void send_event(Text event);

 private:
  void read();
  void received(std::size_t bytes);
  void respond(const Response& response, bool head_only, bool keep_alive);
  void write(const Text& text);
  void written();
  void linger();
  void become_stream(const Response& response);
  void write_event(const Text& event);
  void watch_for_close();
  void enter(State state, std::chrono::milliseconds deadline);
  void expired();

  std::unique_ptr<Stream> stream_;
  asio::steady_timer timer_;
  ConnectionOwner* owner_;
  State state_ = State::kReading;
  std::chrono::steady_clock::time_point since_;
  unsigned deadline_number_ = 0;  // tells a deadline that was replaced from the one in force
  std::array<char, 1024> buffer_{};
  std::string received_;
  std::size_t held_ = 0;
  bool keep_alive_ = false;
  std::shared_ptr<EventSource> events_;
  bool event_under_way_ = false;
  Text next_event_;
};

}  // namespace kerf::http
