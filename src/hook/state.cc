// Reading two JSON documents for one text each.
#include "hook/state.h"

#include "base/roots.h"

#include <nlohmann/json.hpp>

namespace kerf::hook {
namespace {

using nlohmann::json;

// The text at `keys`, if it is there and not empty.
Result<std::string> text_at(std::string_view document, std::initializer_list<const char*> keys,
                            const char* what) {
  const json parsed = json::parse(document, nullptr, false);
  const json* at = &parsed;
  std::string name;
  for (const char* key : keys) {
    name += name.empty() ? key : std::string(".") + key;
    if (!at->is_object() || !at->contains(key)) {
      return fail(Kind::kInvalid, std::string(what) + " has no such field", name,
                  "this program is for container runtimes, which tell it the container's state on "
                  "standard input");
    }
    at = &(*at)[key];
  }
  if (!at->is_string() || at->get_ref<const std::string&>().empty()) {
    return fail(Kind::kInvalid, std::string(what) + " has no text there", name);
  }
  return at->get<std::string>();
}

}  // namespace

Result<std::string> bundle_of(std::string_view state) {
  return text_at(state, {"bundle"}, "the container's state");
}

Result<std::string> root_of(std::string_view config, const std::string& bundle) {
  auto path = text_at(config, {"root", "path"}, "the bundle's config.json");
  if (!path || path->starts_with('/')) return path;
  return join_path(bundle, *path);
}

}  // namespace kerf::hook
