#include "labels/value.h"

#include <algorithm>

namespace kerf::labels {
namespace {

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_allowed(char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; }

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && !is_alphanumeric(text.front())) text.remove_prefix(1);
  while (!text.empty() && !is_alphanumeric(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string sanitise(std::string_view text) {
  std::string out;
  bool apart = false;  // a blank stood before what comes next
  for (char c : text) {
    if (is_blank(c)) {
      apart = true;
    } else if (is_allowed(c)) {
      if (apart && !out.empty()) out += '-';
      apart = false;
      out += c;
    }
  }
  return out;
}

std::string label_value(std::string_view text) { return product_value(text, ""); }

std::string product_value(std::string_view model, std::string_view ending) {
  std::string clean = sanitise(model);
  std::string_view head = trimmed(clean);
  head = head.substr(0, kMaxValue - std::min(kMaxValue, ending.size()));
  head = trimmed(head);
  if (head.empty()) return std::string(trimmed(ending));
  return std::string(head).append(ending);
}

}  // namespace kerf::labels
