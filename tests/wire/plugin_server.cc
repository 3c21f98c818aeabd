// A process that serves one resource through the kubelet room, as the product does: for tests that
// look at a process from outside. Prints "serving" and the number of cores that the C library tells
// it, then waits for SIGTERM.
//
//   plugin_server KUBELET_SOCKET
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include "kubelet/service.h"
#include "tests/wire/node.h"

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  asio::io_context loop;
  kerf::kubelet::Service::Options options;
  options.kubelet_socket = argv[1];
  kerf::kubelet::Service service(loop, options, kerf::wire::simple_answers);
  service.apply(kerf::wire::plan_of({kerf::wire::resource_of("example.com/gpu", "gpu", 8)}));
  asio::signal_set signals(loop, SIGTERM);
  signals.async_wait([&](std::error_code, int) {
    service.stop();
    loop.stop();
  });
  std::printf("serving cores=%ld\n", sysconf(_SC_NPROCESSORS_ONLN));
  std::fflush(stdout);
  loop.run();
  return 0;
}
