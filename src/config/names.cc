#include "config/names.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/strings.h"
#include "config/diagnostic.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

constexpr std::size_t kLongestName = 63;

bool is_lower_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// RFC 1123 label, as Kubernetes checks it.
bool is_label(std::string_view label) {
  if (label.empty()) return false;
  if (!is_lower_alphanumeric(label.front()) || !is_lower_alphanumeric(label.back())) return false;
  return std::all_of(label.begin(), label.end(),
                     [](char c) { return is_lower_alphanumeric(c) || c == '-'; });
}

bool is_subdomain(std::string_view text) {
  std::vector<std::string> labels = split(text, '.');
  return std::all_of(labels.begin(), labels.end(),
                     [](const std::string& l) { return is_label(l); });
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// 36 characters with dashes or 32 without; comes back in lower case with dashes.
std::optional<std::string> canonical_uuid(std::string_view text) {
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool dash_here = text.size() == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash_here != (text[i] == '-')) return {};
    if (dash_here) continue;
    if (!is_hex(text[i])) return {};
    digits += text[i];
  }
  if (digits.size() != 32) return {};
  for (std::size_t at : {8u, 13u, 18u, 23u}) digits.insert(at, 1, '-');
  return to_lower(digits);
}

std::optional<unsigned> small_number(std::string_view text) {
  std::optional<std::uint64_t> number = parse_u64(text);
  if (!number || *number > std::numeric_limits<unsigned>::max()) return {};
  return static_cast<unsigned>(*number);
}

std::optional<DeviceRef> index_ref(std::string_view text) {
  std::size_t colon = text.find(':');
  std::optional<unsigned> gpu = small_number(text.substr(0, colon));
  if (!gpu) return {};
  if (colon == std::string_view::npos) return ByIndex{*gpu, {}};
  std::optional<unsigned> mig = small_number(text.substr(colon + 1));
  if (!mig) return {};
  return ByIndex{*gpu, mig};
}

// The form drivers before 470 used: MIG-GPU-<uuid>/<gi>/<ci>.
std::optional<DeviceRef> legacy_mig_ref(std::string_view text) {
  std::vector<std::string> parts = split(text, '/');
  if (parts.size() != 3) return {};
  std::optional<std::string> uuid = canonical_uuid(parts[0]);
  std::optional<unsigned> gi = small_number(parts[1]);
  std::optional<unsigned> ci = small_number(parts[2]);
  if (!uuid || !gi || !ci) return {};
  return ByUuid{fmt::format("MIG-GPU-{}/{}/{}", *uuid, *gi, *ci)};
}

std::optional<unsigned> hex_number(std::string_view text, std::size_t shortest,
                                   std::size_t longest) {
  if (text.size() < shortest || text.size() > longest || !std::ranges::all_of(text, is_hex)) {
    return {};
  }
  return static_cast<unsigned>(std::stoul(std::string(text), nullptr, 16));
}

// [domain:]bus:device.function, as lspci and NVML write it.
std::optional<DeviceRef> pci_ref(std::string_view text) {
  std::size_t dot = text.rfind('.');
  if (dot == std::string_view::npos || dot + 2 != text.size()) return {};
  std::vector<std::string> parts = split(text.substr(0, dot), ':');
  if (parts.size() == 2) parts.insert(parts.begin(), "0000");
  if (parts.size() != 3) return {};
  std::optional<unsigned> domain = hex_number(parts[0], 4, 8);
  std::optional<unsigned> bus = hex_number(parts[1], 2, 2);
  std::optional<unsigned> device = hex_number(parts[2], 2, 2);
  std::optional<unsigned> function = hex_number(text.substr(dot + 1), 1, 1);
  if (!domain || !bus || !device || *device > 0x1f || !function || *function > 7) return {};
  return ByPci{fmt::format("{:04x}:{:02x}:{:02x}.{}", *domain, *bus, *device, *function)};
}

}  // namespace

Result<std::string> resource_name(std::string_view text) {
  std::string name(text);
  if (!text.starts_with(kResourcePrefix)) name.insert(0, kResourcePrefix);
  if (name.size() > kLongestName) {
    return fail(Kind::kInvalid,
                fmt::format("fully-qualified resource name must be {} characters or less: {}",
                            kLongestName, printable(name)),
                {}, "shorten the name");
  }
  if (!is_subdomain(std::string_view(name).substr(kResourcePrefix.size()))) {
    return fail(Kind::kInvalid,
                fmt::format("incorrect format for resource name '{}': [a lowercase RFC 1123 "
                            "subdomain must consist of lower case alphanumeric characters, '-' or "
                            "'.', and must start and end with an alphanumeric character]",
                            printable(name)),
                {}, "write it like nvidia.com/gpu or nvidia.com/mig-1g.10gb");
  }
  return name;
}

std::optional<DeviceRef> device_ref(std::string_view text) {
  if (text.starts_with("MIG-GPU-")) return legacy_mig_ref(text.substr(8));
  for (std::string_view prefix : {"GPU-", "MIG-"}) {
    if (!text.starts_with(prefix)) continue;
    std::optional<std::string> uuid = canonical_uuid(text.substr(prefix.size()));
    if (!uuid) return {};
    return ByUuid{std::string(prefix) + *uuid};
  }
  constexpr std::string_view kModel = "model:";
  if (text.starts_with(kModel)) {
    std::string_view pattern = trim(text.substr(kModel.size()));
    if (pattern.empty()) return {};
    return ByModel{std::string(pattern)};
  }
  if (std::optional<DeviceRef> pci = pci_ref(text)) return pci;
  return index_ref(text);
}

}  // namespace kerf::config
