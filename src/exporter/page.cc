#include "exporter/page.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "base/strings.h"
#include "exporter/split.h"
#include "exporter/xid_text.h"

namespace kerf::exporter {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t kNumberRoom = 330;  // the longest real with six decimals

void append_pair(std::string& out, std::string_view name, std::string_view value) {
  out += out.back() == '{' ? "" : ",";
  out.append(name).append("=\"").append(value).append("\"");
}

// HELP text keeps its quotes.
std::string help_text(std::string_view text) {
  std::string out;
  for (char c : valid_utf8(text)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

bool has_key(const Pairs& pairs, std::string_view name) {
  return std::ranges::find(pairs, name, &Pairs::value_type::first) != pairs.end();
}

// Names that every line has already, whatever their case elsewhere.
bool is_fixed(std::string_view name) {
  constexpr std::string_view kFixed[] = {"gpu",      "UUID",         "uuid",     "pci_bus_id",
                                         "device",   "modelName",    "Hostname", "hostname",
                                         "GPU_I_ID", "GPU_I_PROFILE"};
  return std::ranges::find(kFixed, name) != std::end(kFixed);
}

Pairs sorted(Pairs pairs) {
  std::ranges::sort(pairs);
  const auto doubles = std::ranges::unique(pairs, {}, &Pairs::value_type::first);
  pairs.erase(doubles.begin(), doubles.end());
  return pairs;
}

// What tells the lines of one entity apart: a pod, a share, a job.
struct Variant {
  Pairs labels;      // of the pod
  Pairs attributes;  // sorted
  const Share* share = nullptr;
};

}  // namespace

class SheetMaker {
 public:
  SheetMaker(const Counters& counters, std::span<const Reading> readings,
             const Attribution& attribution, const Jobs& jobs, const PageOptions& options)
      : counters_(counters),
        readings_(readings),
        attribution_(attribution),
        jobs_(jobs),
        options_(options),
        sheet_(std::make_shared<Sheet>()) {}

  SheetPtr run() {
    for (const Reading& reading : readings_) rows_.push_back(row_of(reading));
    for (std::size_t i = 0; i < counters_.values.size(); ++i) add_block(i);
    for (std::size_t i = 0; i < counters_.computed.size(); ++i) add_computed(i);
    return std::move(sheet_);
  }

 private:
  struct Row {
    std::string fixed;  // "{gpu="0",…" up to the host
    bool mig = false;   // a GPU instance
    Pairs labels;       // from counters of the type label
    std::vector<Variant> variants;
    std::vector<std::uint32_t> texts;  // finished, one a variant
    std::optional<std::uint32_t> plain;
  };

  Row row_of(const Reading& reading) {
    Row row;
    row.fixed = fixed_part(reading.entity);
    row.mig = reading.entity.instance.has_value();
    for (std::size_t i = 0; i < counters_.labels.size() && i < reading.texts.size(); ++i) {
      if (reading.texts[i].empty() || is_fixed(counters_.labels[i].name)) continue;
      row.labels.emplace_back(counters_.labels[i].name, reading.texts[i]);
    }
    row.variants = variants_of(reading.entity);
    for (const Variant& variant : row.variants) row.texts.push_back(add_text(row, variant, {}, {}));
    return row;
  }

  std::string fixed_part(const Entity& entity) const {
    const std::string index = std::to_string(entity.gpu);
    std::string model = entity.model;
    if (options_.dashes_in_model) {
      // Several blanks in a row, or at the ends, would make names that nobody expects.
      model = std::string(trim(model));
      std::ranges::replace(model, ' ', '-');
    }
    std::string out = "{";
    append_pair(out, "gpu", index);
    append_pair(out, options_.old_names ? "uuid" : "UUID", label_value(entity.uuid));
    append_pair(out, "pci_bus_id", label_value(entity.pci_bus_id));
    append_pair(out, "device", "nvidia" + index);
    append_pair(out, "modelName", label_value(model));
    if (entity.instance) {
      append_pair(out, "GPU_I_PROFILE", label_value(entity.instance->profile));
      append_pair(out, "GPU_I_ID", std::to_string(entity.instance->id));
    }
    if (options_.host.empty()) return out;
    const std::string host = label_value(options_.host);
    if (options_.host_label != HostLabel::kLower) append_pair(out, "Hostname", host);
    if (options_.host_label != HostLabel::kUpper) append_pair(out, "hostname", host);
    return out;
  }

  std::vector<const Share*> shares_of(const Entity& entity) const {
    std::vector<const Share*> out;
    auto add = [&](const std::string& device) {
      auto found = attribution_.find(device);
      if (found == attribution_.end()) return;
      for (const Share& share : found->second) out.push_back(&share);
    };
    if (!entity.instance) {
      add(entity.uuid);
    } else {
      for (const std::string& uuid : entity.instance->uuids) add(uuid);
    }
    // Of several that share a device the last one is named, as the original does.
    if (!options_.share_by_share && out.size() > 1) out.erase(out.begin(), out.end() - 1);
    return out;
  }

  std::vector<std::string> jobs_of(const Entity& entity) const {
    std::string key = std::to_string(entity.gpu);
    if (entity.instance) key += '.' + std::to_string(entity.instance->id);
    auto found = jobs_.find(key);
    return found == jobs_.end() ? std::vector<std::string>() : found->second;
  }

  Variant variant_of(const Share& share) const {
    Variant out;
    out.share = &share;
    const bool old = options_.old_names;
    Pairs& attributes = out.attributes;
    attributes = share.attributes;
    attributes.emplace_back(old ? "pod_name" : "pod", share.pod);
    attributes.emplace_back(old ? "pod_namespace" : "namespace", share.name_space);
    attributes.emplace_back(old ? "container_name" : "container", share.container);
    if (options_.pod_uid && !share.uid.empty()) attributes.emplace_back("pod_uid", share.uid);
    if (options_.share_by_share && share.replica) {
      attributes.emplace_back("vgpu", std::to_string(*share.replica));
    }
    for (const auto& [key, value] : share.labels) {
      const std::string name = label_name(key);
      if (!has_key(attributes, name) && !is_fixed(name)) out.labels.emplace_back(name, value);
    }
    return out;
  }

  std::vector<Variant> variants_of(const Entity& entity) const {
    std::vector<Variant> out;
    for (const Share* share : shares_of(entity)) {
      Variant variant = variant_of(*share);
      // A line must not come twice, whatever the kubelet says.
      const bool known = std::ranges::any_of(out, [&](const Variant& other) {
        return other.attributes == variant.attributes && other.labels == variant.labels;
      });
      if (!known) out.push_back(std::move(variant));
    }
    if (out.empty()) out.emplace_back();
    const std::vector<std::string> jobs = jobs_of(entity);
    if (jobs.empty()) return out;
    std::vector<Variant> each;
    for (const std::string& job : jobs) {
      for (Variant variant : out) {
        variant.attributes.emplace_back("hpc_job", job);
        each.push_back(std::move(variant));
      }
    }
    return each;
  }

  std::uint32_t add_text(const Row& row, const Variant& variant, const Pairs& more_labels,
                         const Pairs& more_attributes) {
    std::string out = row.fixed;
    // The row's own before the pod's: what came first stays where two have one name.
    Pairs labels = row.labels;
    for (const Pairs* more : {&more_labels, &variant.labels}) {
      for (const auto& pair : *more) {
        if (!has_key(labels, pair.first)) labels.push_back(pair);
      }
    }
    Pairs attributes = variant.attributes;
    attributes.insert(attributes.end(), more_attributes.begin(), more_attributes.end());
    attributes = sorted(std::move(attributes));
    for (const auto& [name, value] : sorted(std::move(labels))) {
      if (!has_key(attributes, name)) append_pair(out, name, label_value(value));
    }
    for (const auto& [name, value] : attributes) append_pair(out, name, label_value(value));
    out += "} ";
    sheet_->labels_.push_back(std::move(out));
    return static_cast<std::uint32_t>(sheet_->labels_.size() - 1);
  }

  void open(const Counter& counter) {
    Sheet::Block block;
    block.head = "# HELP " + counter.name + ' ' + help_text(counter.help) + "\n# TYPE " +
                 counter.name + ' ' + counter.type + '\n';
    block.name = counter.name;
    block.first = sheet_->lines_.size();
    sheet_->blocks_.push_back(std::move(block));
  }

  void add_line(std::uint32_t labels, Value value) {
    if (!value.blank()) sheet_->lines_.push_back({labels, value});
  }

  void close() {
    Sheet::Block& block = sheet_->blocks_.back();
    block.count = sheet_->lines_.size() - block.first;
    if (block.count == 0) return sheet_->blocks_.pop_back();
    sheet_->bytes_ += block.head.size();
    for (std::size_t i = block.first; i < sheet_->lines_.size(); ++i) {
      const Sheet::Line& line = sheet_->lines_[i];
      const bool is_real = line.value.kind() == Value::Kind::kReal;
      sheet_->bytes_ += block.name.size() + sheet_->labels_[line.labels].size() + 1 +
                        (is_real && line.value.real() > 1e15 ? kNumberRoom : 24);
    }
  }

  void add_block(std::size_t at) {
    const Counter& counter = counters_.values[at];
    open(counter);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (at >= readings_[i].values.size()) continue;
      add_lines(*counter.field, rows_[i], readings_[i].values[at]);
    }
    close();
  }

  void add_lines(const Field& field, Row& row, Value value) {
    if (field.source == Source::kXid && !value.blank()) {
      const Pairs attributes = {{"err_code", std::to_string(value.integer())},
                                {"err_msg", std::string(xid_text(value.integer()))}};
      for (const Variant& variant : row.variants) {
        add_line(add_text(row, variant, {}, attributes), value);
      }
      return;
    }
    const bool told_apart =
        options_.share_by_share && std::ranges::any_of(row.variants, [](const Variant& variant) {
          return variant.share != nullptr && variant.share->own;
        });
    if (!told_apart || !can_be_split(field, row.mig)) {
      for (std::uint32_t text : row.texts) add_line(text, value);
      return;
    }
    if (!row.plain) row.plain = add_text(row, {}, {}, {});
    add_line(*row.plain, value);
    std::vector<const Share*> shares;
    shares.reserve(row.variants.size());
    for (const Variant& variant : row.variants) shares.push_back(variant.share);
    const std::vector<Value> own = split(field, value, shares);
    for (std::size_t i = 0; i < own.size(); ++i) add_line(row.texts[i], own[i]);
  }

  void add_computed(std::size_t at) {
    open(counters_.computed[at]);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      for (const Reading::Extra& extra : readings_[i].extras) {
        if (extra.counter != at) continue;
        for (const Variant& variant : rows_[i].variants) {
          add_line(add_text(rows_[i], variant, extra.labels, {}), Value::integer(extra.value));
        }
      }
    }
    close();
  }

