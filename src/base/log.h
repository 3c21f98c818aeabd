// One line per fact, on stderr: logfmt by default, JSON on request. Messages are constant, values
// go into fields, so that lines can be grepped and parsed. No secrets.
//
//   log::info("kubelet", "registered", {{"resource", name}, {"devices", n}});
//   ts=2026-01-02T03:04:05.678Z level=info room=kubelet msg=registered resource=nvidia.com/gpu …
//
// error: a person must act. warn: degraded but handled. info: state changed (none in steady state).
// debug: decisions. Safe from any thread; a line is written with one write(2).
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kerf::log {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kLogfmt, kJson };

struct Field {
  std::string_view key;
  std::string value;

  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
  Field(std::string_view k, double v);
};

using Fields = std::initializer_list<Field>;

// Set once in main before the first thread; later changes of the level are allowed at any time.
void set_format(Format format);
void set_level(Level level);
Level level();
// "debug", "info", "warn", "error"; anything else is an error that lists them.
Result<Level> parse_level(std::string_view text);
// "logfmt", "json".
Result<Format> parse_format(std::string_view text);

void write(Level level, std::string_view room, std::string_view message, Fields fields = {});
// The line without writing it, for tests. `wall_ms` is milliseconds since the epoch.
std::string render(Format format, std::int64_t wall_ms, Level level, std::string_view room,
                   std::string_view message, Fields fields);

inline void debug(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::kDebug, room, message, fields);
}
inline void info(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::kInfo, room, message, fields);
}
inline void warn(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::kWarn, room, message, fields);
}
inline void error(std::string_view room, std::string_view message, Fields fields = {}) {
  write(Level::kError, room, message, fields);
}
// Logs an Error with its parts as fields: err, subject, hint, code.
void error(std::string_view room, std::string_view message, const Error& error);
void warn(std::string_view room, std::string_view message, const Error& error);

}  // namespace kerf::log
