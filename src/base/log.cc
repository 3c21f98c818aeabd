#include "base/log.h"

#include <atomic>
#include <ctime>
#include <unistd.h>

#include "base/clock.h"
#include "base/strings.h"

namespace kerf::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<Format> g_format{Format::kLogfmt};

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
  }
  return "info";
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return true;
  }
  return false;
}

void append_logfmt(std::string& out, std::string_view key, std::string_view value) {
  if (!out.empty()) out += ' ';
  out.append(key);
  out += '=';
  if (needs_quotes(value)) {
    out += json_quote(value);
  } else {
    out.append(value);
  }
}

void append_json(std::string& out, std::string_view key, std::string_view value) {
  out += out.empty() ? '{' : ',';
  out += json_quote(key);
  out += ':';
  out += json_quote(value);
}

}  // namespace

Field::Field(std::string_view k, double v) : key(k), value(format_number(v)) {}

void set_format(Format format) { g_format = format; }
void set_level(Level level) { g_level = level; }
Level level() { return g_level; }

Result<Level> parse_level(std::string_view text) {
  for (Level l : {Level::kDebug, Level::kInfo, Level::kWarn, Level::kError}) {
    if (text == name_of(l)) return l;
  }
  return fail(Kind::kInvalid, "unknown log level", std::string(text),
              "use one of debug, info, warn, error");
}

Result<Format> parse_format(std::string_view text) {
  if (text == "logfmt") return Format::kLogfmt;
  if (text == "json") return Format::kJson;
  return fail(Kind::kInvalid, "unknown log format", std::string(text), "use logfmt or json");
}

std::string render(Format format, std::int64_t wall_ms, Level level, std::string_view room,
                   std::string_view message, Fields fields) {
  auto append = format == Format::kJson ? append_json : append_logfmt;
  std::string line;
  append(line, "ts", rfc3339_ms(wall_ms));
  append(line, "level", name_of(level));
  append(line, "room", room);
  append(line, "msg", message);
  for (const Field& field : fields) append(line, field.key, field.value);
  if (format == Format::kJson) line += '}';
  return line;
}

void write(Level level, std::string_view room, std::string_view message, Fields fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string line = render(g_format, system_clock().wall_ms(), level, room, message, fields);
  line += '\n';
  // A log that cannot be written has nowhere to complain to.
  [[maybe_unused]] auto ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

void error(std::string_view room, std::string_view message, const Error& error) {
  write(Level::kError, room, message,
        {{"err", error.what}, {"subject", error.subject}, {"hint", error.hint}});
}

void warn(std::string_view room, std::string_view message, const Error& error) {
  write(Level::kWarn, room, message,
        {{"err", error.what}, {"subject", error.subject}, {"hint", error.hint}});
}

}  // namespace kerf::log
