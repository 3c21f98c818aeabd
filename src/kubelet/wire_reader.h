// Reads protobuf's wire format: a message is a run of (field number << 3 | type) keys, each
// followed by a varint (type 0), 8 bytes (1), a length and so many bytes (2), or 4 bytes (5). Knows
// no message. Pure; nothing is copied. Source: protocol buffers' documentation, "Encoding".
#pragma once

#include <cstdint>
#include <string_view>

namespace kerf::kubelet {

// One field as it lies in the message.
struct Field {
  std::uint32_t number = 0;
  unsigned type = 0;
  std::uint64_t value = 0;  // type 0
  std::string_view bytes;   // type 2
};

// Goes through the fields of one message. Views into `bytes` are valid as long as those.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  // False at the end and on malformed input; `ok` tells which.
  bool next(Field& field) {
    if (rest_.empty()) return false;
    if (short_bytes(field)) return true;
    std::uint64_t key = 0;
    if (!varint(key) || key >> 3 == 0 || key >> 32 != 0) return bad();
    field.number = static_cast<std::uint32_t>(key >> 3);
    field.type = key & 7;
    std::uint64_t size = 0;
    switch (field.type) {
      case 0:
        return varint(field.value) || bad();
      case 1:
        return take(8, field.bytes) || bad();
      case 2:
        return (varint(size) && take(size, field.bytes)) || bad();
      case 5:
        return take(4, field.bytes) || bad();
      default:
        return bad();  // groups ended with proto2
    }
  }
  bool ok() const { return ok_; }

 private:
  // The usual case at once: bytes of less than 128, in a field below 16.
  bool short_bytes(Field& field) {
    if (rest_.size() < 2) return false;
    const auto key = static_cast<unsigned char>(rest_[0]);
    const auto size = static_cast<unsigned char>(rest_[1]);
    if ((key & 0x87) != 2 || key < 8 || size >= 0x80 || rest_.size() - 2 < size) return false;
    field.number = key >> 3;
    field.type = 2;
    field.bytes = rest_.substr(2, size);
    rest_.remove_prefix(2 + std::size_t{size});
    return true;
  }
  bool bad() {
    ok_ = false;
    return false;
  }
  bool take(std::uint64_t size, std::string_view& out) {
    if (size > rest_.size()) return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool varint(std::uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return false;
      auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace kerf::kubelet
