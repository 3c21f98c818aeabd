#include "http/request.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/strings.h"

namespace kerf::http {
namespace {

// RFC 9110, 5.6.2
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
  });
}

Parsed bad(int status, std::string reason) {
  Parsed out;
  out.outcome = Parsed::Outcome::kBad;
  out.status = status;
  out.reason = std::move(reason);
  return out;
}

// Takes one line off `rest`, without its end. A line ends with LF; a CR before it goes too.
std::optional<std::string_view> take_line(std::string_view& rest) {
  std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return {};
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

struct Facts {
  int hosts = 0;
  bool body = false;
  bool close = false;
  bool keep_alive = false;
  std::string authorization;
  std::string probe;
};

void note_header(std::string_view name, std::string_view value, Facts& facts) {
  std::string key = to_lower(name);
  if (key == "host") {
    ++facts.hosts;
  } else if (key == "content-length") {
    facts.body = facts.body || parse_u64(value) != 0u;
  } else if (key == "transfer-encoding") {
    facts.body = true;
  } else if (key == "authorization") {
    facts.authorization = value;
  } else if (key == "kerf-probe") {
    facts.probe = to_lower(value);
  } else if (key == "connection") {
    for (const std::string& option : split(to_lower(value), ',')) {
      facts.close = facts.close || trim(option) == "close";
      facts.keep_alive = facts.keep_alive || trim(option) == "keep-alive";
    }
  }
}

// Fills path and query from "/a?b" or "http://host/a?b". False when it is neither.
bool read_target(std::string_view target, Request& request) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    std::size_t path = target.find('/', target.find("//") + 2);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  if (!target.starts_with('/')) return false;
  std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  return true;
}

Parsed read_request_line(std::string_view line, bool& minor_one) {
  Parsed out;
  std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return bad(400, "the request line must be: METHOD /path HTTP/1.1");
  }
  std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method)) return bad(400, "the method is not a word");
  if (!version.starts_with("HTTP/")) return bad(400, "the request line must end in HTTP/1.1");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  if (target.find(' ') != std::string_view::npos || has_control(line)) {
    return bad(400, "the request line holds blanks or control characters in the path");
  }
  if (!read_target(target, out.request)) return bad(400, "the path must begin with /");
  out.request.method = method;
  minor_one = version == "HTTP/1.1";
  return out;
}

}  // namespace

Parsed parse_request(std::string_view received) {
  std::string_view rest = received;
  while (rest.starts_with("\r\n") || rest.starts_with('\n')) {
    rest.remove_prefix(rest[0] == '\n' ? 1 : 2);
  }
  // Something else than HTTP (a TLS hello, say) is told so at once instead of being waited for.
  if (!rest.empty() && rest[0] != '\r' && !is_token(rest.substr(0, 1))) {
    return bad(400, "this is not an HTTP request; the server speaks plain HTTP, not HTTPS");
  }
  std::vector<std::string_view> lines;
  while (true) {
    auto line = take_line(rest);
    if (!line) {
      if (received.size() < kMaxHead) return {};
      return lines.empty() ? bad(414, "the request line is too long")
                           : bad(431, "the headers are too large");
    }
    if (line->empty()) break;
    lines.push_back(*line);
  }
  auto size = static_cast<std::size_t>(rest.data() - received.data());
  if (size > kMaxHead) return bad(431, "the headers are too large");
  if (lines.empty()) return bad(400, "the request line is missing");

  bool minor_one = false;
  Parsed out = read_request_line(lines.front(), minor_one);
  if (out.outcome == Parsed::Outcome::kBad) return out;
  Facts facts;
  for (std::string_view line : std::span(lines).subspan(1)) {
    std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) || has_control(line)) {
      return bad(400, "a header is malformed");
    }
    note_header(line.substr(0, colon), trim(line.substr(colon + 1)), facts);
  }
  if (facts.hosts > 1 || (facts.hosts == 0 && minor_one)) {
    return bad(400, "HTTP/1.1 needs exactly one Host header");
  }
  out.request.authorization = std::move(facts.authorization);
  out.request.probe = std::move(facts.probe);
  out.request.keep_alive = !facts.body && !facts.close && (minor_one || facts.keep_alive);
  out.outcome = Parsed::Outcome::kRequest;
  out.consumed = size;
  return out;
}

}  // namespace kerf::http
