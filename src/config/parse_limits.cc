// Limits of MPS clients: a feature of kerf, in the spelling of Kubernetes quantities.
#include "config/parse_limits.h"

#include <cstdint>

#include "base/strings.h"

namespace kerf::config {
namespace {

constexpr std::uint64_t kMaxMemoryMib = 16ULL << 20;  // 16 TiB: more is a slip of the keyboard
constexpr const char* kMemoryRemedy = "write a whole number of Mi or Gi: 512Mi, 8Gi";

std::optional<std::uint64_t> mebibytes(std::string_view text) {
  std::uint64_t unit = 0;
  if (text.ends_with("Mi")) unit = 1;
  if (text.ends_with("Gi")) unit = 1024;
  if (unit == 0) return {};
  std::optional<std::uint64_t> number = parse_u64(text.substr(0, text.size() - 2));
  if (!number || *number == 0 || *number > kMaxMemoryMib / unit) return {};
  return *number * unit;
}

}  // namespace

std::optional<MpsLimits> read_limits(Reader& reader, const Node& node, const std::string& path) {
  MpsLimits limits;
  bool valid = true;
  bool is_map = reader.map(node, path, KeyCase::kExact,
                           {{"memory",
                             [&](const Node& value, const std::string& p) {
                               if (value.is(Node::Type::kNull)) return;
                               limits.memory_mib = mebibytes(value.text);
                               if (limits.memory_mib) return;
                               reader.error(value, p, "is not an amount of memory", kMemoryRemedy);
                               valid = false;
                             }},
                            {"threadPercentage", [&](const Node& value, const std::string& p) {
                               if (value.is(Node::Type::kNull)) return;
                               std::optional<std::int64_t> number = reader.integer(value, p);
                               if (number && *number >= 1 && *number <= 100) {
                                 limits.thread_percentage = static_cast<unsigned>(*number);
                                 return;
                               }
                               if (number)
                                 reader.error(value, p, "is not a percentage", "write 1 to 100");
                               valid = false;
                             }}});
  if (!is_map || !valid) return {};
  return limits;
}

}  // namespace kerf::config
