// Brings labels to the API server, a request after the other. Knows what to ask for, not how it is
// carried: `Send` is kube::Client::request. Runs on the thread that answers come on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "kube/client.h"
#include "labels/labels.h"

namespace kerf::labels {

using Send = std::function<void(kube::Request, kube::Answer)>;
// True when something was written, false when all was there already.
using Done = std::function<void(Result<bool> wrote)>;

struct Target {
  std::string node;
  std::string name_space;
  std::string pod;           // "": nobody owns the NodeFeature
  bool node_itself = false;  // labels on the Node instead of a NodeFeature
};

// One target over its life; remembers only who owns the NodeFeature. Must not be destroyed while an
// answer to it may still come.
class Publisher {
 public:
  Publisher(Send send, Target target) : send_(std::move(send)), target_(std::move(target)) {}

  // Asks for the object and writes it if it says anything else. One at a time. Somebody else's
  // change in between (409) is read and tried again, a few times. kNotFound with a remedy when the
  // cluster has no NodeFeatures, or no such node.
  void put(const Labels& labels, Done done);

 private:
  void find_owners();
  void get();
  void create();
  void take(const Result<kube::Response>& current);
  void write(kube::Verb verb, std::string path, std::string body);
  void finish(Result<bool> outcome);

  Send send_;
  Target target_;
  bool owners_known_ = false;
  std::string owners_;
  Labels labels_;
  Done done_;
  int tries_ = 0;
};

}  // namespace kerf::labels
