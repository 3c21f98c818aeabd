#include "pods/facts.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

namespace kerf::pods {
namespace {

using nlohmann::json;

constexpr std::string_view kOurs = "kerf/";
constexpr const char* kStaticHash = "kubernetes.io/config.hash";

const json& member(const json& object, const char* name) {
  static const json none;
  auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : none;
}

std::string text_of(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

void read_labels(const json& metadata, PodFacts& out) {
  const json& labels = member(metadata, "labels");
  for (const auto& item : labels.items()) {
    if (item.value().is_string()) out.labels[item.key()] = item.value().get<std::string>();
  }
  const json& annotations = member(metadata, "annotations");
  for (const auto& item : annotations.items()) {
    if (!item.key().starts_with(kOurs) || !item.value().is_string()) continue;
    out.annotations[item.key()] = item.value().get<std::string>();
  }
}

void read_containers(const json& status, PodFacts& out) {
  for (const char* list :
       {"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"}) {
    const json& containers = member(status, list);
    if (!containers.is_array()) continue;
    for (const json& each : containers) {
      std::string id = text_of(each, "containerID");  // "containerd://<id>"
      const std::size_t slashes = id.find("://");
      if (slashes != std::string::npos) id.erase(0, slashes + 3);
      if (!id.empty()) out.containers[std::move(id)] = text_of(each, "name");
    }
  }
}

struct Suffix {
  std::string_view text;
  double factor;
};
constexpr std::array<Suffix, 13> kSuffixes{{{"", 1},
                                            {"k", 1e3},
                                            {"M", 1e6},
                                            {"G", 1e9},
                                            {"T", 1e12},
                                            {"P", 1e15},
                                            {"E", 1e18},
                                            {"Ki", 0x1p10},
                                            {"Mi", 0x1p20},
                                            {"Gi", 0x1p30},
                                            {"Ti", 0x1p40},
                                            {"Pi", 0x1p50},
                                            {"Ei", 0x1p60}}};

}  // namespace

Result<PodFacts> pod_facts(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  const json& metadata = member(object, "metadata");
  PodFacts out;
  out.name_space = text_of(metadata, "namespace");
  out.pod = text_of(metadata, "name");
  out.uid = text_of(metadata, "uid");
  if (out.name_space.empty() || out.pod.empty() || out.uid.empty()) {
    return fail(Kind::kCorrupt, "the API server's answer is no Pod");
  }
  std::string hash = text_of(member(metadata, "annotations"), kStaticHash);
  if (!hash.empty()) out.uid = std::move(hash);
  read_labels(metadata, out);
  read_containers(member(object, "status"), out);
  return out;
}

Result<std::uint64_t> parse_quantity(std::string_view text) {
  double number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Suffix& suffix : kSuffixes) {
    if (error != std::errc() || rest != suffix.text) continue;
    const double bytes = number * suffix.factor;
    if (!(bytes >= 1) || bytes > 0x1p63) break;
    return static_cast<std::uint64_t>(bytes);
  }
  return fail(Kind::kInvalid, "not an amount of memory: \"" + std::string(text) + "\"", "",
              "write bytes, or a number with Ki, Mi, Gi, k, M or G");
}

}  // namespace kerf::pods
