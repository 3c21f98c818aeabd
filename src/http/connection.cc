#include "http/connection.h"

#include <sys/socket.h>

#include "base/clock.h"

#include <asio/buffer.hpp>

namespace kerf::http {
namespace {

constexpr std::chrono::milliseconds kLinger{2'000};

// "Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110, 5.6.7
std::string http_date() {
  std::time_t now = static_cast<std::time_t>(system_clock().wall_ms() / 1000);
  std::tm parts{};
  gmtime_r(&now, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text;
}

std::string head_of(const Response& response, bool keep_alive) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + ' ';
  out += status_phrase(response.status);
  out += "\r\nDate: " + http_date() + "\r\nContent-Type: " + response.content_type;
  if (!response.events) out += "\r\nContent-Length: " + std::to_string(response.body.size());
  out += "\r\nX-Content-Type-Options: nosniff";
  for (const auto& [name, value] : response.headers) {
    out.append("\r\n").append(name).append(": ").append(value);
  }
  out += keep_alive ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
  return out;
}

}  // namespace

Connection::Connection(std::unique_ptr<Stream> stream, ConnectionOwner& owner)
    : stream_(std::move(stream)),
      timer_(stream_->executor()),
      owner_(&owner),
      since_(std::chrono::steady_clock::now()) {}

void Connection::start() {
  enter(State::kReading, owner_->limits().head);
  stream_->handshake([self = shared_from_this()](const asio::error_code& error, std::size_t) {
    if (self->state_ == State::kClosed) return;
    if (error) return self->close();
    self->read();
  });
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  ++deadline_number_;
  timer_.cancel();
  stream_->close();
  owner_->hold(-static_cast<std::ptrdiff_t>(held_));
  owner_->closed(shared_from_this());
}

void Connection::enter(State state, std::chrono::milliseconds deadline) {
  state_ = state;
  since_ = std::chrono::steady_clock::now();
  unsigned number = ++deadline_number_;
  timer_.expires_after(deadline);
  timer_.async_wait([self = shared_from_this(), number](const asio::error_code& error) {
    if (!error && number == self->deadline_number_) self->expired();
  });
}

void Connection::expired() {
  if (state_ != State::kStreaming) return close();
  if (event_under_way_) return close();  // nothing was taken for a whole heartbeat
  write_event(std::make_shared<const std::string>(":\n\n"));
}

void Connection::read() {
  stream_->read_some(asio::buffer(buffer_),
                     [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
                       if (self->state_ == State::kClosed) return;
                       if (error) return self->close();
                       self->received(bytes);
                     });
}

void Connection::received(std::size_t bytes) {
  if (state_ == State::kLingering) return read();
  // The first byte of a next request starts its deadline.
  if (received_.empty() && bytes > 0) enter(State::kReading, owner_->limits().head);
  received_.append(buffer_.data(), bytes);
  Parsed parsed = parse_request(received_);
  switch (parsed.outcome) {
    case Parsed::Outcome::kIncomplete:
      return read();
    case Parsed::Outcome::kBad: {
      Response response;
      response.status = parsed.status;
      response.body = parsed.reason + '\n';
      return respond(response, false, false);
    }
    case Parsed::Outcome::kRequest:
      received_.erase(0, parsed.consumed);
      if (received_.empty()) received_ = {};
      Response response = owner_->answer(parsed.request);
      if (response.events && parsed.request.method != "HEAD") {
        return become_stream(response);
      }
      return respond(response, parsed.request.method == "HEAD", parsed.request.keep_alive);
  }
}

void Connection::respond(const Response& response, bool head_only, bool keep_alive) {
  owner_->answered(response.status);
  keep_alive_ = keep_alive;
  std::string text = head_of(response, keep_alive);
  if (!head_only && !response.events) text += response.body;
  held_ = text.size();
  owner_->hold(static_cast<std::ptrdiff_t>(held_));
  enter(State::kWriting, owner_->limits().write);
  write(std::make_shared<const std::string>(std::move(text)));
}

void Connection::write(const Text& text) {
  stream_->write(asio::buffer(*text),
                 [self = shared_from_this(), text](const asio::error_code& error, std::size_t) {
                   if (self->state_ == State::kClosed) return;
                   if (error) return self->close();
                   self->written();
                 });
}

void Connection::written() {
  owner_->hold(-static_cast<std::ptrdiff_t>(held_));
  held_ = 0;
  if (!keep_alive_) return linger();
  enter(State::kReading, received_.empty() ? owner_->limits().idle : owner_->limits().head);
  if (received_.empty()) return read();
  received(0);  // the next request is already here
}

// Closing a socket with unread bytes resets the connection, and the client may lose the answer. So
// our direction is closed first and what still comes is thrown away for a moment.
void Connection::linger() {
  received_ = {};
  enter(State::kLingering, kLinger);
  stream_->finish([self = shared_from_this()](const asio::error_code& error, std::size_t) {
    if (self->state_ == State::kClosed) return;
    if (error) return self->close();
    self->read();
  });
}

void Connection::become_stream(const Response& response) {
  owner_->answered(response.status);
  events_ = response.events;
  enter(State::kStreaming, owner_->limits().heartbeat);
  // The browser is told to come back 2 s after a break.
  std::string text = head_of(response, false) + "retry: 2000\n\n" + events_->make();
  write_event(std::make_shared<const std::string>(std::move(text)));
  watch_for_close();
}

// A stream's client says nothing more; reading is how its going away is noticed.
void Connection::watch_for_close() {
  stream_->read_some(asio::buffer(buffer_),
                     [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                       if (self->state_ == State::kClosed) return;
                       if (error) return self->close();
                       self->watch_for_close();
                     });
}

void Connection::send_event(Text event) {
  if (state_ != State::kStreaming) return;
  if (event_under_way_) {
    next_event_ = std::move(event);
  } else {
    write_event(event);
  }
}

void Connection::write_event(const Text& event) {
  event_under_way_ = true;
  enter(State::kStreaming, owner_->limits().heartbeat);
  stream_->write(asio::buffer(*event),
                 [self = shared_from_this(), event](const asio::error_code& error, std::size_t) {
                   if (self->state_ == State::kClosed) return;
                   if (error) return self->close();
                   self->event_under_way_ = false;
                   if (Text next = std::move(self->next_event_)) self->write_event(next);
                 });
}

}  // namespace kerf::http
