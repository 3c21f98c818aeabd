#include "config/fields.h"

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::config {

Field duration_field(Reader& reader, std::string_view key, std::int64_t& into, Bounds bounds) {
  return {key, [&reader, &into, bounds](const Node& node, const std::string& path) {
            constexpr const char* kHint = "write it like 90s, 5m or 1h30m";
            if (node.is(Node::Type::kNull)) return;
            if (!node.is(Node::Type::kString)) {
              reader.wrong_type(node, path, "a duration with a unit", kHint);
              return;
            }
            Result<std::int64_t> given = parse_duration(node.text);
            if (!given) {
              reader.error(node, path, given.error().what, kHint);
            } else if (*given < bounds.least || *given > bounds.most) {
              std::string most = bounds.most == kForever ? "" : " to " + duration_text(bounds.most);
              reader.error(node, path, fmt::format("{} is out of range", printable(node.text)),
                           bounds.least == 0 && most.empty()
                               ? "write 0s or more"
                               : fmt::format("write {}{}", duration_text(bounds.least),
                                             most.empty() ? " or more" : most));
            } else {
              into = *given;
            }
          }};
}

Field truth_field(Reader& reader, std::string_view key, bool& into) {
  return {key, [&reader, &into](const Node& node, const std::string& path) {
            if (auto value = reader.boolean(node, path)) into = *value;
          }};
}

}  // namespace kerf::config
