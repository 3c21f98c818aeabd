// Tests of the small things every room stands on.
#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/own_code.h"
#include "base/put_file.h"
#include "base/result.h"
#include "base/roots.h"
#include "base/strings.h"

namespace kerf {
namespace {

TEST(Error, TextNamesSubjectAndRemedy) {
  Error e{Kind::kInvalid, "replicas must be 2 or more", "config.yaml:3:15", "use 2 to 1000", 0};
  EXPECT_EQ(e.text(), "replicas must be 2 or more: config.yaml:3:15 (use 2 to 1000)");
  EXPECT_EQ(std::move(e).during("reading config").what,
            "reading config: replicas must be 2 or more");
}

TEST(Error, FromErrnoKeepsTheNumberAndSaysWhatItMeans) {
  Error e = fail_errno("cannot open file", "a", ENOENT).value();
  EXPECT_EQ(e.kind, Kind::kNotFound);
  EXPECT_EQ(e.native, ENOENT);
  EXPECT_EQ(e.what, "cannot open file: No such file or directory");
}

TEST(Log, WritesLogfmtWithQuotesOnlyWhereNeeded) {
  EXPECT_EQ(log::render(log::Format::kLogfmt, 0, log::Level::kInfo, "kubelet", "registered",
                        {{"resource", "nvidia.com/gpu"}, {"devices", 8}, {"why", "a \"b\"\n"}}),
            "ts=1970-01-01T00:00:00.000Z level=info room=kubelet msg=registered "
            "resource=nvidia.com/gpu devices=8 why=\"a \\\"b\\\"\\n\"");
}

TEST(Log, WritesJson) {
  EXPECT_EQ(log::render(log::Format::kJson, 1, log::Level::kError, "r", "m", {{"k", true}}),
            R"({"ts":"1970-01-01T00:00:00.001Z","level":"error","room":"r","msg":"m","k":"true"})");
}

TEST(Log, RefusesAnUnknownLevelAndListsTheKnown) {
  EXPECT_EQ(log::parse_level("warn"), log::Level::kWarn);
  EXPECT_NE(log::parse_level("loud").error().text().find("debug, info, warn, error"),
            std::string::npos);
}

TEST(Strings, JsonQuoteEscapesControlsAndInvalidUtf8) {
  EXPECT_EQ(json_quote("a\"\\\n\t\x01é"), "\"a\\\"\\\\\\n\\t\\u0001é\"");
  EXPECT_EQ(json_quote("\xff\xc3"), "\"\\ufffd\\ufffd\"");
  EXPECT_EQ(json_quote("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");  // a surrogate
}

TEST(Strings, GlobIsAnchoredAndStarMatchesAnyRun) {
  struct Row {
    const char* pattern;
    const char* text;
    bool matches;
  };
  for (Row row : {Row{"*", "", true}, Row{"*", "x", true}, Row{"A100*", "A100-SXM4", true},
                  Row{"A100", "A100-SXM4", false}, Row{"*SXM4*80GB", "A100-SXM4-80GB", true},
                  Row{"*SXM4*80GB", "A100-SXM4-40GB", false}, Row{"a*b*c", "abbbcbc", true},
                  Row{"", "", true}, Row{"", "x", false}, Row{"RTX.3090", "RTX 3090", false}}) {
    EXPECT_EQ(matches_glob(row.pattern, row.text), row.matches) << row.pattern << " " << row.text;
  }
}

TEST(Strings, NearestFindsSlipsAndNothingElse) {
  std::vector<std::string_view> keys = {"timeSlicing", "mps", "replicas", "resources"};
  EXPECT_EQ(nearest("timeslicing", keys), "timeSlicing");
  EXPECT_EQ(nearest("replica", keys), "replicas");
  EXPECT_EQ(nearest("somethingElse", keys), std::nullopt);
}

TEST(Strings, NumbersReadBackAsTheyWereWritten) {
  EXPECT_EQ(format_number(0.1), "0.1");
  EXPECT_EQ(format_number(8), "8");
  EXPECT_EQ(format_number(-1.0 / 0.0), "-Inf");
  EXPECT_EQ(parse_u64("18446744073709551615"), 18446744073709551615ull);
  for (const char* bad : {"", "+1", "-1", " 1", "1 ", "18446744073709551616", "0x1"}) {
    EXPECT_EQ(parse_u64(bad), std::nullopt) << bad;
  }
}

TEST(Strings, SplitAndJoinAreInverse) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(join(split("a,,b", ','), ","), "a,,b");
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
}

TEST(Roots, GoBelowAPrefix) {
  EXPECT_EQ(Roots::below("/").sys, "/sys");
  EXPECT_EQ(Roots::below("/tmp/x/").dev, "/tmp/x/dev");
  EXPECT_EQ(join_path("/a/", "/b"), "/a/b");
}

TEST(Files, ATooLongFileIsRefusedNotCut) {
  std::string path = testing::TempDir() + "kerf_files_" + std::to_string(getpid());
  FILE* f = fopen(path.c_str(), "w");
  fputs("0123456789", f);
  fclose(f);
  EXPECT_EQ(read_file(path), "0123456789");
  EXPECT_EQ(read_file(path, 9).error().kind, Kind::kInvalid);
  unlink(path.c_str());
  EXPECT_EQ(read_file(path).error().subject, path);
}

class PuttingAFile : public testing::Test {
 protected:
  PuttingAFile() {
    std::string pattern = testing::TempDir() + "kerf-put-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~PuttingAFile() override { std::filesystem::remove_all(directory_); }
  std::size_t entries() const {
    std::filesystem::directory_iterator each(directory_);
    return static_cast<std::size_t>(std::distance(begin(each), end(each)));
  }
  std::string directory_;
};

TEST_F(PuttingAFile, ReplacesItOnlyWhenTextOrModeDiffer) {
  const std::string path = directory_ + "/a.json";
  EXPECT_TRUE(put_file(path, "one", {}).value());
  EXPECT_FALSE(put_file(path, "one", {}).value());
  EXPECT_TRUE(put_file(path, "two", {}).value());
  EXPECT_EQ(read_file(path).value(), "two");
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  EXPECT_TRUE(put_file(path, "two", {}).value());
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0644));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(PuttingAFile, ThatCannotBePutNamesPathAndRemedyAndLeavesNothing) {
  auto absent = put_file(directory_ + "/no/a", "x", {"note", 0644, "make the directory"});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().subject, directory_ + "/no/a");
  EXPECT_EQ(absent.error().hint, "make the directory");
  std::filesystem::create_directory(directory_ + "/taken");
  EXPECT_FALSE(put_file(directory_ + "/taken", "x", {}));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(PuttingAFile, ThatStaysOpenIsClaimedBeforeItHasItsName) {
  const std::string path = directory_ + "/a";
  EXPECT_TRUE(put_file(path, "before", {}).value());
  bool named = true;
  auto open = put_open_file(path, "after", {}, [&](int) {
    named = read_file(path).value() == "after";
    return true;
  });
  ASSERT_TRUE(open);
  EXPECT_TRUE(*open);
  EXPECT_FALSE(named);
  EXPECT_EQ(read_file(path).value(), "after");
  auto refused = put_open_file(path, "never", {}, [](int) {
    errno = EWOULDBLOCK;
    return false;
  });
  EXPECT_FALSE(refused);
  EXPECT_EQ(read_file(path).value(), "after");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(PuttingAFile, MayBeALink) {
  const std::string path = directory_ + "/link";
  EXPECT_TRUE(put_link(path, "/a", {}));
  EXPECT_TRUE(put_link(path, "/b", {}));
  EXPECT_EQ(std::filesystem::read_symlink(path), "/b");
  auto absent = put_link(directory_ + "/no/a", "/b", {"link", 0, "make the directory"});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().hint, "make the directory");
  EXPECT_EQ(entries(), 1U);
}

TEST(IdleCode, IsLetGoOfAndRunsAgain) {
  auto resident = [] {
    const std::string status = read_file("/proc/self/status").value();
    return std::stol(status.substr(status.find("RssFile:") + 8));
  };
  const long before = resident();
  let_go_of_idle_code();
  const long after = resident();
  EXPECT_LT(after, before);
}

}  // namespace
}  // namespace kerf
