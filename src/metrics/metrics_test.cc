#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <thread>

#include "base/files.h"
#include "metrics/agent_metrics.h"
#include "metrics/exposition.h"
#include "metrics/histogram.h"
#include "metrics/process_stats.h"
#include "page/sample_nodes.h"

namespace kerf::metrics {
namespace {

using ::testing::HasSubstr;

HistogramValue some_calls() {
  DurationHistogram histogram;
  for (std::int64_t ns : {0L, 9'000L, 60'000L, 60'000L, 3'000'000'000L}) histogram.observe_ns(ns);
  return histogram.value();
}

AgentCounters counters() {
  AgentCounters out;
  out.compatibility = "v0.17.2 ... v0.20.0";
  out.allocate = {{"nvidia.com/gpu", some_calls(), {{"invalid_argument", 2}}}};
  out.preferred = {{"nvidia.com/gpu", some_calls(), {{"invalid_argument", 1}}}};
  out.registrations = {{"nvidia.com/gpu", 3, 1, 4}};
  out.nvml.calls = 7;
  out.nvml.errors = {{"gpu_is_lost", 2}};
  out.xids = {{"GPU-6f1e2d3c-4b5a-4978-8695-000000a1b2c3", 79, 2, samples::kNow}};
  out.config = {2, 1, samples::kNow, false};
  out.http.responses = {{200, 7}, {404, 1}};
  return out;
}

ProcessStats process() { return {1.5, 1.1e7, 2.0e8, 9.0, 20.0, 1024.0}; }

std::string scrape(const NodeStatus& node) {
  return render(agent_metrics(node, counters(), process()));
}

// A temporary file that goes away with the value.
class TempFile {
 public:
  TempFile(const std::string& suffix, const std::string& content)
      : path_(::testing::TempDir() + "kerf-metrics-XXXXXX" + suffix) {
    int fd = mkstemps(path_.data(), static_cast<int>(suffix.size()));
    EXPECT_GE(fd, 0);
    close(fd);
    std::ofstream(path_) << content;
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs a shell command; its output goes to `output`, its exit status comes back.
int run(const std::string& command, std::string& output) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return -1;
  char buffer[4096];
  while (std::size_t n = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
  int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void need_promtool() {
  std::string output;
  ASSERT_EQ(run("promtool --version", output), 0)
      << "promtool is missing: install Debian's package prometheus (./dev does)";
}

TEST(Exposition, WritesHelpTypeAndSamplesInOrder) {
  Family family{"kerf_x_total", "What it is.", Type::kCounter, {{{{"a", "1"}, {"b", "2"}}, 3}}, {}};
  EXPECT_EQ(render(std::span(&family, 1)),
            "# HELP kerf_x_total What it is.\n# TYPE kerf_x_total counter\n"
            "kerf_x_total{a=\"1\",b=\"2\"} 3\n");
}

TEST(Exposition, EscapesLabelValuesAndHelp) {
  Family family{"kerf_x", "a\\b\nc\"d", Type::kGauge, {{{{"a", "x\\y\"z\nw"}}, 0.5}}, {}};
  EXPECT_EQ(render(std::span(&family, 1)),
            "# HELP kerf_x a\\\\b\\nc\"d\n# TYPE kerf_x gauge\n"
            "kerf_x{a=\"x\\\\y\\\"z\\nw\"} 0.5\n");
}

TEST(Exposition, ReplacesWhatIsNotUtf8) {
  Family family{"kerf_x", "X.", Type::kGauge, {{{{"a", "x\xff\xc3\xa9"}}, 1}}, {}};
  EXPECT_THAT(render(std::span(&family, 1)), HasSubstr("{a=\"x\xef\xbf\xbd\xc3\xa9\"}"));
}

TEST(Exposition, WritesHistogramsCumulatively) {
  Family family{
      "kerf_t_seconds", "T.", Type::kHistogram, {}, {{{{"r", "g"}}, {{0.1, 1}, {2, 0, 1}, 5}}}};
  EXPECT_THAT(render(std::span(&family, 1)),
              HasSubstr("kerf_t_seconds_bucket{r=\"g\",le=\"0.1\"} 2\n"
                        "kerf_t_seconds_bucket{r=\"g\",le=\"1\"} 2\n"
                        "kerf_t_seconds_bucket{r=\"g\",le=\"+Inf\"} 3\n"
                        "kerf_t_seconds_sum{r=\"g\"} 5\n"
                        "kerf_t_seconds_count{r=\"g\"} 3\n"));
}

TEST(DurationHistogram, PutsEachObservationInOneBucket) {
  auto value = some_calls();
  EXPECT_EQ(value.total(), 5u);
  EXPECT_EQ(value.counts[0], 2u);  // 0 and 9 µs
  EXPECT_EQ(value.counts[3], 2u);  // 60 µs is at most 100 µs
  EXPECT_EQ(value.counts.back(), 1u);
  EXPECT_NEAR(value.sum, 3.000129, 1e-9);
}

TEST(DurationHistogram, LosesNothingWhenFedFromSeveralThreads) {
  DurationHistogram histogram;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) histogram.observe_ns(i);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(histogram.value().total(), 40'000u);
}

class Scrape : public ::testing::TestWithParam<samples::Named> {};
TEST_P(Scrape, IsAcceptedByPromtool) {
  ASSERT_NO_FATAL_FAILURE(need_promtool());
  TempFile file(".prom", scrape(GetParam().make()));
  std::string output;
  EXPECT_EQ(run("promtool check metrics < " + file.path(), output), 0) << output;
  EXPECT_EQ(output, "");  // not even a warning
}
INSTANTIATE_TEST_SUITE_P(All, Scrape, ::testing::ValuesIn(samples::all()), [](const auto& test) {
  return std::regex_replace(std::string(test.param.name), std::regex("-"), "_");
});

TEST(AgentMetrics, ShowAllocationAgainstAvailability) {
  std::string text = scrape(samples::one_unhealthy());
  const std::string labels =
      "{gpu=\"0\",uuid=\"GPU-6f1e2d3c-4b5a-4978-8695-000000a1b2c3\",resource=\"nvidia.com/gpu\"} "
      "4\n";
  EXPECT_THAT(text, HasSubstr("kerf_replicas" + labels));
  EXPECT_THAT(text, HasSubstr("kerf_replicas_allocated" + labels));
  EXPECT_THAT(text, HasSubstr("kerf_devices{resource=\"nvidia.com/gpu\",health=\"healthy\"} 4\n"));
  EXPECT_THAT(text,
              HasSubstr("kerf_devices{resource=\"nvidia.com/gpu\",health=\"unhealthy\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("kerf_problems{severity=\"degraded\"} 2\n"));
  EXPECT_THAT(
      text,
      HasSubstr("kerf_registrations_total{resource=\"nvidia.com/gpu\",result=\"failed\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("kerf_config_last_reload_successful 0\n"));
}

TEST(AgentMetrics, KeepTheirNamesWhateverTheStateOfTheNode) {
  auto types = [](const std::string& text) {
    std::set<std::string> out;
    std::regex line("# TYPE (.*)\n");
    for (std::sregex_iterator it(text.begin(), text.end(), line), end; it != end; ++it) {
      out.insert((*it)[1]);
    }
    return out;
  };
  EXPECT_EQ(types(scrape(samples::healthy())),
            types(render(agent_metrics(samples::no_driver(), {}, {}))));
}

TEST(AgentMetrics, OfAProcessThatIsNoDevicePluginSayNothingOfDevices) {
  AgentCounters alone = counters();
  alone.advertises = false;
  const std::string text = render(agent_metrics(samples::healthy(), alone, process()));
  for (const char* name : {"kerf_devices", "kerf_replicas", "kerf_replicas_allocated",
                           "kerf_resource_registered", "kerf_kubelet_connected"}) {
    EXPECT_THAT(text, HasSubstr(std::string("# TYPE ") + name + " gauge\n"));
    EXPECT_THAT(text, testing::Not(testing::ContainsRegex(std::string("\n") + name + "[{ ]")));
  }
  EXPECT_THAT(text, HasSubstr("\nkerf_gpu_healthy{"));
}

TEST(AgentMetrics, CountXidsByGpu) {
  EXPECT_THAT(scrape(samples::one_unhealthy()),
              HasSubstr("kerf_gpu_xids_total{gpu=\"0\",uuid=\"GPU-6f1e2d3c-4b5a-4978-8695-"
                        "000000a1b2c3\",xid=\"79\"} 2\n"));
}

TEST(ProcessStats, AreReadFromProcfs) {
  auto stats = read_process_stats("/proc");
  ASSERT_TRUE(stats.cpu_seconds && stats.resident_bytes && stats.threads && stats.open_fds);
  EXPECT_GT(*stats.resident_bytes, 1e5);
  EXPECT_GE(*stats.threads, 1);
  EXPECT_GE(*stats.open_fds, 3);
}

TEST(ProcessStats, LeaveOutWhatCannotBeRead) {
  auto stats = read_process_stats("/nowhere");
  EXPECT_FALSE(stats.cpu_seconds || stats.resident_bytes || stats.threads || stats.open_fds);
}

TEST(GrpcCodeWord, KnowsTheStandardCodes) {
  EXPECT_EQ(grpc_code_word(3), "invalid_argument");
  EXPECT_EQ(grpc_code_word(14), "unavailable");
  EXPECT_EQ(grpc_code_word(99), "unknown");
  EXPECT_EQ(grpc_code_word(-1), "unknown");
}

// docs/metrics.md holds one table with a row for each metric, in the order of the scrape. When this
// fails, put the table it prints there.
TEST(MetricsPage, DescribesExactlyTheMetricsThereAre) {
  auto text = read_file(KERF_SOURCE_DIR "/docs/metrics.md");
  ASSERT_TRUE(text);
  std::string table = "| name | type | labels | meaning |\n|---|---|---|---|\n";
  for (const Family& family : agent_metrics(samples::one_unhealthy(), counters(), process())) {
    const Labels& labels = !family.samples.empty()      ? family.samples[0].labels
                           : !family.histograms.empty() ? family.histograms[0].labels
                                                        : Labels{};
    std::string names;
    for (const auto& [key, value] : labels) names += (names.empty() ? "`" : ", `") + key + "`";
    table += "| `" + family.name + "` | " + std::string(to_string(family.type)) + " | " +
             (names.empty() ? "–" : names) + " | " + family.help + " |\n";
  }
  EXPECT_NE(text->find("\n" + table + "\n"), std::string::npos)
      << "docs/metrics.md must hold this table:\n"
      << table;
}

}  // namespace
}  // namespace kerf::metrics
