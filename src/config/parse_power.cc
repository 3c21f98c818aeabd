// The power section of the file.
#include <algorithm>

#include "base/strings.h"
#include "config/fields.h"
#include "config/reader.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMostWeight = 1000;

// A scalar as it was written: watts and seconds may be bare numbers.
std::optional<std::string> text_of(Reader& reader, const Node& node, const std::string& path,
                                   std::string_view wanted, const std::string& hint) {
  bool fits =
      node.is(Node::Type::kString) || node.is(Node::Type::kInt) || node.is(Node::Type::kFloat);
  if (fits) return node.text;
  if (!node.is(Node::Type::kNull)) reader.wrong_type(node, path, wanted, hint);
  return {};
}

// A value that has a parser of its own.
template <typename T, typename Store>
Field parsed(Reader& reader, std::string_view key, Result<T> (*parse)(std::string_view),
             std::string_view wanted, const Store& store) {
  return {key, [&reader, parse, wanted, store](const Node& node, const std::string& path) {
            // The hint of a value that cannot be is the same as that of a wrong type.
            auto text = text_of(reader, node, path, wanted, parse("?").error().hint);
            if (!text) return;
            Result<T> value = parse(*text);
            if (!value) {
              reader.error(node, path, value.error().what, value.error().hint);
            } else {
              store(*value, node, path);
            }
          }};
}

template <typename T, std::size_t n>
Field word(Reader& reader, std::string_view key, const std::pair<std::string_view, T> (&words)[n],
           const std::function<void(T)>& store) {
  return {key, [&reader, &words, store](const Node& node, const std::string& path) {
            std::vector<std::string_view> known;
            for (const auto& [name, value] : words) known.push_back(name);
            std::string hint = fmt::format("allowed: {}", fmt::join(known, ", "));
            auto text = text_of(reader, node, path, "a word", hint);
            if (!text) return;
            for (const auto& [name, value] : words) {
              if (name == to_lower(*text)) return store(value);
            }
            reader.error(node, path, fmt::format("unknown word '{}'", printable(*text)), hint);
          }};
}

void add_target_fields(Reader& reader, PowerTarget& target, std::vector<Field>& fields) {
  auto clock = [&](std::string_view key, std::optional<ClockRange>& into) {
    fields.push_back(parsed<ClockRange>(
        reader, key, parse_clock_range, "clocks in MHz",
        [&into](ClockRange range, const Node&, const std::string&) { into = range; }));
  };
  clock("graphicsClock", target.graphics_clock);
  clock("memoryClock", target.memory_clock);
  fields.push_back(word<TimeSlice>(reader, "timeSlice", kTimeSlices,
                                   [&target](TimeSlice slice) { target.time_slice = slice; }));
}

// "GPU-5A3F…" as drivers write it: the prefix as it is, the digits in lower case.
std::string canonical(PowerSelector by, std::string_view text) {
  if (by == PowerSelector::kModel || by == PowerSelector::kSerial) return std::string(text);
  std::string lower = to_lower(text);
  if (by == PowerSelector::kUuid && lower.starts_with("gpu-")) lower.replace(0, 3, "GPU");
  // NVML and nvidia-smi write eight digits of domain, the kernel four.
  if (by == PowerSelector::kPci && lower.find(':') == 8 && lower.starts_with("0000")) {
    lower.erase(0, 4);
  }
  return lower;
}

bool plausible(PowerSelector by, std::string_view text) {
  if (by == PowerSelector::kUuid) return text.starts_with("GPU-") && text.size() > 4;
  if (by != PowerSelector::kPci) return !text.empty();
  return text.size() >= 12 && text.find(':') == text.size() - 8 && text[text.size() - 2] == '.';
}

Field selector(Reader& reader, std::string_view key, PowerSelector by, PowerRule& rule,
               unsigned& given) {
  return {key, [&reader, &rule, &given, by](const Node& node, const std::string& path) {
            static constexpr std::string_view kExamples[] = {
                "write the UUID as nvidia-smi -L shows it: GPU-5a3f1c0e-…",
                "write it as lspci -D does: 0000:3b:00.0", "write the serial number",
                "write the product's name, '*' standing for anything: \"*RTX 3090*\""};
            std::string hint(kExamples[static_cast<std::size_t>(by)]);
            auto text = text_of(reader, node, path, "a string", hint);
            if (!text) return;
            std::string match = canonical(by, trim(*text));
            if (!plausible(by, match)) {
              reader.error(node, path, fmt::format("'{}' names no GPU", printable(*text)), hint);
              return;
            }
            rule.by = by;
            rule.match = std::move(match);
            ++given;
          }};
}

