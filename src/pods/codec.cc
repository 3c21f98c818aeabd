#include "pods/codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kubelet/wire_reader.h"

namespace kerf::pods {
namespace {

using kubelet::Field;
using kubelet::Reader;

Unexpected malformed(const char* message) {
  return fail(Kind::kCorrupt,
              std::string("the kubelet's answer is not a valid ListPodResourcesResponse (") +
                  message + ")");
}

// What is stored so far, so that a hostile answer cannot make us store more than it is long.
struct Budget {
  std::size_t left = kMaxListed;
  bool spend() { return left > 0 && left-- > 0; }
};

// Calls `each(number, bytes)` for every field that is bytes. An error of `each` ends it.
template <typename Each>
Status fields_of(std::string_view bytes, const char* message, Each each) {
  Reader reader(bytes);
  Field field;
  while (reader.next(field)) {
    if (field.type != 2) continue;
    if (Status done = each(field.number, field.bytes); !done) return done;
  }
  if (!reader.ok()) return malformed(message);
  return {};
}

// Names end up in labels and paths: printable, and none of them long.
Status put_name(std::string& out, std::string_view bytes) {
  const bool printable = std::ranges::all_of(bytes, [](char c) { return c > ' ' && c <= '~'; });
  if (!printable || bytes.size() > 512) return malformed("a name");
  out = bytes;
  return {};
}

Status read_devices(std::string_view bytes, Container::Devices& out, Budget& budget) {
  return fields_of(bytes, "devices", [&](std::uint32_t number, std::string_view text) -> Status {
    if (number == 1) return put_name(out.resource, text);
    if (number != 2) return {};
    if (!budget.spend()) return fail(Kind::kInvalid, "the kubelet names too many devices");
    return put_name(out.ids.emplace_back(), text);
  });
}

Status read_claim(std::string_view bytes, std::vector<ClaimDevice>& out, Budget& budget) {
  ClaimDevice common;
  std::vector<ClaimDevice> devices;
  auto device = [&](std::string_view text) -> Status {
    if (!budget.spend()) return fail(Kind::kInvalid, "the kubelet names too many devices");
    ClaimDevice& into = devices.emplace_back();
    return fields_of(text, "a claim's device", [&](std::uint32_t number, std::string_view value) {
      if (number == 2) return put_name(into.driver, value);
      if (number == 3) return put_name(into.pool, value);
      if (number == 4) return put_name(into.device, value);
      return number == 5 ? put_name(into.share, value) : Status();
    });
  };
  Status read = fields_of(bytes, "a claim", [&](std::uint32_t number, std::string_view text) {
    if (number == 2) return put_name(common.claim, text);
    if (number == 3) return put_name(common.claim_name_space, text);
    return number == 4 ? device(text) : Status();
  });
  if (!read) return read;
  for (ClaimDevice& each : devices) {
    each.claim = common.claim;
    each.claim_name_space = common.claim_name_space;
    out.push_back(std::move(each));
  }
  return {};
}

Status read_container(std::string_view bytes, Container& out, Budget& budget) {
  return fields_of(bytes, "a container", [&](std::uint32_t number, std::string_view text) {
    if (number == 1) return put_name(out.owner.container, text);
    if (number == 5) return read_claim(text, out.claims, budget);
    if (number != 2) return Status();
    return read_devices(text, out.devices.emplace_back(), budget);
  });
}

Status read_pod(std::string_view bytes, std::vector<Container>& out, Budget& budget) {
  Owner owner;
  std::vector<Container> found;
  Status read = fields_of(bytes, "a pod", [&](std::uint32_t number, std::string_view text) {
    if (number == 1) return put_name(owner.pod, text);
    if (number == 2) return put_name(owner.name_space, text);
    if (number != 3) return Status();
    return read_container(text, found.emplace_back(), budget);
  });
  if (!read) return read;
  for (Container& container : found) {
    // The kubelet sends one entry a NUMA node; without ids it says nothing.
    std::erase_if(container.devices, [](const auto& each) { return each.ids.empty(); });
    if (container.devices.empty() && container.claims.empty()) continue;
    if (owner.pod.empty() || owner.name_space.empty()) return malformed("a pod without a name");
    container.owner.name_space = owner.name_space;
    container.owner.pod = owner.pod;
    out.push_back(std::move(container));
  }
  return {};
}

}  // namespace

Result<std::vector<Container>> decode_list(std::string_view bytes) {
  std::vector<Container> out;
  Budget budget;
  Reader reader(bytes);
  Field field;
  while (reader.next(field)) {
    if (field.number != 1) continue;
    if (field.type != 2) return malformed("pods");
    if (Status read = read_pod(field.bytes, out, budget); !read) return fail(read.error());
  }
  if (!reader.ok()) return malformed("its end");
  return out;
}

}  // namespace kerf::pods
