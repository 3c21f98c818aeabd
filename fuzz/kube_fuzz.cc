// Answers from something that claims to be the API server, in pieces of every size, and the lists
// and events inside: no crash, nothing held beyond the limit, and the same outcome however the
// bytes were cut. The first byte says into pieces of what size.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kube/access.h"
#include "kube/http_reader.h"
#include "kube/watch.h"

namespace {

constexpr std::size_t kLimit = 4096;

struct Outcome {
  bool corrupt = false;
  bool done = false;
  std::string body;
  bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view text, std::size_t piece) {
  kerf::kube::HttpReader reader(kLimit);
  while (!text.empty() && !reader.done()) {
    std::string_view part = text.substr(0, piece);
    auto taken = reader.feed(part);
    if (!taken) return {true, false, {}};
    if (*taken > part.size() || (*taken < part.size() && !reader.done())) std::abort();
    if (reader.body().size() > kLimit) std::abort();
    text.remove_prefix(*taken);
  }
  return {false, reader.done() || reader.end().has_value(), std::string(reader.body())};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kerf;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outcome whole = read(text, text.size());
  if (!(read(text, 1 + data[0]) == whole)) std::abort();
  for (std::string_view body : {text, std::string_view(whole.body)}) {
    if (auto list = kube::parse_list(body); list && list->version.empty()) std::abort();
    if (auto event = kube::parse_event(body); event && event->change && event->object.empty()) {
      std::abort();
    }
  }
  (void)kube::from_kubeconfig(text, "kubeconfig");
  return 0;
}
