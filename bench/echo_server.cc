// The floor that figures are compared with: the plainest gRPC C++ server there is, generated
// callback API on a unix socket, built and linked like the product.
//
//   echo_server SOCKET      prints "listening" when ready; ends on SIGTERM
#include <cstdio>
#include <memory>
#include <signal.h>
#include <string>

#include "proto/echo.grpc.pb.h"

#include <grpcpp/grpcpp.h>

namespace {

class Echo final : public echo::Echo::CallbackService {
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const echo::Message* request,
                                 echo::Message* reply) override {
    reply->set_payload(request->payload());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* Shorten(grpc::CallbackServerContext* context,
                                    const echo::Message* request, echo::Message* reply) override {
    reply->set_payload(request->payload().substr(0, request->keep()));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: echo_server SOCKET\n");
    return 2;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  Echo service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("unix:") + argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return 1;
  std::puts("listening");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&set, &signal);
  server->Shutdown();
  return 0;
}
