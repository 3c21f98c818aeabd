#include "health/memory.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/strings.h"

namespace kerf::health {
namespace {

constexpr std::string_view kName = "kerf-health";
constexpr std::string_view kFormat = "1";

void add_line(std::string& out, std::initializer_list<std::string_view> fields) {
  bool first = true;
  for (std::string_view field : fields) {
    if (!std::exchange(first, false)) out += '\t';
    for (char c : field) {
      const auto byte = static_cast<unsigned char>(c);
      out += byte < 0x20 || byte == 0x7f ? ' ' : c;
    }
  }
  out += '\n';
}

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const std::optional<std::uint64_t> value = parse_u64(text);
  if (!value || std::cmp_greater(*value, std::numeric_limits<Number>::max())) return false;
  out = static_cast<Number>(*value);
  return true;
}

using Fields = std::span<const std::string>;

bool read_mark(Fields f, Memory& memory) {
  Memory::Mark mark{f[0], f[1], 0, 0, f[4], f[5]};
  if (mark.device.empty() || mark.word.empty()) return false;
  if (!read_number(f[2], mark.since_ms) || !read_number(f[3], mark.xid)) return false;
  memory.marks.push_back(std::move(mark));
  return true;
}

bool read_gpu(Fields f, Memory& memory) {
  Memory::Gpu gpu;
  gpu.uuid = f[0];
  std::uint64_t errors = 0;
  if (f[1] != "-") {
    if (!read_number(f[1], errors)) return false;
    gpu.uncorrectable = errors;
  }
  gpu.wants_recovery = f[2] == "1";
  if (gpu.uuid.empty() || (!gpu.wants_recovery && f[2] != "0")) return false;
  memory.gpus.push_back(std::move(gpu));
  return true;
}

// Of the GPU in the line before.
bool read_link(Fields f, Memory& memory) {
  unsigned link = 0;
  if (memory.gpus.empty() || !read_number(f[0], link)) return false;
  return memory.gpus.back().links.emplace(link, f[1]).second;
}

bool read_recovery(Fields f, Memory& memory) {
  Memory::Recovery recovery;
  recovery.device = f[0];
  if (recovery.device.empty()) return false;
  if (!read_number(f[1], recovery.at_ms) || !read_number(f[2], recovery.quiet_ms) ||
      !read_number(f[3], recovery.losses)) {
    return false;
  }
  memory.recoveries.push_back(std::move(recovery));
  return true;
}

bool read_boot(Fields f, Memory& memory) {
  memory.epoch.boot = f[0];
  return !f[0].empty();
}

bool read_driver(Fields f, Memory& memory) {
  memory.epoch.driver = f[0];
  memory.epoch.load = f[1];
  return true;
}

struct Line {
  std::string_view name;
  std::size_t fields;  // after the name
  bool (*read)(Fields, Memory&);
};
constexpr Line kLines[] = {
    {"boot", 1, read_boot}, {"driver", 2, read_driver}, {"mark", 6, read_mark},
    {"gpu", 3, read_gpu},   {"link", 2, read_link},     {"recovery", 4, read_recovery},
};

bool read_line(const std::vector<std::string>& fields, Memory& memory) {
  const auto* line = std::ranges::find(kLines, std::string_view(fields.front()), &Line::name);
  if (line == std::end(kLines) || fields.size() != line->fields + 1) return false;
  return line->read(std::span(fields).subspan(1), memory);
}

}  // namespace

std::string to_text(const Memory& memory) {
  std::string out;
  add_line(out, {kName, kFormat});
  add_line(out, {"boot", memory.epoch.boot});
  add_line(out, {"driver", memory.epoch.driver, memory.epoch.load});
  for (const Memory::Mark& mark : memory.marks) {
    add_line(out, {"mark", mark.device, mark.reason, std::to_string(mark.since_ms),
                   std::to_string(mark.xid), mark.word, mark.detail});
  }
  for (const Memory::Gpu& gpu : memory.gpus) {
    const std::string errors = gpu.uncorrectable ? std::to_string(*gpu.uncorrectable) : "-";
    add_line(out, {"gpu", gpu.uuid, errors, gpu.wants_recovery ? "1" : "0"});
    for (const auto& [link, remote] : gpu.links) {
      add_line(out, {"link", std::to_string(link), remote});
    }
  }
  for (const Memory::Recovery& recovery : memory.recoveries) {
    add_line(out, {"recovery", recovery.device, std::to_string(recovery.at_ms),
                   std::to_string(recovery.quiet_ms), std::to_string(recovery.losses)});
  }
  add_line(out, {"end"});
  return out;
}

Result<Memory> memory_from_text(std::string_view text, const std::string& path) {
  const auto broken = [&](std::size_t line, std::string what) {
    return fail(Kind::kCorrupt, std::move(what), path + ":" + std::to_string(line));
  };
  const std::vector<std::string> lines = split(text, '\n');
  const std::vector<std::string> head = split(lines.front(), '\t');
  if (head.front() != kName || head.size() != 2) {
    return broken(1, "this is not what kerf remembers of GPUs");
  }
  if (head[1] != kFormat) {
    return fail(Kind::kUnsupported, "another release of kerf wrote this, in format " + head[1],
                path + ":1");
  }
  Memory memory;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i] == "end") {
      // What follows is the empty rest behind the last line feed.
      if (i + 2 != lines.size() || !lines[i + 1].empty())
        return broken(i + 2, "text after the end");
      return memory;
    }
    if (!read_line(split(lines[i], '\t'), memory)) return broken(i + 1, "the line makes no sense");
  }
  return broken(lines.size(), "the end is missing");
}

}  // namespace kerf::health
