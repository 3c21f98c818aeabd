#include "kube/http_reader.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/strings.h"

namespace kerf::kube {
namespace {

constexpr std::size_t kMaxHead = 64 << 10;
constexpr std::size_t kMaxChunkLine = 256;

Unexpected corrupt(std::string what) { return fail(Kind::kCorrupt, std::move(what)); }

bool is_token(std::string_view text) {
  constexpr std::string_view kSpecial = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kSpecial.find(c) != std::string_view::npos;
  });
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
}

}  // namespace

std::string_view HttpReader::header(std::string_view name) const {
  for (const auto& [key, value] : headers_) {
    if (key == name) return value;
  }
  return {};
}

Result<std::size_t> HttpReader::feed(std::string_view bytes) {
  std::string_view rest = bytes;
  started_ |= !bytes.empty();
  while (!rest.empty() && phase_ != Phase::kDone) {
    if (Status s = step(rest); !s) return fail(std::move(s.error()));
  }
  return bytes.size() - rest.size();
}

Status HttpReader::end() {
  if (phase_ == Phase::kUntilEnd) {
    phase_ = Phase::kDone;
    keep_alive_ = false;
  }
  if (phase_ == Phase::kDone) return {};
  return fail(Kind::kGone, started_ ? "the connection ended in the middle of the answer"
                                    : "the connection ended without an answer");
}

Status HttpReader::step(std::string_view& rest) {
  if (phase_ == Phase::kLength || phase_ == Phase::kUntilEnd || phase_ == Phase::kChunk) {
    return take(rest);
  }
  std::size_t feed_at = rest.find('\n');
  std::size_t size = feed_at == std::string_view::npos ? rest.size() : feed_at + 1;
  head_bytes_ += size;
  std::size_t limit = phase_ == Phase::kChunkSize ? kMaxChunkLine : kMaxHead;
  if (head_bytes_ > limit) return corrupt("the answer's head is too large");
  line_.append(rest.substr(0, size));
  rest.remove_prefix(size);
  if (feed_at == std::string_view::npos) return {};
  if (!line_.ends_with("\r\n")) return corrupt("a line of the answer ends without CR LF");
  std::string line = std::exchange(line_, {});
  return on_line(std::string_view(line).substr(0, line.size() - 2));
}

Status HttpReader::on_line(std::string_view line) {
  if (phase_ == Phase::kHead) return on_head_line(line);
  if (phase_ == Phase::kChunkSize) return on_chunk_size(line);
  if (phase_ == Phase::kChunkEnd) {
    if (!line.empty()) return corrupt("a chunk of the answer is longer than it says");
    phase_ = Phase::kChunkSize;
    head_bytes_ = 0;
    return {};
  }
  // Trailers say nothing that is of use here.
  if (line.empty()) phase_ = Phase::kDone;
  return {};
}

Status HttpReader::on_head_line(std::string_view line) {
  if (!status_line_seen_) return on_status_line(line);
  if (line.empty()) return on_head_complete();
  std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return corrupt("the answer's head has a line that is no field");
  }
  std::string_view value = trim(line.substr(colon + 1));
  if (has_control(value)) return corrupt("a field of the answer's head has control characters");
  headers_.emplace_back(to_lower(line.substr(0, colon)), value);
  return {};
}

Status HttpReader::on_status_line(std::string_view line) {
  // "HTTP/1.1 200 OK"; the phrase may be missing.
  bool version = line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ");
  std::string_view digits = line.size() >= 12 ? line.substr(9, 3) : std::string_view();
  std::optional<std::uint64_t> number = parse_u64(digits);
  if (!version || !number || *number < 100 || *number > 599 ||
      (line.size() > 12 && line[12] != ' ')) {
    return corrupt("the answer does not begin as HTTP/1.1");
  }
  status_ = static_cast<int>(*number);
  keep_alive_ = line[7] == '1';
  status_line_seen_ = true;
  return {};
}

Status HttpReader::on_head_complete() {
  if (status_ == 101) return corrupt("the server switches to a protocol nobody asked for");
  if (status_ < 200) {  // an interim answer: the real one follows
    headers_.clear();
    status_line_seen_ = false;
    return {};
  }
  std::optional<std::uint64_t> length;
  bool chunked = false;
  for (const auto& [name, value] : headers_) {
    if (name == "transfer-encoding") {
      if (chunked || to_lower(value) != "chunked") {
        return corrupt("the answer has an encoding nobody asked for");
      }
      chunked = true;
    } else if (name == "content-length") {
      std::optional<std::uint64_t> number = parse_u64(value);
      if (!number || (length && *length != *number)) {
        return corrupt("the answer's length is not a number, or several");
      }
      length = number;
    } else if (name == "connection" && to_lower(value).find("close") != std::string::npos) {
      keep_alive_ = false;
    }
  }
  if (chunked && length) return corrupt("the answer has a length and comes in chunks");
  head_bytes_ = 0;
  if (status_ == 204 || status_ == 304) {
    phase_ = Phase::kDone;
  } else if (chunked) {
    phase_ = Phase::kChunkSize;
  } else if (length) {
    if (*length > body_limit_) return corrupt("the answer is too large");
    left_ = *length;
    phase_ = left_ == 0 ? Phase::kDone : Phase::kLength;
  } else {
    phase_ = Phase::kUntilEnd;
  }
  return {};
}

Status HttpReader::on_chunk_size(std::string_view line) {
  std::string_view digits = trim(line.substr(0, line.find(';')));
  std::uint64_t size = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return corrupt("the size of a chunk of the answer is not a number");
  }
  if (size > body_limit_) return corrupt("a chunk of the answer is too large");
  left_ = size;
  head_bytes_ = 0;
  phase_ = size == 0 ? Phase::kTrailer : Phase::kChunk;
  return {};
}

Status HttpReader::take(std::string_view& rest) {
  std::size_t size = rest.size();
  if (phase_ != Phase::kUntilEnd) size = std::min<std::uint64_t>(size, left_);
  if (body_.size() + size > body_limit_) return corrupt("the answer is too large");
  body_.append(rest.substr(0, size));
  rest.remove_prefix(size);
  if (phase_ == Phase::kUntilEnd) return {};
  left_ -= size;
  if (left_ > 0) return {};
  phase_ = phase_ == Phase::kChunk ? Phase::kChunkEnd : Phase::kDone;
  return {};
}

}  // namespace kerf::kube
