// What the kubelet, the kernel and the API server tell of pods, from whoever claims to be them: the
// PodResources list, control groups, process states, names of log directories, device ids, pods as
// JSON. Nothing crashes, and what is believed has the shape that the rest of the program relies on.
// Every input goes to every parser.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "pods/attribute.h"
#include "pods/cgroup.h"
#include "pods/codec.h"
#include "pods/facts.h"
#include "pods/names.h"
#include "pods/processes.h"

namespace {

using namespace kerf;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fputs(what, stderr);
  std::abort();
}

bool is_name(std::string_view text) {
  return text.size() <= 512 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

void check_list(std::string_view bytes) {
  const auto list = pods::decode_list(bytes);
  if (!list) return require(!list.error().text().empty(), "an error without text");
  std::size_t stored = 0;
  for (const pods::Container& container : *list) {
    require(!container.owner.pod.empty() && !container.owner.name_space.empty(), "nobody's");
    require(is_name(container.owner.pod) && is_name(container.owner.container), "a name");
    require(!container.devices.empty() || !container.claims.empty(), "a container of nothing");
    for (const auto& devices : container.devices) {
      require(!devices.ids.empty() && is_name(devices.resource), "devices");
      for (const std::string& id : devices.ids) {
        require(is_name(id), "an id");
        const auto parsed = pods::parse_device_id(id);
        require(!parsed || !parsed->uuid.empty() || parsed->gpu, "a device that is none");
      }
      stored += devices.ids.size();
    }
    stored += container.claims.size();
  }
  require(stored <= pods::kMaxListed, "more than is allowed");
}

void check_cgroup(std::string_view text) {
  const auto member = pods::parse_cgroup(text);
  if (!member) return;
  require(!member->pod_uid.empty() || !member->container.empty(), "a member of nothing");
  require(member->pod_uid.empty() || member->pod_uid.size() == 36 || member->pod_uid.size() == 32,
          "a uid");
  require(std::ranges::all_of(member->pod_uid, [](char c) { return c == '-' || is_hex(c); }),
          "the characters of a uid");
  require(member->container.empty() ||
              (member->container.size() == 64 && std::ranges::all_of(member->container, is_hex)),
          "a container id");
  // A line that says nothing changes nothing.
  require(pods::parse_cgroup("1:name=x:/user.slice\n" + std::string(text)) == member ||
              text.size() > 60'000,
          "another line before it");
}

void check_names(std::string_view text) {
  pods::NameBook book;
  pods::add_pod_directory(book, text);
  pods::add_container_log(book, text);
  for (const auto& [uid, owner] : book.pods) {
    require(!uid.empty() && !owner.pod.empty() && !owner.name_space.empty(), "a pod's directory");
  }
  for (const auto& [id, owner] : book.containers) {
    require(id.size() == 64 && !owner.container.empty(), "a container's log");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_list(text);
  check_cgroup(text);
  check_names(text);
  static_cast<void>(pods::start_time(text));
  static_cast<void>(pods::parse_device_id(text));
  if (const auto quantity = pods::parse_quantity(text)) require(*quantity > 0, "nothing at all");
  if (const auto facts = pods::pod_facts(text)) {
    for (const auto& [key, value] : facts->annotations) {
      require(key.starts_with("kerf/"), "an annotation of somebody else's");
    }
  }
  return 0;
}
