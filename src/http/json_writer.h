// Writes JSON straight into a string: no tree in between, because a node with 1600 slices is asked
// for its status twice a second. The caller keeps the nesting right. Internal to the room.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>

#include "base/strings.h"

namespace kerf::http {

class JsonWriter {
 public:
  // Opens an object or array, as the document, an element or the value of `key`.
  JsonWriter& open(char bracket, std::string_view key = {}) {
    name(key);
    out_ += bracket;
    first_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_ += bracket;
    first_ = false;
    return *this;
  }
  JsonWriter& field(std::string_view key, std::string_view value) {
    name(key);
    out_ += json_quote(value);
    return *this;
  }
  JsonWriter& field(std::string_view key, const char* value) {
    return field(key, std::string_view(value));
  }
  JsonWriter& field(std::string_view key, bool value) {
    name(key);
    out_ += value ? "true" : "false";
    return *this;
  }
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  JsonWriter& field(std::string_view key, T value) {
    name(key);
    out_ += std::to_string(value);
    return *this;
  }
  // Null when there is none.
  template <typename T>
  JsonWriter& field(std::string_view key, const std::optional<T>& value) {
    if (value) return field(key, *value);
    name(key);
    out_ += "null";
    return *this;
  }
  // A value that is JSON already.
  JsonWriter& raw(std::string_view key, std::string_view json) {
    name(key);
    out_ += json;
    return *this;
  }
  JsonWriter& element(std::string_view value) { return field({}, value); }
  std::string take() && { return std::move(out_); }

 private:
  void name(std::string_view key) {
    if (!first_) out_ += ',';
    first_ = false;
    if (key.empty()) return;
    out_ += '"';
    out_ += key;
    out_ += "\":";
  }

  std::string out_;
  bool first_ = true;
};

}  // namespace kerf::http
