#include "kube/http_reader.h"

namespace kerf::kube {
namespace {

constexpr std::size_t kLimit = 1000;

struct Case {
  const char* what;
  std::string bytes;
  std::string body;       // expected, if accepted
  std::string complaint;  // part of it, if not
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", ""},
      {"no phrase", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", ""},
      {"no body at all", "HTTP/1.1 204 No Content\r\n\r\n", "", ""},
      {"an interim answer",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", ""},
      {"chunks",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;a=b\r\n!!!\r\n0\r\n\r\n",
       "hi!!!", ""},
      {"trailers",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n", "x", ""},
      {"the same length twice",
       "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "x", ""},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "",
       "length"},
      {"a length and chunks",
       "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "", "length"},
      {"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "", "length"},
      {"a length beyond the limit", "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "", "large"},
      {"a chunk beyond the limit", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
       "", "large"},
      {"a chunk size that overflows",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "", "chunk"},
      {"a chunk size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
       "", "chunk"},
      {"a chunk longer than it says",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", "", "chunk"},
      {"another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "", "encoding"},
      {"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "", "CR LF"},
      {"HTTP/2", "HTTP/2 200\r\n\r\n", "", "begin"},
      {"something else", "SSH-2.0-OpenSSH_9.2\r\n", "", "begin"},
      {"a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "", "field"},
      {"a switch of protocols", "HTTP/1.1 101 X\r\n\r\n", "", "protocol"},
      {"a head without end", "HTTP/1.1 200 OK\r\nA: " + std::string(70000, 'a'), "", "head"},
  };
  return kCases;
}

TEST(HttpReader, ReadsOrRefusesWhateverComesInWhateverPieces) {
  for (const Case& c : cases()) {
    for (std::size_t piece : {std::size_t{1}, std::size_t{7}, c.bytes.size()}) {
      HttpReader reader(kLimit);
      Result<std::size_t> taken = 0;
      for (std::size_t at = 0; at < c.bytes.size() && taken && !reader.done(); at += piece) {
        taken = reader.feed(std::string_view(c.bytes).substr(at, piece));
      }
      if (c.complaint.empty()) {
        ASSERT_TRUE(taken.has_value()) << c.what << ": " << taken.error().what;
        EXPECT_TRUE(reader.done()) << c.what;
        EXPECT_EQ(reader.body(), c.body) << c.what;
        EXPECT_TRUE(reader.keep_alive()) << c.what;
      } else {
        ASSERT_FALSE(taken.has_value()) << c.what;
        EXPECT_EQ(taken.error().kind, Kind::kCorrupt) << c.what;
        EXPECT_NE(taken.error().what.find(c.complaint), std::string::npos)
            << c.what << ": " << taken.error().what;
      }
    }
  }
}

TEST(HttpReader, LeavesWhatFollowsTheAnswer) {
  HttpReader reader(kLimit);
  EXPECT_EQ(reader.feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP").value(), 39U);
}

TEST(HttpReader, TakesAnAnswerWithoutLengthUntilTheEnd) {
  HttpReader reader(kLimit);
  ASSERT_TRUE(reader.feed("HTTP/1.1 200 OK\r\n\r\nabc").has_value());
  EXPECT_FALSE(reader.done());
  ASSERT_TRUE(reader.end().has_value());
  EXPECT_EQ(reader.body(), "abc");
  EXPECT_FALSE(reader.keep_alive());
}

TEST(HttpReader, SaysThatAnAnswerIsCutShort) {
  for (const char* cut :
       {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    HttpReader reader(kLimit);
    ASSERT_TRUE(reader.feed(cut).has_value());
    Status end = reader.end();
    ASSERT_FALSE(end.has_value()) << cut;
    EXPECT_EQ(end.error().kind, Kind::kGone);
  }
}

TEST(HttpReader, HoldsNoMoreThanItsLimitOfAnEndlessAnswer) {
  HttpReader reader(kLimit);
  ASSERT_TRUE(reader.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").has_value());
  std::string chunk = "190\r\n" + std::string(0x190, 'x') + "\r\n";
  ASSERT_TRUE(reader.feed(chunk).has_value());
  ASSERT_TRUE(reader.feed(chunk).has_value());
  ASSERT_FALSE(reader.feed(chunk).has_value());
}

TEST(HttpReader, GoesOnAsLongAsTheBodyIsTaken) {
  HttpReader reader(kLimit);
  ASSERT_TRUE(reader.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").has_value());
  std::string chunk = "190\r\n" + std::string(0x190, 'x') + "\r\n";
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(reader.feed(chunk).has_value());
    EXPECT_EQ(reader.take_body().size(), 0x190U);
  }
}

}  // namespace
}  // namespace kerf::kube
