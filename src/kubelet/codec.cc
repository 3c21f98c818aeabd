#include "kubelet/codec.h"

#include <optional>

#include "kubelet/wire_reader.h"

namespace kerf::kubelet {
namespace {

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// All field numbers here are below 16, so a key is one byte.
void put_key(std::string& out, unsigned number, unsigned type) {
  out.push_back(static_cast<char>(number << 3 | type));
}

void put_bytes(std::string& out, unsigned number, std::string_view bytes) {
  put_key(out, number, 2);
  put_varint(out, bytes.size());
  out.append(bytes);
}

// proto3 leaves out empty strings and false, as values of singular fields.
void put_string(std::string& out, unsigned number, std::string_view text) {
  if (!text.empty()) put_bytes(out, number, text);
}

void put_bool(std::string& out, unsigned number, bool value) {
  if (!value) return;
  put_key(out, number, 0);
  out.push_back(1);
}

std::size_t size_of_bytes(std::size_t size) { return 1 + varint_size(size) + size; }

void put_map(std::string& out, unsigned number, const std::map<std::string, std::string>& map) {
  for (const auto& [key, value] : map) {
    put_key(out, number, 2);
    put_varint(out, size_of_bytes(key.size()) + size_of_bytes(value.size()));
    put_bytes(out, 1, key);
    put_bytes(out, 2, value);
  }
}

Unexpected malformed(std::string_view message) {
  return fail(Kind::kCorrupt, "the request is not a valid " + std::string(message));
}

Unexpected too_many(std::string_view message) {
  return fail(Kind::kInvalid, "the " + std::string(message) + " names too many devices");
}

// Calls `each(bytes)` for every element of field 1 that is a message. False: malformed or too many.
template <typename Each>
Status containers(std::string_view bytes, std::string_view message, Each each) {
  Reader reader(bytes);
  Field field;
  std::size_t count = 0;
  while (reader.next(field)) {
    if (field.number != 1) continue;
    if (field.type != 2) return malformed(message);
    if (++count > kMaxContainers) return too_many(message);
    if (Status status = each(field.bytes); !status) return status;
  }
  if (!reader.ok()) return malformed(message);
  return {};
}

}  // namespace

Result<std::vector<Ids>> decode_allocate(std::string_view bytes) {
  constexpr std::string_view kName = "AllocateRequest";
  std::vector<Ids> requests;
  std::size_t total = 0;
  Status status = containers(bytes, kName, [&](std::string_view container) -> Status {
    Ids& ids = requests.emplace_back();
    Reader reader(container);
    Field field;
    while (reader.next(field)) {
      if (field.number != 1) continue;
      if (field.type != 2) return malformed(kName);
      if (++total > kMaxIds) return too_many(kName);
      ids.push_back(field.bytes);
    }
    if (!reader.ok()) return malformed(kName);
    return {};
  });
  if (!status) return fail(status.error());
  return requests;
}

Result<std::vector<PreferredRequest>> decode_preferred(std::string_view bytes) {
  constexpr std::string_view kName = "PreferredAllocationRequest";
  std::vector<PreferredRequest> requests;
  std::size_t total = 0;
  Status status = containers(bytes, kName, [&](std::string_view container) -> Status {
    PreferredRequest& request = requests.emplace_back();
    request.available.reserve(std::min(container.size() / 40, kMaxIds));
    Reader reader(container);
    Field field;
    while (reader.next(field)) {
      if (field.number == 3) {
        if (field.type != 0) return malformed(kName);
        request.size = static_cast<std::int32_t>(field.value);
      } else if (field.number == 1 || field.number == 2) {
        if (field.type != 2) return malformed(kName);
        if (++total > kMaxIds) return too_many(kName);
        (field.number == 1 ? request.available : request.must_include).push_back(field.bytes);
      }
    }
    if (!reader.ok()) return malformed(kName);
    return {};
  });
  if (!status) return fail(status.error());
  return requests;
}

bool well_formed(std::string_view bytes) {
  Reader reader(bytes);
  Field field;
  while (reader.next(field)) {
  }
  return reader.ok();
}

std::string encode_options(bool preferred_allocation) {
  std::string out;
  put_bool(out, 2, preferred_allocation);
  return out;
}

std::string encode_register(std::string_view endpoint, std::string_view resource,
                            bool preferred_allocation) {
  std::string out;
  put_string(out, 1, "v1beta1");
  put_string(out, 2, endpoint);
  put_string(out, 3, resource);
  put_bytes(out, 4, encode_options(preferred_allocation));
  return out;
}

std::string encode_list(std::span<const plan::Device> devices) {
  std::string out;
  std::string one;
  std::string topology;
  for (const plan::Device& device : devices) {
    one.clear();
    put_string(one, 1, device.id);
    put_string(one, 2, device.healthy ? "Healthy" : "Unhealthy");
    if (device.numa_node && *device.numa_node >= 0) {
      std::string node;
      if (*device.numa_node != 0) {
        put_key(node, 1, 0);
        put_varint(node, static_cast<std::uint64_t>(*device.numa_node));
      }
      topology.clear();
      put_bytes(topology, 1, node);
      put_bytes(one, 3, topology);
    }
    put_bytes(out, 1, one);
  }
  return out;
}

std::string encode_allocate(std::span<const edits::Edits> containers) {
  std::string out;
  std::string one;
  std::string part;
  for (const edits::Edits& edits : containers) {
    one.clear();
    put_map(one, 1, edits.envs);
    for (const edits::Mount& mount : edits.mounts) {
      part.clear();
      put_string(part, 1, mount.container_path);
      put_string(part, 2, mount.host_path);
      put_bool(part, 3, mount.read_only);
      put_bytes(one, 2, part);
    }
    for (const edits::DeviceNode& device : edits.devices) {
      part.clear();
      put_string(part, 1, device.container_path);
      put_string(part, 2, device.host_path);
      put_string(part, 3, device.permissions);
      put_bytes(one, 3, part);
    }
    put_map(one, 4, edits.annotations);
    for (const std::string& name : edits.cdi_devices) {
      part.clear();
      put_string(part, 1, name);
      put_bytes(one, 5, part);
    }
    put_bytes(out, 1, one);
  }
  return out;
}

std::string encode_preferred(std::span<const Ids> containers) {
  std::string out;
  for (const Ids& ids : containers) {
    std::size_t size = 0;
    for (std::string_view id : ids) size += size_of_bytes(id.size());
    put_key(out, 1, 2);
    put_varint(out, size);
    for (std::string_view id : ids) put_bytes(out, 1, id);
  }
  return out;
}

}  // namespace kerf::kubelet
