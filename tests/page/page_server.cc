// page_server STATE [PORT]: serves the page with a made-up node, for the browser test and for
// people who work on the page. Prints its port. States: see sample_nodes.h; "live" starts healthy
// and takes commands on stdin: "next" gives out one more slice, "break" loses GPU 1, "quit" ends.
#include <cstdio>
#include <iostream>
#include <string>
#include <unistd.h>

#include "http/server.h"
#include "http/site.h"
#include "metrics/agent_metrics.h"
#include "page/sample_nodes.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read_until.hpp>
#include <asio/streambuf.hpp>

namespace {

using kerf::metrics::NodeStatus;

void obey(const std::string& command, NodeStatus& node) {
  node.now_ms += 1000;
  if (command == "next") {
    for (std::size_t i = 0; i < node.gpus[1].slices.size(); ++i) {
      if (node.gpus[1].slices[i].use) continue;
      kerf::samples::use(node.gpus[1], i, "newcomer-" + std::to_string(i));
      break;
    }
  } else if (command == "break") {
    node.gpus[1].health = {false, "xid", "Xid 79: GPU has fallen off the bus", node.now_ms};
    for (auto& slice : node.gpus[1].slices) slice.healthy = false;
  }
  kerf::samples::count(node, 4);
}

void listen_to_stdin(asio::posix::stream_descriptor& input, asio::streambuf& buffer,
                     NodeStatus& node, kerf::http::Server& server) {
  asio::async_read_until(input, buffer, '\n', [&](const asio::error_code& error, std::size_t) {
    std::string line;
    std::istream stream(&buffer);
    if (error || !std::getline(stream, line) || line == "quit") return server.stop();
    obey(line, node);
    server.publish();
    listen_to_stdin(input, buffer, node, server);
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::string state = argc > 1 ? argv[1] : "healthy";
  std::string port = argc > 2 ? argv[2] : "0";
  NodeStatus node = kerf::samples::healthy();
  for (const auto& sample : kerf::samples::all()) {
    if (sample.name == state) node = sample.make();
  }
  asio::io_context loop;
  auto server = kerf::http::Server::listen(
      loop, "127.0.0.1:" + port,
      kerf::http::make_site(
          {[&] { return node; },
           [&] { return kerf::metrics::render(kerf::metrics::agent_metrics(node, {}, {})); }}));
  if (!server) {
    std::fprintf(stderr, "page_server: %s\n", server.error().text().c_str());
    return 1;
  }
  std::printf("%u\n", (*server)->port());
  std::fflush(stdout);
  asio::posix::stream_descriptor input(loop, dup(STDIN_FILENO));
  asio::streambuf buffer;
  listen_to_stdin(input, buffer, node, **server);
  loop.run();
}
