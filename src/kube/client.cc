// The queue of requests: one at a time, on a connection that is kept for the next.
#include "kube/client.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "kube/answers.h"
#include "kube/connection.h"
#include "kube/http_reader.h"
#include "kube/watch.h"
#include "kube/wire.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kube {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Client::Core : std::enable_shared_from_this<Core> {
  struct Job {
    Request request;
    Answer done;
    steady_clock::time_point deadline;
    bool token_renewed = false;
    bool sent_again = false;  // after the connection that was kept turned out to be dead
    unsigned refused = 0;     // times that the server was too busy
  };

  Core(asio::io_context& io, Access where, ClientOptions how)
      : loop(io),
        access(std::move(where)),
        options(std::move(how)),
        token(access.token, options.token_age),
        allowance(options.burst),
        deadline(io),
        pause(io),
        idle(io) {}

  void request(Request wanted, Answer done);
  void stop();

  void pump();
  bool may_send_now();
  // Those that take a job take `current`.
  void begin(Job& job);
  void open();
  void transmit(Job& job);
  void on_data(std::string_view bytes);
  void on_closed(Error error);
  void on_answer(Job& job, HttpReader& answer);
  bool try_again_later(Job& job, const HttpReader& answer);
  void finish(Job& job, Result<Response> result);
  void fail_current(Job& job, Error error);
  void drop_connection();
  void arm_deadline();
  void expire();
  void arm_idle();

  asio::io_context& loop;
  Access access;
  ClientOptions options;
  TokenSource token;
  bool stopped = false;
  std::deque<Job> waiting;
  std::optional<Job> current;
  std::optional<HttpReader> reader;  // of the answer to `current`; empty until it was sent
  std::shared_ptr<Connection> connection;
  bool open_for_use = false;  // the connection is open
  bool used = false;          // ... and has served a request before
  double allowance;           // requests that may be sent at once
  steady_clock::time_point counted_at = steady_clock::now();
  asio::steady_timer deadline;
  asio::steady_timer pause;
  asio::steady_timer idle;
};

void Client::Core::request(Request wanted, Answer done) {
  auto until = steady_clock::now() + wanted.deadline;
  if (waiting.size() >= options.queue_limit) {
    Error full{Kind::kBusy, title(wanted.verb, wanted.path) + ": too many requests are waiting",
               access.url(), "the API server is slow or cannot be reached"};
    asio::post(loop, [self = shared_from_this(), done = std::move(done), full = std::move(full)] {
      if (!self->stopped) done(fail(full));
    });
    return;
  }
  waiting.push_back({std::move(wanted), std::move(done), until});
  arm_deadline();
  asio::post(loop, [self = shared_from_this()] { self->pump(); });
}

void Client::Core::stop() {
  stopped = true;
  drop_connection();
  deadline.cancel();
  pause.cancel();
  idle.cancel();
  // Callbacks may own what owns us: they end outside of whatever is running now.
  asio::post(loop,
             [self = shared_from_this(), jobs = std::move(waiting), job = std::move(current)] {});
  waiting.clear();
  current.reset();
}

void Client::Core::pump() {
  if (stopped || current || waiting.empty() || !may_send_now()) return;
  idle.cancel();
  Job& job = current.emplace(std::move(waiting.front()));
  waiting.pop_front();
  begin(job);
}

// A bucket that fills by requests_per_second and holds `burst`.
bool Client::Core::may_send_now() {
  if (options.requests_per_second <= 0) return true;
  auto now = steady_clock::now();
  double passed = std::chrono::duration<double>(now - counted_at).count();
  counted_at = now;
  allowance = std::min<double>(std::max(1U, options.burst),
                               allowance + passed * options.requests_per_second);
  if (allowance >= 1) {
    allowance -= 1;
    return true;
  }
  pause.expires_after(
      milliseconds(static_cast<int>(1000 * (1 - allowance) / options.requests_per_second) + 1));
  pause.async_wait([self = shared_from_this()](std::error_code cancelled) {
    if (!cancelled) self->pump();
  });
  return false;
}

void Client::Core::begin(Job& job) {
  reader.reset();
  if (connection && open_for_use) {
    transmit(job);
  } else if (!connection) {
    open();
  }
}

void Client::Core::open() {
  used = false;
  open_for_use = false;
  std::weak_ptr<Core> weak = shared_from_this();
  connection = Connection::open(loop, access,
                                {[weak] {
                                   auto self = weak.lock();
                                   if (!self) return;
                                   self->open_for_use = true;
                                   if (self->current) {
                                     self->transmit(*self->current);
                                   } else {
                                     self->arm_idle();
                                   }
                                 },
                                 [weak](std::string_view bytes) {
                                   if (auto self = weak.lock()) self->on_data(bytes);
                                 },
                                 [weak](Error error) {
                                   if (auto self = weak.lock()) self->on_closed(std::move(error));
                                 }});
}

void Client::Core::transmit(Job& job) {
  Result<std::string> text = render_request(access, options, token, job.request);
  if (!text) return fail_current(job, std::move(text.error()));
  reader.emplace(options.response_limit);
  connection->send(std::move(*text));
}