  const Counters& counters_;
  std::span<const Reading> readings_;
  const Attribution& attribution_;
  const Jobs& jobs_;
  const PageOptions& options_;
  std::vector<Row> rows_;
  std::shared_ptr<Sheet> sheet_;
};

void Sheet::print(std::string& out) const {
  out.reserve(out.size() + bytes_);
  for (const Block& block : blocks_) {
    out += block.head;
    for (std::size_t i = block.first; i < block.first + block.count; ++i) {
      out += block.name;
      out += labels_[lines_[i].labels];
      append_number(out, lines_[i].value);
      out += '\n';
    }
  }
}

SheetPtr make_sheet(const Counters& counters, std::span<const Reading> readings,
                    const Attribution& attribution, const Jobs& jobs, const PageOptions& options) {
  return SheetMaker(counters, readings, attribution, jobs, options).run();
}

std::string label_value(std::string_view text) {
  std::string out;
  for (char c : valid_utf8(text)) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

void append_number(std::string& out, const Value& value) {
  char room[kNumberRoom];
  std::to_chars_result done{room, std::errc()};
  if (value.kind() == Value::Kind::kReal) {
    done = std::to_chars(room, room + sizeof room, value.real(), std::chars_format::fixed, 6);
  } else {
    done = std::to_chars(room, room + sizeof room, value.integer());
  }
  if (done.ec == std::errc()) out.append(room, done.ptr);
}

std::string label_name(std::string_view key) {
  std::string out(key);
  for (char& c : out) {
    const bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!keep) c = '_';
  }
  // A name cannot begin with a digit; the original would write one that no scrape survives.
  if (!out.empty() && out[0] >= '0' && out[0] <= '9') out.insert(0, "_");
  return out;
}

}  // namespace kerf::exporter
