// Between gRPC's byte buffers and plain bytes, without copying where gRPC allows it. For the two
// transport .cc files only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "kubelet/transport.h"

#include <grpc/slice.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

namespace kerf::kubelet {

inline std::string_view view_of(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

// The whole buffer in one piece; a message that came in one piece is not copied.
inline bool flatten(const grpc::ByteBuffer& buffer, grpc::Slice& whole) {
  if (!buffer.Valid()) return true;  // an empty message
  if (buffer.TrySingleSlice(&whole).ok()) return true;
  return buffer.DumpToSingleSlice(&whole).ok();
}

// gRPC's destroy callback gets only the pointer given as user data, so that is the owner.
template <typename Owner>
grpc::ByteBuffer buffer_owning(Owner* owner, const std::string& bytes) {
  grpc::Slice slice(
      const_cast<char*>(bytes.data()), bytes.size(),
      [](void* user) { delete static_cast<Owner*>(user); }, owner);
  return grpc::ByteBuffer(&slice, 1);
}

inline grpc::ByteBuffer bytes_of(SharedBytes bytes) {
  auto* owner = new SharedBytes(std::move(bytes));
  return buffer_owning(owner, **owner);
}

inline grpc::ByteBuffer bytes_of(std::string bytes) {
  if (bytes.size() <= 64) {  // a copy is cheaper than an owner
    grpc::Slice slice(bytes);
    return grpc::ByteBuffer(&slice, 1);
  }
  auto* owner = new std::string(std::move(bytes));
  return buffer_owning(owner, *owner);
}

}  // namespace kerf::kubelet
