#include "kube/watch.h"

#include <utility>

#include "kube/answers.h"
#include "kube/connection.h"
#include "kube/http_reader.h"
#include "kube/wire.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

namespace kerf::kube {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

// Connecting, a list, or the head of a watch takes no longer.
constexpr std::chrono::seconds kAnswerTime{30};
// What a watch that the server should have ended is given beyond that.
constexpr std::chrono::seconds kOverdue{30};
// A watch that lasted this long has worked: the next pause is a short one.
constexpr std::chrono::seconds kWorked{5};

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string version_of(const json& object) {
  auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return {};
  auto version = metadata->find("resourceVersion");
  return version != metadata->end() && version->is_string() ? version->get<std::string>() : "";
}

}  // namespace

Result<Listing> parse_list(std::string_view body) {
  json list = json::parse(body, nullptr, false);
  auto items = list.is_object() ? list.find("items") : list.end();
  if (!list.is_object() || version_of(list).empty() || items == list.end() ||
      !(items->is_array() || items->is_null())) {
    return fail(Kind::kCorrupt, "the answer is no list of objects");
  }
  Listing out;
  out.version = version_of(list);
  for (const json& item : *items) out.objects.push_back(text_of(item));
  return out;
}

Result<WatchEvent> parse_event(std::string_view line) {
  json event = json::parse(line, nullptr, false);
  auto type = event.is_object() ? event.find("type") : event.end();
  auto object = event.is_object() ? event.find("object") : event.end();
  if (!event.is_object() || type == event.end() || !type->is_string() || object == event.end() ||
      !object->is_object()) {
    return fail(Kind::kCorrupt, "a line of the watch is no event");
  }
  std::string word = type->get<std::string>();
  if (word == "ERROR") {
    auto code = object->find("code");
    bool number = code != object->end() && code->is_number_integer();
    int status = number ? static_cast<int>(code->get<std::int64_t>()) : 500;
    Error error = refusal(Verb::kGet, "", "", status, text_of(*object));
    error.what = "the watch was ended by the server, status " + std::to_string(status);
    return fail(std::move(error));
  }
  WatchEvent out;
  out.version = version_of(*object);
  if (word == "BOOKMARK") return out;
  if (word == "ADDED") out.change = Change::kAdded;
  if (word == "MODIFIED") out.change = Change::kModified;
  if (word == "DELETED") out.change = Change::kDeleted;
  if (!out.change) return fail(Kind::kCorrupt, "a line of the watch is no event");
  out.object = text_of(*object);
  return out;
}

namespace {

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(asio::io_context& loop, Access access, ClientOptions options, std::string path,
          std::string selector, WatchHandlers handlers)
      : loop_(loop),
        access_(std::move(access)),
        options_(std::move(options)),
        path_(std::move(path)),
        selector_(std::move(selector)),
        handlers_(std::move(handlers)),
        token_(access_.token, options_.token_age),
        pause_(loop),
        guard_(loop) {}

  void start() {
    if (stopped_) return;
    guard(kAnswerTime);
    reader_.reset();
    if (connection_ && open_) return transmit();
    drop();
    std::weak_ptr<Session> weak = shared_from_this();
    connection_ = Connection::open(loop_, access_,
                                   {[weak] {
                                      auto self = weak.lock();
                                      if (!self) return;
                                      self->open_ = true;
                                      self->transmit();
                                    },
                                    [weak](std::string_view bytes) {
                                      if (auto self = weak.lock()) self->on_data(bytes);
                                    },
                                    [weak](Error error) {
                                      if (auto self = weak.lock())
                                        self->on_closed(std::move(error));
                                    }});
  }

  void stop() {
    stopped_ = true;
    drop();
    pause_.cancel();
    guard_.cancel();
  }

 private:
  bool listing() const { return version_.empty(); }

  std::string target() const {
    std::string query = selector_;
    if (!listing()) {
      if (!query.empty()) query += '&';
      query += "watch=1&allowWatchBookmarks=true&resourceVersion=" + escape(version_) +
               "&timeoutSeconds=" + std::to_string(options_.watch_length.count());
    }
    return query.empty() ? path_ : path_ + "?" + query;
  }

  void transmit() {
    asked_ = target();
    Result<std::string> text = render_request(access_, options_, token_, {Verb::kGet, asked_, {}});
    if (!text) return failed(std::move(text.error()));
    reader_.emplace(options_.response_limit);
    scanned_ = 0;
    asked_at_ = steady_clock::now();
    connection_->send(std::move(*text));
  }

  void on_data(std::string_view bytes) {
    if (!reader_) return failed({Kind::kCorrupt, "the server speaks without being asked", {}, {}});
    bool had_head = reader_->has_head();
    Result<std::size_t> taken = reader_->feed(bytes);
    if (!taken) return failed(std::move(taken.error()));
    bool watching = !listing() && reader_->has_head() && reader_->status() == 200;
    if (watching && !had_head) {
      guard(options_.watch_length + kOverdue);
      works();
    }
    if (watching && !stopped_ && !read_events(*reader_)) return;
    if (stopped_ || !reader_ || !reader_->done()) return;
    if (*taken < bytes.size() || !reader_->keep_alive()) drop();
    complete(*reader_);
  }

