#include "http/page.h"

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/strings.h"
#include "http/page_assets.h"
#include "http/use_html.h"

namespace kerf::http {
namespace {

using namespace metrics;

// From this many slices of a GPU on they are small squares instead of labelled boxes.
constexpr std::size_t kManySlices = 17;

std::string number(std::uint64_t value) { return std::to_string(value); }

std::string plural(std::size_t count, std::string_view word) {
  return number(count) + ' ' + std::string(word) + (count == 1 ? "" : "s");
}

// "12:03:04 UTC", for today as well as for other days: the date is in the title.
std::string time_html(std::int64_t ms) {
  if (ms <= 0) return "<time>–</time>";
  std::string stamp = rfc3339_ms(ms);
  return "<time datetime=\"" + stamp + "\" title=\"" + stamp.substr(0, 10) + ' ' +
         stamp.substr(11, 8) + " UTC\">" + stamp.substr(11, 8) + "</time>";
}

// A duration since `ms` that the page's script keeps counting.
std::string since_html(std::int64_t ms, std::int64_t now) {
  if (ms <= 0) return "–";
  return "<span data-since=\"" + std::to_string(ms) + "\">" + duration_text(now - ms) + "</span>";
}

std::string badge(std::string_view kind, std::string_view text) {
  return "<span class=\"badge " + std::string(kind) + "\">" + html_escape(text) + "</span>";
}

std::string_view state_words(SliceState state) {
  switch (state) {
    case SliceState::kFree:
      return "free";
    case SliceState::kInUse:
      return "in use";
    case SliceState::kUnhealthy:
      return "unhealthy";
  }
  return "unhealthy";
}

std::string driver_html(const DriverStatus& driver) {
  if (driver.state != DriverState::kReady) {
    return "Driver <b>" + std::string(to_string(driver.state)) + "</b>";
  }
  std::string out = "Driver <b>" + html_escape(driver.version) + "</b>";
  if (!driver.cuda.empty()) out += " · CUDA <b>" + html_escape(driver.cuda) + "</b>";
  return out;
}

std::string top_html(const NodeStatus& node) {
  std::string name = node.node.empty() ? "This node" : html_escape(node.node);
  return "<div class=\"top\" data-now=\"" + std::to_string(node.now_ms) + "\"><h1>" + name +
         "</h1><p class=\"facts\"><span>" + driver_html(node.driver) + "</span><span>up " +
         since_html(node.started_ms, node.now_ms) + "</span><span>kerf " +
         html_escape(node.version) +
         "</span></p><p class=\"live\" id=\"live\" data-state=\"static\">as of " +
         rfc3339_ms(node.now_ms).substr(11, 8) + " UTC</p></div>";
}

std::string health_html(const std::vector<Problem>& problems) {
  std::string status(overall(problems));
  static const std::map<std::string, std::string, std::less<>> kWords = {
      {"ok", "Everything works"},
      {"waiting", "Waiting"},
      {"degraded", "Works in part"},
      {"failed", "Out of order"}};
  std::string out = "<div class=\"card health " + status + "\" role=\"status\">" +
                    badge(status, status) + "<p class=\"word\">" + kWords.at(status);
  if (status == "degraded" || status == "failed") out += ": " + plural(problems.size(), "problem");
  out += "</p>";
  if (!problems.empty()) {
    out += "<ul class=\"problems\">";
    for (const Problem& problem : problems) {
      out += "<li><p class=\"what\">" + html_escape(problem.what) + "</p>";
      if (!problem.subject.empty()) {
        out += "<p class=\"mono soft\">" + html_escape(problem.subject) + "</p>";
      }
      if (!problem.remedy.empty()) out += "<p>" + html_escape(problem.remedy) + "</p>";
      out += "</li>";
    }
    out += "</ul>";
  }
  return out + "</div>";
}

std::string figures_html(const NodeStatus& node) {
  std::size_t slices = 0, used = 0, free = 0, healthy_gpus = 0, registered = 0;
  for (const GpuStatus& gpu : node.gpus) {
    healthy_gpus += gpu.health.ok ? 1 : 0;
    slices += gpu.slices.size();
    used += gpu.in_use();
    for (const SliceStatus& slice : gpu.slices) free += slice.state() == SliceState::kFree ? 1 : 0;
  }
  for (const ResourceStatus& resource : node.resources) registered += resource.registered ? 1 : 0;
  auto figure = [](std::string_view name, std::size_t value, std::string_view rest) {
    return "<div class=\"card\"><dt>" + std::string(name) + "</dt><dd>" + number(value) +
           " <small>" + std::string(rest) + "</small></dd></div>";
  };
  return "<dl class=\"figures\">" +
         figure("GPUs", node.gpus.size(),
                healthy_gpus == node.gpus.size() ? "" : number(healthy_gpus) + " healthy") +
         figure("Slices in use", used, "of " + number(slices)) + figure("Slices free", free, "") +
         figure("Resources registered", registered, "of " + number(node.resources.size())) +
         "</dl>";
}

std::string slice_html(const SliceStatus& slice, std::size_t position, bool many,
                       std::int64_t now) {
  std::string state(to_string(slice.state()));
  std::string words(state_words(slice.state()));
  std::string owner = slice.use ? html_escape(owner_text(*slice.use)) : "";
  std::string label = "slice " + number(position) + ", " + words;
  if (slice.use) label += ", " + owner;
  // Twenty columns of squares: those in the right half open their tip to the left.
  bool right = many && position % 20 >= 10;
  std::string out = "<li class=\"slice " + state + (right ? " right" : "") + "\" tabindex=\"" +
                    (many ? "-1" : "0") + "\" aria-label=\"" + label + "\">";
  if (!many) {
    std::string who =
        slice.use ? (slice.use->pod.empty() ? "in use" : html_escape(slice.use->pod)) : words;
    out += "<span class=\"who\">" + who + "</span><span>" + number(position) +
           (slice.use ? " · " + since_html(slice.use->since_ms, now) : "") + "</span>";
  }
  out += "<span class=\"tip\">" + words;
  if (slice.use) out += " – " + owner;
  return out + "<br><span class=\"mono\">" + html_escape(slice.id) + "</span></span></li>";
}

// The slices of a GPU, or of one of its MIG devices.
std::string group_html(const std::vector<const SliceStatus*>& slices, const std::string& title,
                       std::int64_t now) {
  std::size_t used = 0;
  for (const SliceStatus* slice : slices) used += slice->use ? 1 : 0;
  bool many = slices.size() >= kManySlices;
  std::string out = "<div class=\"group\"><p class=\"label\"><span>" + title + "</span><span>" +
                    number(used) + " of " + number(slices.size()) +
                    " in use</span></p><ol class=\"" + (many ? "slices many" : "slices") +
                    "\" aria-label=\"Slices\">";
  for (std::size_t i = 0; i < slices.size(); ++i) out += slice_html(*slices[i], i, many, now);
  return out + "</ol></div>";
}

std::string groups_html(const GpuStatus& gpu, std::int64_t now) {
  if (gpu.slices.empty()) return "<p class=\"soft\">not advertised to the kubelet</p>";
  std::vector<const SliceStatus*> whole;
  std::map<std::string, std::vector<const SliceStatus*>> by_mig;
  for (const SliceStatus& slice : gpu.slices) {
    (slice.mig.empty() ? whole : by_mig[slice.mig]).push_back(&slice);
  }
  std::string out;
  if (!whole.empty()) out += group_html(whole, html_escape(whole[0]->resource), now);
  for (const MigStatus& mig : gpu.mig_devices) {
    auto found = by_mig.find(mig.uuid);
    if (found == by_mig.end()) continue;
    std::string title = "MIG " + html_escape(mig.profile) + " · " + memory_text(mig.memory_mib);
    if (!mig.health.ok) title += ' ' + badge("unhealthy", "unhealthy: " + mig.health.reason);
    out += group_html(found->second, title, now);
  }
  return out;
}

// What a pointer shows as tips, for everybody else.
std::string holders_html(const GpuStatus& gpu, std::int64_t now) {
  std::string list;
  std::size_t count = 0;
  std::map<std::string, std::size_t> positions;  // counted as the boxes above are
  for (const SliceStatus& slice : gpu.slices) {
    std::size_t position = positions[slice.mig]++;
    if (!slice.use) continue;
    ++count;
    list += "<li>" + html_escape(owner_text(*slice.use)) + " <span class=\"soft\">· " +
            html_escape(slice.resource) + " slice " + number(position) + " · " +
            since_html(slice.use->since_ms, now) +
            (slice.use->source == UseSource::kAllocate ? " · given out, not known to be returned"
                                                       : "") +
            "</span></li>";
  }
  if (count == 0) return {};
  return "<details><summary>Who holds " + plural(count, "slice") + "</summary><ul>" + list +
         "</ul></details>";
}

std::string gpu_html(const GpuStatus& gpu, std::int64_t now) {
  bool ok = gpu.health.ok;
  std::string id = "gpu-" + number(gpu.index);
  std::string out = "<article class=\"card gpu" + std::string(ok ? "" : " unhealthy") +
                    "\" aria-labelledby=\"" + id + "\"><header><h3 id=\"" + id + "\"><span>GPU " +
                    number(gpu.index) + "</span> " + html_escape(gpu.name) + "</h3>" +
                    badge(ok ? "ok" : "unhealthy", ok ? "healthy" : "unhealthy") + "</header>";
  if (!ok) {
    std::string why = gpu.health.detail.empty() ? gpu.health.reason : gpu.health.detail;
    out += "<p class=\"why\">" + html_escape(why) + ", for " +
           since_html(gpu.health.since_ms, now) + "</p>";
  }
  out += groups_html(gpu, now);
  if (gpu.use) out += use_html(*gpu.use);
  out += "<dl><dt>Memory</dt><dd>" +
         (gpu.memory_mib ? memory_text(*gpu.memory_mib) : "shared with the system") +
         "</dd><dt>NUMA</dt><dd>" +
         (gpu.numa_node ? "node " + std::to_string(*gpu.numa_node) : "–") +
         "</dd><dt>PCI</dt><dd class=\"wide\"><code>" + html_escape(gpu.pci) +
         "</code></dd><dt>UUID</dt><dd class=\"wide\"><code>" + html_escape(gpu.uuid) +
         "</code></dd></dl>";
  return out + holders_html(gpu, now) + "</article>";
}

std::string gpus_html(const NodeStatus& node) {
  std::string out = "<section><h2>GPUs</h2>";
  if (node.gpus.empty()) {
    return out +
           "<p class=\"card empty\">No GPU yet. When the driver shows one, it appears here "
           "by itself.</p></section>";
  }
  out += "<div class=\"gpus\">";
  for (const GpuStatus& gpu : node.gpus) out += gpu_html(gpu, node.now_ms);
  return out +
         "</div><p class=\"legend\" aria-hidden=\"true\"><span><i class=\"slice free\"></i>free"
         "</span><span><i class=\"slice in_use\"></i>in use</span><span><i class=\"slice "
         "unhealthy\"></i>unhealthy</span></p></section>";
}

std::string resource_row(const ResourceStatus& resource, std::int64_t now) {
  std::string sharing = html_escape(resource.sharing);
  if (resource.replicas > 1) sharing += " × " + number(resource.replicas);
  std::string state = resource.registered
                          ? badge("ok", "registered") + " <span class=\"soft\">for " +
                                since_html(resource.registered_since_ms, now) + "</span>"
                          : badge("degraded", "not registered");
  if (!resource.last_error.empty()) {
    state += "<div class=\"error\">" + html_escape(resource.last_error) + "</div>";
  }
  return "<tr><td><code>" + html_escape(resource.name) + "</code></td><td class=\"number\">" +
         number(resource.total) + "</td><td class=\"number\">" + number(resource.healthy) +
         "</td><td class=\"number\">" + number(resource.in_use) + "</td><td>" + sharing +
         "</td><td>" + state + "</td><td><code>" + html_escape(resource.socket) +
         "</code></td></tr>";
}

std::string resources_html(const NodeStatus& node) {
  std::string out = "<section><h2>Resources</h2><div class=\"card scroll\">";
  if (node.resources.empty()) {
    return out + "<p class=\"empty\">Nothing is advertised to the kubelet.</p></div></section>";
  }
  out +=
      "<table><thead><tr><th scope=\"col\">Resource</th><th scope=\"col\" class=\"number\">Devices"
      "</th><th scope=\"col\" class=\"number\">Healthy</th><th scope=\"col\" class=\"number\">In "
      "use</th><th scope=\"col\">Sharing</th><th scope=\"col\">Kubelet</th><th scope=\"col\">Socket"
      "</th></tr></thead><tbody>";
  for (const ResourceStatus& resource : node.resources) out += resource_row(resource, node.now_ms);
  return out + "</tbody></table></div></section>";
}

std::string events_html(const NodeStatus& node) {
  std::string out = "<section><h2>Last events <span class=\"soft\">(UTC)</span></h2>";
  if (node.events.empty()) return out + "<p class=\"card empty\">None yet.</p></section>";
  out += "<ol class=\"card events\" tabindex=\"0\" aria-label=\"Last events, newest first\">";
  for (auto event = node.events.rbegin(); event != node.events.rend(); ++event) {
    std::string mark;
    if (event->level != EventLevel::kInfo) {
      mark =
          badge(to_string(event->level), event->level == EventLevel::kWarn ? "warning" : "error");
    }
    out +=
        "<li>" + time_html(event->time_ms) + "<p>" + mark + html_escape(event->text) + "</p></li>";
  }
  return out + "</ol></section>";
}

std::string config_html(const NodeStatus& node) {
  const ConfigStatus& config = node.config;
  std::string out = "<section><h2>Configuration</h2><div class=\"card config\"><p><code>" +
                    html_escape(config.source) + "</code> <span class=\"soft\">in force for " +
                    since_html(config.last_reload_ms, node.now_ms) + "</span></p>";
  if (!config.last_error.empty()) {
    out += "<p class=\"error\">Refused: " + html_escape(config.last_error) + "</p>";
  }
  for (const std::string& warning : config.warnings) {
    out += "<p class=\"warning\">" + html_escape(warning) + "</p>";
  }
  return out + "</div></section>";
}

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  for (char c : valid_utf8(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Other control characters are not allowed in HTML.
        if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
          out += "\xef\xbf\xbd";
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::string duration_text(std::int64_t ms) {
  std::int64_t s = std::max<std::int64_t>(0, ms / 1000);
  auto text = [](std::int64_t value, const char* unit) { return std::to_string(value) + unit; };
  if (s < 60) return text(s, " s");
  if (s < 3600) return text(s / 60, " min");
  if (s < 86400) return text(s / 3600, " h ") + text(s / 60 % 60, " min");
  return text(s / 86400, " d ") + text(s / 3600 % 24, " h");
}

std::string memory_text(std::uint64_t mib) {
  if (mib < 1024) return number(mib) + " MiB";
  std::uint64_t tenths = (mib * 10 + 512) / 1024;
  std::string out = number(tenths / 10);
  if (tenths % 10 != 0) out += '.' + number(tenths % 10);
  return out + " GiB";
}

std::string render_main(const NodeStatus& node) {
  auto problems = problems_of(node);
  return top_html(node) + health_html(problems) + figures_html(node) + gpus_html(node) +
         resources_html(node) + "<div class=\"two\">" + events_html(node) + config_html(node) +
         "</div><footer><a href=\"health\">/health</a><a href=\"metrics\">/metrics</a>"
         "<a href=\"api/status\">/api/status</a></footer>";
}

std::string render_page(const NodeStatus& node, std::string_view nonce) {
  std::string mark = " nonce=\"" + html_escape(nonce) + "\">";
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>";
  out += html_escape(node.node.empty() ? "kerf" : node.node + " – kerf");
  out +=
      "</title>\n<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n<style" + mark;
  out += kPageCss;
  out += "</style>\n</head>\n<body>\n<main>";
  out += render_main(node);
  out += "</main>\n<script" + mark;
  out += kPageJs;
  return out + "</script>\n</body>\n</html>\n";
}

}  // namespace kerf::http
