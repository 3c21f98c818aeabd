#include "pods/types.h"

namespace kerf::pods {

std::string to_string(State state) {
  switch (state) {
    case State::kUnknown:
      return "unknown";
    case State::kCurrent:
      return "current";
    case State::kStale:
      return "stale";
    case State::kAbsent:
      break;
  }
  return "absent";
}

}  // namespace kerf::pods
