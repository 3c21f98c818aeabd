// What the agent's memory is with the exporter on, and pods on every share of eight GPUs whose use
// is told apart.
#include <arpa/inet.h>
#include <cstdint>
#include <sys/socket.h>

#include "agent_node.h"

namespace bench {
namespace {

// A process on every share of every GPU, in a pod of its own, where the agent finds it.
void occupy(const Arguments& arguments, Node& node, const std::string& root) {
  constexpr int kPods = 80;
  const auto environment = node.environment();
  for (int pod = 0; pod < kPods; ++pod) {
    const auto made =
        node.kubelet->create_pod("inference-7c9d6f5b8-" + std::to_string(pod), "nvidia.com/gpu", 1);
    const std::string& id = made.ids.empty() ? std::string() : made.ids.front();
    char uid[40];
    std::snprintf(uid, sizeof uid, "%08x-1111-4222-8333-444444444444", pod);
    char container[65];
    std::snprintf(container, sizeof container, "%064x", pod);
    const std::string pid = std::to_string(10'000 + pod);
    const std::string process = root + "/proc/" + pid;
    fs::create_directories(process);
    std::ofstream(process + "/stat")
        << pid << " (server) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7 0\n";
    std::ofstream(process + "/cgroup")
        << "0::/kubepods/burstable/pod" << uid << '/' << container << '\n';
    fs::create_directories(root + "/var/log/pods/default_" + made.name + '_' + uid);
    fs::create_directories(root + "/var/log/containers");
    std::ofstream(root + "/var/log/containers/" + made.name + "_default_main-" + container +
                  ".log");
    // The GPU is named as in the plugin's id, without the number of the share.
    Process({arguments["tool"], "process", "add", "--gpu", id.substr(0, id.find("::")), "--pid",
             pid, "--mem", "1000", "--sm", "5"},
            environment, node.directory + "/tool.log")
        .wait();
  }
}

std::string scrape(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string text;
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    const std::string request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    static_cast<void>(!write(fd, request.data(), request.size()));
    char room[1 << 16];
    for (ssize_t got = 0; (got = read(fd, room, sizeof room)) > 0;) {
      text.append(room, static_cast<std::size_t>(got));
    }
  }
  close(fd);
  return text;
}

// Pods whose memory is the exporter's own finding: what their processes were given.
int told_apart(const std::string& text) {
  int found = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("DCGM_FI_DEV_FB_USED{") && line.ends_with("} 1000")) ++found;
  }
  return found;
}

}  // namespace

// Plugin, pages and exporter in one process, with a pod on every share whose use is told apart.
void measure_exporter(const Arguments& arguments) {
  if (arguments["tool"].empty()) return;
  Node node(arguments, "h200x8-hgx.yaml", 10);
  const std::string root = node.directory + "/root";
  fs::create_directories(root + "/proc");
  auto agent = node.agent(
      true, {"--components=devices,http,exporter,usage", "--exporter-address=127.0.0.1:0",
             "--exporter-kubernetes=true", "--exporter-kubernetes-virtual-gpus=true",
             "--exporter-collect-interval=1000", "--root=" + root,
             "--pod-resources-socket=" + node.directory + "/pods.sock"});
  if (!node.ready()) node.fail();
  const std::string address = node.logged("msg=\"serving metrics\" address=").substr(0, 15);
  auto tell = [&](const char* when) {
    row(when, static_cast<double>(agent->status("VmRSS")) / 1024, 0, "MB", "<= 16 MB");
  };
  std::this_thread::sleep_for(std::chrono::seconds(2));
  tell("RSS with exporter and usage, no pods");
  occupy(arguments, node, root);
  std::this_thread::sleep_for(std::chrono::seconds(12));
  tell("  with 80 pods");
  const std::string text = scrape(address);
  for (int i = 0; i < 200; ++i) scrape(address);
  tell("  after 200 scrapes");
  row("  pods told apart", told_apart(text), 0, "", "80");
  row("  of it anonymous", static_cast<double>(agent->status("RssAnon")) / 1024, 0, "MB", "");
  row("  threads", static_cast<double>(agent->status("Threads")), 0, "", "bounded");
  row("  bytes of a scrape", static_cast<double>(text.size()) / 1000, 0, "kB", "");
}

}  // namespace bench
