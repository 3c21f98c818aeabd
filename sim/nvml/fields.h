// Typed reading of a machine file's mappings. The first mistake is kept, with its line, and later
// reads do nothing, so that callers need not check each one.
#pragma once

#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#include "machine.h"
#include "yaml.h"

namespace nvmlsim {

class Report {
 public:
  Report(std::string path, std::string& error) : path_(std::move(path)), error_(error) {}
  bool failed() const { return !error_.empty(); }
  void fail(int line, const std::string& field, const std::string& what) {
    if (!error_.empty()) return;
    error_ = path_ + ":" + std::to_string(line) + ": " + (field.empty() ? "" : field + ": ") + what;
  }

 private:
  std::string path_;
  std::string& error_;
};

inline bool to_number(const std::string& text, double& out) {
  if (text.empty() || std::isspace(static_cast<unsigned char>(text[0]))) return false;
  char* end = nullptr;
  errno = 0;
  out = std::strtod(text.c_str(), &end);
  return *end == 0 && errno == 0 && out == out;
}

// A mapping with a second one behind it that fills its gaps. Keys that nobody asked for are errors.
class Fields {
 public:
  Fields(Report& report, std::string path, const YamlNode* own, const YamlNode* base)
      : report_(report), path_(std::move(path)), own_(mapping(own)), base_(mapping(base)) {}

  const YamlNode* get(const char* key) {
    known_.insert(key);
    const YamlNode* node = own_ ? own_->find(key) : nullptr;
    if (!node && base_) node = base_->find(key);
    return node && node->kind != YamlNode::Kind::kNull ? node : nullptr;
  }

  std::string path(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  int line() const { return own_ ? own_->line : base_ ? base_->line : 0; }
  Report& report() { return report_; }

  Fields sub(const char* key) {
    known_.insert(key);
    return Fields(report_, path(key), own_ ? own_->find(key) : nullptr,
                  base_ ? base_->find(key) : nullptr);
  }

  template <std::size_t N>
  void text(const char* key, char (&out)[N], bool required = false) {
    const YamlNode* node = get(key);
    if (!node) {
      if (required) report_.fail(line(), path(key), "is missing");
      return;
    }
    if (node->kind != YamlNode::Kind::kScalar)
      return report_.fail(node->line, path(key), "expected text");
    if (node->text.size() >= N)
      return report_.fail(node->line, path(key),
                          "is longer than " + std::to_string(N - 1) + " characters");
    std::snprintf(out, N, "%s", node->text.c_str());
  }

  void number(const char* key, uint32_t& out, double scale = 1, double most = 4e9) {
    const YamlNode* node = get(key);
    if (!node) return;
    double value = 0;
    if (node->kind != YamlNode::Kind::kScalar || !to_number(node->text, value))
      return report_.fail(node->line, path(key), "expected a number, got '" + node->text + "'");
    value *= scale;
    if (value < 0 || value > most)
      return report_.fail(node->line, path(key), "'" + node->text + "' is out of range");
    out = static_cast<uint32_t>(value + 0.5);
  }

  void flag(const char* key, uint32_t& out) {
    const YamlNode* node = get(key);
    if (!node) return;
    if (node->text == "true" || node->text == "yes") {
      out = 1;
    } else if (node->text == "false" || node->text == "no") {
      out = 0;
    } else {
      report_.fail(node->line, path(key), "expected true or false, got '" + node->text + "'");
    }
  }

  template <std::size_t N>
  void choice(const char* key, uint32_t& out, const std::pair<const char*, uint32_t> (&table)[N]) {
    const YamlNode* node = get(key);
    if (!node) return;
    std::string all;
    for (const auto& [name, value] : table) {
      if (node->text == name) {
        out = value;
        return;
      }
      all += std::string(all.empty() ? "" : ", ") + name;
    }
    report_.fail(node->line, path(key), "'" + node->text + "' is none of " + all);
  }

  void bus(const char* key, BusId& out, bool required) {
    const YamlNode* node = get(key);
    if (!node) {
      if (required) report_.fail(line(), path(key), "is missing");
      return;
    }
    if (!parse_bus_id(node->text, out))
      report_.fail(node->line, path(key),
                   "'" + node->text + "' is no PCI address like 0000:3B:00.0");
  }

  // vendor:device -> device << 16 | vendor
  void pci_id(const char* key, uint32_t& out) {
    const YamlNode* node = get(key);
    if (!node) return;
    unsigned vendor = 0, device = 0;
    char rest = 0;
    if (std::sscanf(node->text.c_str(), "%4x:%4x%c", &vendor, &device, &rest) != 2)
      return report_.fail(node->line, path(key), "'" + node->text + "' is no id like 10de:2204");
    out = device << 16 | vendor;
  }

  void finish() {
    for (const YamlNode* node : {own_, base_}) {
      if (!node) continue;
      for (const auto& [key, value] : node->entries)
        if (!known_.count(key)) report_.fail(value.line, path(key.c_str()), "unknown key");
    }
  }

 private:
  const YamlNode* mapping(const YamlNode* node) {
    if (!node || node->kind == YamlNode::Kind::kNull) return nullptr;
    if (node->kind == YamlNode::Kind::kMapping) return node;
    report_.fail(node->line, path_, "expected a mapping");
    return nullptr;
  }

  Report& report_;
  std::string path_;
  const YamlNode* own_;
  const YamlNode* base_;
  std::set<std::string> known_;
};

}  // namespace nvmlsim
