// Reads the head of an HTTP/1.x request from bytes. Pure; the bytes may be hostile.
// Source: RFC 9110, RFC 9112. Only what a read-only server needs: no bodies, no chunks, no folding.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kerf::http {

// The most a request line and its headers may take together, in bytes.
inline constexpr std::size_t kMaxHead = 8192;

struct Request {
  std::string method;  // "GET"; any token
  std::string path;    // "/api/status": as sent, not decoded, without the query
  std::string query;   // "as=page": without '?'; may be empty
  // Whether another request may follow on the same connection. False when a body follows, which is
  // never read.
  bool keep_alive = false;
  std::string authorization{};  // the header of that name; empty when there is none
  std::string probe{};          // the header Kerf-Probe in lower case; empty when there is none
};

struct Parsed {
  enum class Outcome {
    kIncomplete,  // more bytes are needed
    kRequest,     // `request` is filled, `consumed` bytes belong to it
    kBad,         // answer with `status` and close
  };
  Outcome outcome = Outcome::kIncomplete;
  Request request;
  std::size_t consumed = 0;
  int status = 0;      // 400, 414, 431, 501 or 505
  std::string reason;  // for the one who sent it
};

// Looks at everything received so far and not yet consumed.
Parsed parse_request(std::string_view received);

}  // namespace kerf::http
