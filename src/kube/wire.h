// What requests and watches have in common: the token over time, and the text of a request.
// Internal to the room; loop thread only.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/client.h"

namespace kerf::kube {

// The bearer token, read anew when it has become old. A file that cannot be read for a moment (it
// is being replaced) costs nothing while an older token is known.
class TokenSource {
 public:
  TokenSource(Material material, std::chrono::milliseconds max_age)
      : material_(std::move(material)), max_age_(max_age) {}

  // "" when there is none. kInvalid when it could not be a header's value.
  Result<std::string> get();
  // The server has refused it; get() reads the file again. False when that cannot help.
  bool renew();

 private:
  Material material_;
  std::chrono::milliseconds max_age_;
  std::string cached_;
  std::chrono::steady_clock::time_point read_at_{};
  bool known_ = false;
};

// Head and body as sent. kInvalid for a path that cannot be written in a request line, and as
// TokenSource::get().
Result<std::string> render_request(const Access& access, const ClientOptions& options,
                                   TokenSource& token, const Request& request);

// 50 to 100 % of what `attempt` (0, 1, …) doublings of `first` give, at most `last`.
std::chrono::milliseconds backoff(unsigned attempt, std::chrono::milliseconds first,
                                  std::chrono::milliseconds last);

}  // namespace kerf::kube
