// The health section of the file.
#include "base/strings.h"
#include "config/duration.h"
#include "config/fields.h"
#include "config/reader.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kHour = 3'600'000 * kMillisecond;
// The greatest XID there is has three digits.
constexpr std::int64_t kMaxXid = 9999;

std::string_view word_of(XidAction action) {
  return kXidActions[static_cast<std::size_t>(action)].first;
}

void read_xids(Reader& reader, const Node& node, const std::string& path, XidAction action) {
  const std::vector<Node>* items = reader.list(node, path, "XIDs");
  if (items == nullptr) return;
  auto& xids = reader.values().health.xids;
  for (std::size_t i = 0; i < items->size(); ++i) {
    const Node& item = (*items)[i];
    std::string here = below(path, i);
    if (item.is(Node::Type::kNull)) {
      reader.wrong_type(item, here, "an XID", "write its number");
      continue;
    }
    std::optional<std::int64_t> xid = reader.integer(item, here);
    if (!xid) continue;
    if (*xid < 1 || *xid > kMaxXid) {
      reader.error(item, here, fmt::format("{} is no XID", item.text),
                   fmt::format("write a number from 1 to {}", kMaxXid));
      continue;
    }
    auto [entry, is_new] = xids.try_emplace(static_cast<std::uint64_t>(*xid), action);
    if (!is_new && entry->second != action) {
      reader.error(item, here, fmt::format("XID {} is also below {}", *xid, word_of(entry->second)),
                   "write it in one of the lists");
    }
  }
}

void read_recovery(Reader& reader, const Node& node, const std::string& path) {
  HealthOptions& o = reader.values().health;
  reader.map(node, path, KeyCase::kIgnored,
             {duration_field(reader, "quietPeriod", o.quiet_period_ns, {}),
              duration_field(reader, "maxQuietPeriod", o.max_quiet_period_ns, {})});
  if (o.max_quiet_period_ns < o.quiet_period_ns && o.quiet_period_ns != kForever) {
    reader.warning(
        node.at, path,
        fmt::format("maxQuietPeriod, {}, is less than quietPeriod, {}; it is not used",
                    duration_text(o.max_quiet_period_ns), duration_text(o.quiet_period_ns)),
        "write maxQuietPeriod as well");
  }
}

void read_conditions(Reader& reader, const Node& node, const std::string& path) {
  HealthOptions& o = reader.values().health;
  reader.map(
      node, path, KeyCase::kIgnored,
      {truth_field(reader, "ecc", o.ecc),
       truth_field(reader, "rowRemapFailure", o.row_remap_failure),
       truth_field(reader, "rowRemapPending", o.row_remap_pending),
       truth_field(reader, "nvlink", o.nvlink), truth_field(reader, "thermal", o.thermal),
       duration_field(reader, "thermalAfter", o.thermal_after_ns, {0, 24 * kHour}),
       duration_field(reader, "pollInterval", o.poll_interval_ns, {100 * kMillisecond, kHour})});
}

}  // namespace

void read_health(Reader& reader, const Node& node, const std::string& path) {
  auto xids = [&reader](const Node& n, const std::string& p) {
    std::vector<Field> fields;
    for (auto [key, action] : kXidActions) {
      fields.push_back({key, [&reader, action](const Node& list, const std::string& list_path) {
                          read_xids(reader, list, list_path, action);
                        }});
    }
    reader.map(n, p, KeyCase::kIgnored, fields);
  };
  reader.map(node, path, KeyCase::kIgnored,
             {{"xids", xids},
              {"recovery",
               [&reader](const Node& n, const std::string& p) { read_recovery(reader, n, p); }},
              {"conditions",
               [&reader](const Node& n, const std::string& p) { read_conditions(reader, n, p); }}});
}

}  // namespace kerf::config
