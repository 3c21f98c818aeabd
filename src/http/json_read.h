// Reading JSON that anybody may have sent: whatever is missing or of another type keeps its
// default. For .cc files only, the header below is heavy.
#pragma once

#include <optional>
#include <string>
#include <type_traits>

#include <nlohmann/json.hpp>

namespace kerf::http {

// True when `from` is an object with a value of that type at `key`; it is then in `to`.
template <typename T>
bool get(const nlohmann::json& from, const char* key, T& to) {
  const auto found = from.find(key);  // the end for what is no object
  if (found == from.end()) return false;
  const bool fits = std::is_same_v<T, std::string> ? found->is_string()
                    : std::is_same_v<T, bool>      ? found->is_boolean()
                    : std::is_floating_point_v<T>  ? found->is_number()
                    : std::is_unsigned_v<T>        ? found->is_number_unsigned()
                                                   : found->is_number_integer();
  if (fits) to = found->template get<T>();
  return fits;
}

template <typename T>
bool get(const nlohmann::json& from, const char* key, std::optional<T>& to) {
  T value{};
  if (!get(from, key, value)) return false;
  to = std::move(value);
  return true;
}

}  // namespace kerf::http