  // Takes the whole lines. False when the watch is over because of what one of them says.
  bool read_events(HttpReader& reader) {
    std::size_t used = 0;
    for (;;) {
      std::string_view body = reader.body();
      std::size_t end = body.find('\n', std::max(used, scanned_));
      if (end == std::string_view::npos) break;
      std::string_view line = body.substr(used, end - used);
      used = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      Result<WatchEvent> event = parse_event(line);
      if (!event) {
        failed(std::move(event.error()));
        return false;
      }
      token_renewed_ = false;
      attempts_ = 0;
      const WatchEvent& news = *event;
      if (!news.version.empty()) version_ = news.version;
      if (news.change && handlers_.changed) handlers_.changed(*news.change, news.object);
      if (stopped_) return false;
    }
    reader.drop_body(used);
    scanned_ = reader.body().size();
    return true;
  }

  // An answer is complete: a list, the ordinary end of a watch, or a refusal.
  void complete(const HttpReader& reader) {
    int status = reader.status();
    if (status == 401 && !std::exchange(token_renewed_, true) && token_.renew()) return start();
    if (status != 200) {
      return failed(refusal(Verb::kGet, asked_, access_.url(), status, reader.body()));
    }
    token_renewed_ = false;
    if (!listing()) return again_after_end();
    Result<Listing> list = parse_list(reader.body());
    if (!list) return failed(std::move(list.error()));
    version_ = std::move(list->version);
    reader_.reset();
    works();
    if (!stopped_ && handlers_.listed) handlers_.listed(list->objects);
    start();
  }

  // No trouble: the server ends watches now and then. One that ends at once is asked for again
  // with growing pauses.
  void again_after_end() {
    bool short_lived = steady_clock::now() - asked_at_ < kWorked;
    if (!short_lived) attempts_ = 0;
    reader_.reset();
    if (short_lived) {
      drop();
      return later();
    }
    start();
  }

  void on_closed(Error error) {
    connection_.reset();
    open_ = false;
    bool watched = reader_ && reader_->has_head() && reader_->status() == 200 && !listing();
    if (error.what.empty() && reader_ && reader_->has_head()) {
      if (reader_->end()) return complete(*reader_);
    }
    // A watch that breaks off goes on where it was; only when that fails is there trouble.
    if (watched) return again_after_end();
    if (error.what.empty()) error.what = "the connection ended without an answer";
    failed(std::move(error));
  }

  void failed(Error error) {
    if (error.kind == Kind::kGone && (error.native == 410)) {
      version_.clear();  // list anew
    }
    if (error.kind == Kind::kCorrupt) version_.clear();
    drop();
    reader_.reset();
    later();
    if (!error.what.starts_with("GET ")) error.during(title(Verb::kGet, path_));
    if (error.subject.empty()) error.subject = access_.url();
    bool ordinary = error.native == 410;
    if (ordinary) return;
    troubled_ = true;
    if (handlers_.trouble) handlers_.trouble(&error);
  }

  void works() {
    if (!std::exchange(troubled_, false)) return;
    if (handlers_.trouble) handlers_.trouble(nullptr);
  }

  void later() {
    guard_.cancel();
    pause_.expires_after(backoff(attempts_++, options_.backoff_first, options_.backoff_last));
    pause_.async_wait([self = shared_from_this()](std::error_code cancelled) {
      if (!cancelled) self->start();
    });
  }

  void guard(std::chrono::milliseconds time) {
    guard_.expires_after(time);
    guard_.async_wait([self = shared_from_this()](std::error_code cancelled) {
      if (cancelled || self->stopped_) return;
      self->failed({Kind::kTimeout,
                    "no answer in time",
                    {},
                    "is the API server running, and reachable from this pod's network?"});
    });
  }

  void drop() {
    if (connection_) connection_->close();
    connection_.reset();
    open_ = false;
  }

  asio::io_context& loop_;
  Access access_;
  ClientOptions options_;
  std::string path_;
  std::string selector_;
  WatchHandlers handlers_;
  TokenSource token_;
  asio::steady_timer pause_;
  asio::steady_timer guard_;
  std::shared_ptr<Connection> connection_;
  bool open_ = false;
  bool stopped_ = false;
  bool troubled_ = false;
  bool token_renewed_ = false;
  unsigned attempts_ = 0;
  std::string version_;  // to watch from; empty: list first
  std::string asked_;
  steady_clock::time_point asked_at_;
  std::optional<HttpReader> reader_;
  std::size_t scanned_ = 0;  // bytes of the reader's body known to hold no line end
};

class Handle final : public Watch {
 public:
  explicit Handle(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~Handle() override { session_->stop(); }

 private:
  std::shared_ptr<Session> session_;
};

}  // namespace

std::unique_ptr<Watch> start_watch(asio::io_context& loop, Access access, ClientOptions options,
                                   std::string path, std::string selector, WatchHandlers handlers) {
  auto session =
      std::make_shared<Session>(loop, std::move(access), std::move(options), std::move(path),
                                std::move(selector), std::move(handlers));
  asio::post(loop, [session] { session->start(); });
  return std::make_unique<Handle>(std::move(session));
}

}  // namespace kerf::kube
