// Any bytes as a request of the kubelet's device plugin API: they are decoded or refused, what is
// decoded is answered as the plugin answers, and the answer is a well-formed message.
//
// Input: one byte that picks the method, then the request's bytes.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "allocate/allocate.h"
#include "allocate/preferred.h"
#include "kubelet/codec.h"
#include "plan/sample_nodes.h"

namespace {

using namespace kerf;
namespace sample = plan::sample;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fputs(what, stderr);
  std::abort();
}

const allocate::Index& index() {
  static const allocate::IndexPtr made = [] {
    std::vector<inventory::Gpu> gpus;
    for (unsigned i = 0; i < 2; ++i) {
      gpus.push_back(sample::gpu(i));
      gpus.back().uuid = "G" + std::to_string(i);
    }
    return allocate::index_all(sample::plan(sample::node(std::move(gpus), {}), sample::shared(4)))
        .front();
  }();
  return *made;
}

void allocate_request(std::string_view bytes) {
  auto containers = kubelet::decode_allocate(bytes);
  if (!containers) {
    require(!containers.error().text().empty(), "refused without a reason");
    return;
  }
  require(kubelet::well_formed(bytes), "decoded, but not well-formed");
  std::vector<edits::Edits> edits;
  for (const kubelet::Ids& ids : *containers) {
    auto one = allocate::allocate(index(), ids, {});
    if (one) edits.push_back(std::move(*one));
  }
  require(kubelet::well_formed(kubelet::encode_allocate(edits)), "answered with garbage");
}

void preferred_request(std::string_view bytes) {
  auto containers = kubelet::decode_preferred(bytes);
  if (!containers) return;
  require(kubelet::well_formed(bytes), "decoded, but not well-formed");
  std::vector<kubelet::Ids> chosen;
  for (const kubelet::PreferredRequest& one : *containers) {
    auto ids = allocate::preferred(index(), one.available, one.must_include, one.size);
    if (ids) chosen.push_back(std::move(*ids));
  }
  const std::string answer = kubelet::encode_preferred(chosen);
  // The answer has the shape of an AllocateRequest, so it can be read back.
  auto again = kubelet::decode_allocate(answer);
  require(again && *again == chosen, "the answer reads back differently");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      allocate_request(bytes);
      break;
    case 1:
      preferred_request(bytes);
      break;
    default:
      kubelet::well_formed(bytes);
  }
  return 0;
}
