#include "config/choose.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace kerf::config {
namespace {

std::string listed(std::span<const std::string> available) {
  std::vector<std::string> sorted(available.begin(), available.end());
  std::ranges::sort(sorted);
  return "available: " + join(sorted, ", ");
}

}  // namespace

Result<std::string> choose_config(std::string_view label, const Choices& choices,
                                  std::span<const std::string> available) {
  auto there = [&](std::string_view name) {
    return std::ranges::find(available, name) != available.end();
  };
  if (available.empty()) {
    return fail(Kind::kNotFound, "no configuration files available", "",
                "put at least one into the ConfigMap");
  }
  std::string wanted(label.empty() ? std::string_view(choices.default_name) : label);
  if (!wanted.empty()) {
    if (there(wanted)) return wanted;
    return fail(Kind::kNotFound, "specified config " + wanted + " does not exist", wanted,
                listed(available));
  }
  for (const std::string& word : choices.fallbacks) {
    if (word == kFallbackNamed) {
      if (there("default")) return "default";
    } else if (word == kFallbackSingle) {
      if (available.size() == 1) return available[0];
    } else if (word == kFallbackEmpty) {
      return "";
    } else {
      return fail(Kind::kInvalid, "unknown fallback strategy: " + word, word,
                  "allowed: named, single, empty");
    }
  }
  return fail(
      Kind::kNotFound, "no config was set, no default was provided, and all fallbacks failed", "",
      "label the node, or set --default-config or --fallback-strategies; " + listed(available));
}

}  // namespace kerf::config
