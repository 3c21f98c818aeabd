// A watch over the life of its owner: list, watch, resume, list anew. The parsers of what the
// server sends are pure and here for the tests. Internal to the room.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/client.h"

namespace kerf::kube {

struct Listing {
  std::string version;               // resourceVersion to watch from
  std::vector<std::string> objects;  // JSON texts
};
// A list object. kCorrupt when it is none.
Result<Listing> parse_list(std::string_view body);

struct WatchEvent {
  std::optional<Change> change;  // absent: a bookmark
  std::string version;
  std::string object;  // JSON text; empty for a bookmark
};
// One line of a watch. An ERROR event becomes the error it tells of: kGone for 410, so that a new
// list is needed; kCorrupt when the line is no event.
Result<WatchEvent> parse_event(std::string_view line);

std::unique_ptr<Watch> start_watch(asio::io_context& loop, Access access, ClientOptions options,
                                   std::string path, std::string selector, WatchHandlers handlers);

}  // namespace kerf::kube