void read_rule(Reader& reader, const Node& node, const std::string& path) {
  PowerRule rule;
  unsigned given = 0;
  std::vector<Field> fields;
  for (auto [key, by] : kPowerSelectors) {
    fields.push_back(selector(reader, key, by, rule, given));
  }
  fields.push_back(parsed<PowerAmount>(
      reader, "limit", parse_power_amount, "a power limit",
      [&rule](PowerAmount limit, const Node&, const std::string&) { rule.target.limit = limit; }));
  add_target_fields(reader, rule.target, fields);
  fields.push_back({"weight", [&](const Node& value, const std::string& value_path) {
                      auto weight = reader.integer(value, value_path);
                      if (!weight) return;
                      if (*weight < 1 || *weight > kMostWeight) {
                        reader.error(value, value_path,
                                     fmt::format("{} is out of range", value.text),
                                     fmt::format("write 1 to {}", kMostWeight));
                      } else {
                        rule.weight = static_cast<unsigned>(*weight);
                      }
                    }});
  std::size_t before = reader.finding_count();
  if (!reader.map(node, path, KeyCase::kIgnored, fields)) return;
  if (given != 1 && reader.finding_count() == before) {
    reader.error(node, path, given == 0 ? "names no GPU" : "names GPUs in more than one way",
                 "write one of uuid, pci, serial and model");
  } else if (given == 1) {
    reader.values().power.gpus.push_back(std::move(rule));
  }
}

void read_rules(Reader& reader, const Node& node, const std::string& path) {
  const std::vector<Node>* items = reader.list(node, path, "GPUs");
  if (items == nullptr) return;
  for (std::size_t i = 0; i < items->size(); ++i) read_rule(reader, (*items)[i], below(path, i));
}

Field watts(Reader& reader, std::string_view key, std::uint32_t& into) {
  return parsed<PowerAmount>(
      reader, key, parse_power_amount, "watts",
      [&reader, &into](PowerAmount amount, const Node& node, const std::string& path) {
        if (amount.unit == PowerAmount::Unit::kWatts) {
          into = amount.value;
        } else {
          reader.error(node, path, fmt::format("'{}' is not in watts", printable(node.text)),
                       "write watts, as 550W");
        }
      });
}

void read_budget(Reader& reader, const Node& node, const std::string& path) {
  if (node.is(Node::Type::kNull)) return;
  PowerBudget budget;
  std::size_t before = reader.finding_count();
  if (!reader.map(
          node, path, KeyCase::kIgnored,
          {watts(reader, "total", budget.total_mw),
           duration_field(reader, "interval", budget.interval_ns, {kSecond, 3600 * kSecond}),
           watts(reader, "hysteresis", budget.hysteresis_mw)})) {
    return;
  }
  if (budget.total_mw == 0 && reader.finding_count() == before) {
    reader.error(node, path, "has no total", "write the watts for all GPUs together: total: 550W");
  }
  if (budget.total_mw > 0) reader.values().power.budget = budget;
}

}  // namespace

void read_power(Reader& reader, const Node& node, const std::string& path) {
  static constexpr std::pair<std::string_view, OutOfRange> kOutOfRange[] = {
      {"refuse", OutOfRange::kRefuse}, {"clamp", OutOfRange::kClamp}};
  PowerOptions& o = reader.values().power;
  auto setting = [&reader](const std::string& flag) {
    return [&reader, flag](auto&&, const Node& value, const std::string&) {
      reader.values().settings[flag] = value.text;
    };
  };
  std::vector<Field> fields = {
      parsed<PowerAmount>(reader, "limit", parse_power_amount, "a power limit",
                          setting("power-limit")),
      parsed<std::int64_t>(reader, "reapply", parse_reapply, "a time", setting("power-reapply")),
      word<OutOfRange>(reader, "outOfRange", kOutOfRange,
                       [&o](OutOfRange policy) { o.out_of_range = policy; }),
      truth_field(reader, "persistence", o.persistence),
      truth_field(reader, "restoreOnExit", o.restore_on_exit),
      {"gpus", [&reader](const Node& n, const std::string& p) { read_rules(reader, n, p); }},
      {"budget", [&reader](const Node& n, const std::string& p) { read_budget(reader, n, p); }},
  };
  add_target_fields(reader, o.all, fields);
  reader.map(node, path, KeyCase::kIgnored, fields);
}

}  // namespace kerf::config
