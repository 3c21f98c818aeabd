// The usage section of the file.
#include "config/duration.h"
#include "config/fields.h"
#include "config/reader.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3600 * kSecond;
constexpr std::int64_t kMostPercent = 100;

void read_action(Reader& reader, const Node& node, const std::string& path) {
  const std::optional<std::string> word = reader.string(node, path);
  if (!word) return;
  for (auto [text, action] : kOverShare) {
    if (*word != text) continue;
    reader.values().usage.over_share = action;
    return;
  }
  reader.error(node, path, fmt::format("unknown action: {}", *word), "write none, event or evict");
}

void read_tolerance(Reader& reader, const Node& node, const std::string& path) {
  const std::optional<std::int64_t> percent = reader.integer(node, path);
  if (!percent) return;
  if (*percent < 0 || *percent > kMostPercent) {
    reader.error(node, path, fmt::format("{} is out of range", *percent),
                 fmt::format("write a number from 0 to {}", kMostPercent));
    return;
  }
  reader.values().usage.tolerance_percent = static_cast<unsigned>(*percent);
}

void read_watchdog(Reader& reader, const Node& node, const std::string& path) {
  UsageOptions& o = reader.values().usage;
  auto part = [&reader](auto read) {
    return [&reader, read](const Node& n, const std::string& p) { read(reader, n, p); };
  };
  reader.map(node, path, KeyCase::kIgnored,
             {{"action", part(read_action)},
              duration_field(reader, "window", o.window_ns, {0, 24 * kHour}),
              {"tolerancePercent", part(read_tolerance)},
              truth_field(reader, "quotaAnnotation", o.quota_annotation)});
}

}  // namespace

void read_usage(Reader& reader, const Node& node, const std::string& path) {
  UsageOptions& o = reader.values().usage;
  reader.map(node, path, KeyCase::kIgnored,
             {duration_field(reader, "interval", o.interval_ns, {kSecond, kHour}),
              {"memoryWatchdog",
               [&reader](const Node& n, const std::string& p) { read_watchdog(reader, n, p); }}});
}

}  // namespace kerf::config