void Client::Core::on_data(std::string_view bytes) {
  if (!reader || !current) return drop_connection();  // nobody asked
  Result<std::size_t> taken = reader->feed(bytes);
  if (!taken) {
    drop_connection();
    return fail_current(*current, std::move(taken.error()));
  }
  if (!reader->done()) return;
  // More than was asked for: what follows cannot be told apart from the next answer.
  if (*taken < bytes.size() || !reader->keep_alive()) drop_connection();
  on_answer(*current, *reader);
}

void Client::Core::on_closed(Error error) {
  bool was_used = used;
  connection.reset();
  open_for_use = false;
  if (!current) return;
  // Between two retries of a busy server nothing is lost with the connection.
  if (!reader && was_used) return;
  bool repeatable = current->request.verb != Verb::kPost && !current->sent_again;
  if (was_used && reader && !reader->started() && repeatable) {
    current->sent_again = true;
    return begin(*current);
  }
  if (error.what.empty()) {
    Status complete = reader ? reader->end() : fail(Kind::kGone, "the connection ended");
    if (reader && complete) return on_answer(*current, *reader);
    error = std::move(complete.error());
    error.hint = "see the API server's log if this lasts";
  }
  fail_current(*current, std::move(error));
}

void Client::Core::on_answer(Job& job, HttpReader& answer) {
  used = true;
  int status = answer.status();
  if (status == 401 && !std::exchange(job.token_renewed, true) && token.renew()) return begin(job);
  if (try_again_later(job, answer)) return;
  if (status >= 200 && status < 300) return finish(job, Response{status, answer.take_body()});
  finish(job,
         fail(refusal(job.request.verb, job.request.path, access.url(), status, answer.body())));
}

// A busy server says when to come back. What it may have done already is not asked for twice.
bool Client::Core::try_again_later(Job& job, const HttpReader& answer) {
  std::optional<std::uint64_t> asked = parse_u64(answer.header("retry-after"));
  bool unserved = answer.status() == 429 || (answer.status() == 503 && asked);
  if (!unserved) return false;
  milliseconds wait = asked ? milliseconds(1000 * std::min<std::uint64_t>(*asked, 3600))
                            : backoff(job.refused, options.backoff_first, options.backoff_last);
  if (steady_clock::now() + wait >= job.deadline) return false;
  ++job.refused;
  reader.reset();
  pause.expires_after(wait);
  pause.async_wait([self = shared_from_this()](std::error_code cancelled) {
    if (!cancelled && self->current) self->begin(*self->current);
  });
  return true;
}

void Client::Core::fail_current(Job& job, Error error) {
  error.during(title(job.request.verb, job.request.path));
  if (error.subject.empty()) error.subject = access.url();
  finish(job, fail(std::move(error)));
}

void Client::Core::finish(Job& job, Result<Response> result) {
  auto self = shared_from_this();
  Answer done = std::move(job.done);
  current.reset();
  reader.reset();
  pause.cancel();
  arm_deadline();
  arm_idle();
  asio::post(loop, [self] { self->pump(); });
  done(std::move(result));
}

void Client::Core::drop_connection() {
  if (connection) connection->close();
  connection.reset();
  open_for_use = false;
}

void Client::Core::arm_idle() {
  if (!connection || !waiting.empty()) return;
  idle.expires_after(options.idle);
  idle.async_wait([self = shared_from_this()](std::error_code cancelled) {
    if (!cancelled && !self->current) self->drop_connection();
  });
}

void Client::Core::arm_deadline() {
  auto first = steady_clock::time_point::max();
  if (current) first = current->deadline;
  for (const Job& job : waiting) first = std::min(first, job.deadline);
  if (first == steady_clock::time_point::max()) {
    deadline.cancel();
    return;
  }
  deadline.expires_at(first);
  deadline.async_wait([self = shared_from_this()](std::error_code cancelled) {
    if (!cancelled) self->expire();
  });
}

void Client::Core::expire() {
  auto now = steady_clock::now();
  std::vector<Job> late;
  for (auto it = waiting.begin(); it != waiting.end();) {
    if (it->deadline > now) {
      ++it;
    } else {
      late.push_back(std::move(*it));
      it = waiting.erase(it);
    }
  }
  Error error{Kind::kTimeout, "no answer in time", access.url(),
              "is the API server running, and reachable from this pod's network?"};
  if (current && current->deadline <= now) {
    drop_connection();
    fail_current(*current, error);
  }
  for (Job& job : late) {
    if (stopped) return;
    Error each = error;
    job.done(fail(std::move(each).during(title(job.request.verb, job.request.path))));
  }
  if (!stopped) arm_deadline();
}

Client::Client(asio::io_context& loop, Access access, ClientOptions options)
    : core_(std::make_shared<Core>(loop, std::move(access), std::move(options))) {}

Client::~Client() { core_->stop(); }

void Client::request(Request request, Answer done) {
  core_->request(std::move(request), std::move(done));
}

std::unique_ptr<Watch> Client::watch(std::string path, std::string selector,
                                     WatchHandlers handlers) {
  return start_watch(core_->loop, core_->access, core_->options, std::move(path),
                     std::move(selector), std::move(handlers));
}

const Access& Client::access() const { return core_->access; }

}  // namespace kerf::kube
