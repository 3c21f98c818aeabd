// Reads one HTTP/1.1 response from bytes as they come: head, then a body of known length, in chunks
// or up to the end of the connection (RFC 9112, 6). Pure. Stricter than the standard asks: a
// response that could be understood in two ways is refused. Internal to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kerf::kube {

class HttpReader {
 public:
  // At most `body_limit` bytes of the body are held until taken.
  explicit HttpReader(std::size_t body_limit) : body_limit_(body_limit) {}

  // Takes bytes until the response is complete; says how many. kCorrupt when this is no acceptable
  // HTTP, or too much of it; nothing may be fed after that.
  Result<std::size_t> feed(std::string_view bytes);
  // The connection was closed by the other side. kGone when something is missing.
  Status end();

  bool started() const { return started_; }  // a byte has come
  bool has_head() const { return phase_ != Phase::kHead; }
  bool done() const { return phase_ == Phase::kDone; }
  int status() const { return status_; }
  // The first field of that name (lower case), or "".
  std::string_view header(std::string_view name) const;
  // Another response may follow on this connection. Of a complete response.
  bool keep_alive() const { return keep_alive_; }
  // What has come of the body and was not taken yet.
  std::string_view body() const { return body_; }
  std::string take_body() { return std::exchange(body_, {}); }
  void drop_body(std::size_t bytes) { body_.erase(0, bytes); }

 private:
  enum class Phase { kHead, kLength, kUntilEnd, kChunkSize, kChunk, kChunkEnd, kTrailer, kDone };

  Status step(std::string_view& rest);
  Status on_line(std::string_view line);
  Status on_head_line(std::string_view line);
  Status on_status_line(std::string_view line);
  Status on_head_complete();
  Status on_chunk_size(std::string_view line);
  Status take(std::string_view& rest);

  std::size_t body_limit_;
  Phase phase_ = Phase::kHead;
  bool started_ = false;
  bool status_line_seen_ = false;
  bool keep_alive_ = true;
  int status_ = 0;
  std::string line_;            // so far
  std::size_t head_bytes_ = 0;  // of head, chunk size lines or trailers
  std::vector<std::pair<std::string, std::string>> headers_;
  std::uint64_t left_ = 0;  // of the body or chunk
  std::string body_;
};

}  // namespace kerf::kube
