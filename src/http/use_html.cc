#include "http/use_html.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string_view>

#include "http/page.h"

namespace kerf::http {
namespace {

using metrics::GpuUse;
using metrics::PodUse;
using metrics::Series;

constexpr double kHeight = 28;
// As many points as a chart is wide, whatever is known so far: the newest is at its right edge.
constexpr std::size_t kPoints = 120;
// The greatest users; all of them are in /metrics and /api/status.
constexpr std::size_t kMostPods = 8;

std::string fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string percent(double ratio) { return fixed(ratio * 100, 0) + " %"; }

struct Chart {
  std::string_view title;
  std::string now;  // with its unit; empty when unknown
  double low = 0;
  double high = 1;
  const Series& series;
};

// One line for each run of known points, so that gaps are gaps.
std::string lines(const Chart& chart) {
  std::string out;
  std::string points;
  std::size_t in_run = 0;
  auto end_run = [&] {
    if (in_run == 1) points += ' ' + points;  // a line of one point needs two
    if (in_run > 0) out += "<polyline points=\"" + points + "\"/>";
    points.clear();
    in_run = 0;
  };
  const std::size_t count = std::min(chart.series.size(), kPoints);
  const std::size_t first = chart.series.size() - count;
  for (std::size_t i = 0; i < count; ++i) {
    const std::optional<double>& value = chart.series[first + i];
    if (!value) {
      end_run();
      continue;
    }
    const double part =
        std::clamp((*value - chart.low) / std::max(chart.high - chart.low, 1e-9), 0.0, 1.0);
    if (in_run++ > 0) points += ' ';
    points += std::to_string(kPoints - count + i) + ',' + fixed((1 - part) * (kHeight - 2) + 1, 1);
  }
  end_run();
  return out;
}

std::string chart_html(const Chart& chart) {
  if (chart.now.empty() &&
      std::ranges::none_of(chart.series, [](auto& v) { return v.has_value(); })) {
    return {};
  }
  const std::string title(chart.title);
  const std::string now = chart.now.empty() ? "–" : chart.now;
  return "<figure class=\"spark\"><figcaption><span>" + title + "</span> <b>" + now +
         "</b></figcaption><svg viewBox=\"0 0 " + std::to_string(kPoints - 1) + ' ' +
         fixed(kHeight, 0) + "\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"" + title +
         " of late, now " + now + "\">" + lines(chart) + "</svg></figure>";
}

double greatest(const Series& series, double least) {
  for (const auto& value : series) least = std::max(least, value.value_or(0));
  return least;
}

std::string pod_html(const PodUse& pod) {
  std::string name = "<span class=\"soft\">" + html_escape(pod.pod_namespace) + "/</span><wbr>" +
                     html_escape(pod.pod);
  if (!pod.container.empty())
    name += " <span class=\"soft\">(" + html_escape(pod.container) + ")</span>";
  std::string memory = bytes_text(pod.memory_bytes);
  if (pod.limit_bytes)
    memory += " <span class=\"soft\">of " + bytes_text(*pod.limit_bytes) + "</span>";
  if (pod.over_limit) memory += " <span class=\"badge warn\">above its share</span>";
  return "<tr><th scope=\"row\">" + name + "</th><td class=\"number\">" + memory +
         "</td><td class=\"number\">" + (pod.busy_ratio ? percent(*pod.busy_ratio) : "–") +
         "</td><td class=\"number\">" +
         (pod.power_watts ? fixed(*pod.power_watts, 0) + " W" : "–") + "</td></tr>";
}

std::string rest_html(std::string_view who, std::uint64_t bytes) {
  if (bytes == 0) return {};
  return "<tr class=\"soft\"><th scope=\"row\">" + std::string(who) + "</th><td class=\"number\">" +
         bytes_text(bytes) + "</td><td></td><td></td></tr>";
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / 0x1p20;
  return mib < 1000 ? fixed(mib, 0) + " MiB" : fixed(mib / 1024, 1) + " GiB";
}

std::string use_html(const GpuUse& use) {
  std::string out = "<div class=\"sparks\">";
  out +=
      chart_html({"Utilisation", use.busy_ratio ? percent(*use.busy_ratio) : "", 0, 1, use.busy});
  out += chart_html({"Power", use.power_watts ? fixed(*use.power_watts, 0) + " W" : "", 0,
                     greatest(use.power, 1) * 1.1, use.power});
  out += chart_html({"Temperature",
                     use.temperature_celsius ? fixed(*use.temperature_celsius, 0) + " °C" : "", 20,
                     greatest(use.temperature, 90), use.temperature});
  out += "</div>";
  const std::string rest = rest_html("processes outside of pods", use.memory_host_bytes) +
                           rest_html("no process", use.memory_other_bytes);
  if (use.pods.empty() && rest.empty()) return out;
  out +=
      "<table class=\"pods\"><thead><tr><th scope=\"col\">Pod</th><th scope=\"col\" "
      "class=\"number\">Memory</th><th scope=\"col\" class=\"number\">Busy</th><th scope=\"col\" "
      "class=\"number\">Power</th></tr></thead><tbody>";
  for (std::size_t i = 0; i < std::min(use.pods.size(), kMostPods); ++i)
    out += pod_html(use.pods[i]);
  if (use.pods.size() > kMostPods) {
    out += "<tr class=\"soft\"><th scope=\"row\">and " +
           std::to_string(use.pods.size() - kMostPods) +
           " more</th><td></td><td></td><td></td></tr>";
  }
  return out + rest + "</tbody></table>";
}

}  // namespace kerf::http
