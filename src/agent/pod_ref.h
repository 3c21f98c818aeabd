// Which pod is meant, and which of its containers: what an Event about a pod names. A plain value.
#pragma once

#include <compare>
#include <string>

namespace kerf::agent {

// A pod and, because names are used again, its uid.
struct PodRef {
  std::string name_space;
  std::string name;
  std::string uid;        // may be empty
  std::string container;  // may be empty: the pod as a whole
  auto operator<=>(const PodRef&) const = default;
};

}  // namespace kerf::agent
