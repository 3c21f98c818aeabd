#include "nvml/thread.h"

#include <csignal>
#include <memory>
#include <pthread.h>

namespace kerf::nvml {

namespace {

struct Start {
  std::string name;
  std::function<void()> body;
};

void* run_body(void* argument) {
  std::unique_ptr<Start> start(static_cast<Start*>(argument));
  pthread_setname_np(pthread_self(), start->name.c_str());
  start->body();
  return nullptr;
}

}  // namespace

Status start_detached(const std::string& name, std::function<void()> body) {
  auto start = std::make_unique<Start>(Start{name.substr(0, 15), std::move(body)});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // The new thread inherits the mask, so there is no moment at which it could take a signal.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, run_body, start.get());
  if (error == 0) static_cast<void>(start.release());  // run_body owns it now
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    return fail_errno("cannot start thread", name, error, "is the process limit too low?");
  }
  return {};
}

}  // namespace kerf::nvml
