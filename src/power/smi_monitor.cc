// nvidia-smi dmon: a line a GPU and turn, of figures in columns.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "power/smi.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

struct Column {
  char group;
  std::string_view name;
  std::string_view unit;
  std::string_view field;  // of --query-gpu; empty: nothing tells it
};

constexpr std::array<Column, 11> kMonitored{{
    {'p', "pwr", "W", "power.draw"},
    {'p', "gtemp", "C", "temperature.gpu"},
    {'p', "mtemp", "C", "temperature.memory"},
    {'u', "sm", "%", "utilization.gpu"},
    {'u', "mem", "%", "utilization.memory"},
    {'u', "enc", "%", "utilization.encoder"},
    {'u', "dec", "%", "utilization.decoder"},
    {'u', "jpg", "%", ""},
    {'u', "ofa", "%", ""},
    {'c', "mclk", "MHz", "clocks.current.memory"},
    {'c', "pclk", "MHz", "clocks.current.graphics"},
}};

// A whole number, or a dash where there is none.
std::string shown(const SmiGpu& gpu, std::string_view name) {
  for (const SmiField& field : smi_fields()) {
    if (field.name != name) continue;
    const std::string value = field.value(gpu);
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (end == value.c_str() || *end != '\0') return "-";
    return std::to_string(std::llround(number));
  }
  return "-";
}

}  // namespace

bool is_smi_group(char group) {
  return std::ranges::find(kMonitored, group, &Column::group) != kMonitored.end();
}

std::string smi_monitor_head(std::string_view groups) {
  std::string names = "# gpu";
  std::string units = "# Idx";
  for (const Column& column : kMonitored) {
    if (groups.find(column.group) == std::string_view::npos) continue;
    names += fmt::format("{:>7}", column.name);
    units += fmt::format("{:>7}", column.unit);
  }
  return names + " \n" + units + " \n";
}

std::string smi_monitor_line(const SmiGpu& gpu, std::string_view groups) {
  std::string out = fmt::format("{:>5}", gpu.index);
  for (const Column& column : kMonitored) {
    if (groups.find(column.group) == std::string_view::npos) continue;
    out += fmt::format("{:>7}", shown(gpu, column.field));
  }
  return out + " \n";
}

}  // namespace kerf::power
