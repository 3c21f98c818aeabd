// The small pure parts: which devices, what happened of late, health, jobs, the web configuration.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "exporter/attribution.h"
#include "exporter/health.h"
#include "exporter/sampler.h"
#include "exporter/selection.h"
#include "exporter/web.h"
#include "exporter/web_config.h"
#include "exporter/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::exporter {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// --- -d ------------------------------------------------------------------------------------------

TEST(Selection, UnderstandsEveryFormOfTheFlag) {
  using What = Selection::What;
  struct Row {
    const char* text;
    Selection selection;
  };
  for (const Row& row :
       {Row{"f", {What::kFlexible, {}}}, Row{"g", {What::kGpus, {}}},
        Row{"i", {What::kInstances, {}}}, Row{"g:0", {What::kGpus, {0}}},
        Row{"g:0,2-4", {What::kGpus, {0, 2, 3, 4}}}, Row{"i:7", {What::kInstances, {7}}}}) {
    auto parsed = parse_selection(row.text);
    ASSERT_TRUE(parsed) << row.text;
    EXPECT_EQ(*parsed, row.selection) << row.text;
  }
  for (const char* text :
       {"", "x", "f:1", "g:", "g:a", "g:3-1", "g:1-2-3", "g1", "g:-1", "g:9999"}) {
    EXPECT_FALSE(parse_selection(text)) << text;
  }
}

inventory::Snapshot node() {
  inventory::Snapshot out;
  for (unsigned i = 0; i < 3; ++i) {
    inventory::Gpu gpu;
    gpu.index = i;
    gpu.uuid = "GPU-" + std::to_string(i);
    gpu.name = "NVIDIA A100";
    gpu.pci_bus_id = "0000:3b:00.0";
    out.gpus.push_back(gpu);
  }
  auto mig = [&](unsigned gi, unsigned ci, const char* profile) {
    inventory::MigDevice device;
    device.uuid = "MIG-" + std::to_string(gi) + std::to_string(ci);
    device.gpu_instance = gi;
    device.compute_instance = ci;
    device.profile = profile;
    out.gpus[1].mig_devices.push_back(device);
  };
  mig(9, 0, "1g.10gb");
  mig(2, 0, "1c.3g.40gb");
  mig(2, 1, "2c.3g.40gb");
  return out;
}

std::vector<std::string> labels(const std::vector<Entity>& entities) {
  std::vector<std::string> out;
  for (const Entity& entity : entities) {
    std::string text = std::to_string(entity.gpu);
    if (entity.instance) {
      text += '/' + std::to_string(entity.instance->id) + ' ' + entity.instance->profile;
    }
    out.push_back(text);
  }
  return out;
}

TEST(Selection, TakesInstancesWhereThereAreAnyAndElseTheGpu) {
  auto select = [](const char* text) {
    return labels(select_entities(node(), *parse_selection(text)));
  };
  EXPECT_THAT(select("f"), ElementsAre("0", "1/2 3g.40gb", "1/9 1g.10gb", "2"));
  EXPECT_THAT(select("g"), ElementsAre("0", "1", "2"));
  EXPECT_THAT(select("g:0-1"), ElementsAre("0", "1"));
  EXPECT_THAT(select("i"), ElementsAre("1/2 3g.40gb", "1/9 1g.10gb"));
  EXPECT_THAT(select("i:9"), ElementsAre("1/9 1g.10gb"));
  EXPECT_THAT(select_entities(node(), {}).at(1).instance->uuids, ElementsAre("MIG-20", "MIG-21"));
}

TEST(Selection, WritesBusIdsAsDcgmDoes) {
  EXPECT_EQ(dcgm_bus_id("0000:3b:00.0"), "00000000:3B:00.0");
  EXPECT_EQ(dcgm_bus_id("000f:01:00.0"), "0000000F:01:00.0");
  EXPECT_EQ(select_entities(node(), {}).at(0).pci_bus_id, "00000000:3B:00.0");
}

// --- windows -------------------------------------------------------------------------------------

TEST(Window, ForgetsWhatIsOlderThanItself) {
  Window window(1000);
  window.add(0, 31);
  window.add(500, 31);
  window.add(500, 79);
  EXPECT_THAT(window.counts(900), ElementsAre(std::pair(31, 2), std::pair(79, 1)));
  EXPECT_THAT(window.counts(1100), ElementsAre(std::pair(31, 1), std::pair(79, 1)));
  EXPECT_THAT(window.counts(2000), IsEmpty());
}

TEST(Window, StaysSmallInAFlood) {
  Window window(300'000);
  for (int i = 0; i < 1'000'000; ++i) window.add(i, i % 1000);
  std::int64_t total = 0;
  for (const auto& [key, count] : window.counts(1'000'000)) total += count;
  EXPECT_GT(total, 0);
  EXPECT_LE(window.counts(1'000'000).size(), 1000U);
}

TEST(XidLog, KeepsTheLastXidOfEachEntityAndCountsTheSameOneTwice) {
  XidLog log(300'000);
  const Entity gpu{0, "GPU-0", "", "", {}};
  Entity first = gpu;
  first.instance = {1, "1g", {}};
  Entity second = gpu;
  second.instance = {2, "1g", {}};
  EXPECT_EQ(log.last(gpu), 0);
  log.add(10, "GPU-0", {}, 48);
  log.add(20, "GPU-0", 1U, 31);
  log.add(30, "GPU-0", 1U, 31);
  EXPECT_EQ(log.last(gpu), 31);
  EXPECT_EQ(log.last(first), 31);
  EXPECT_EQ(log.last(second), 48);
  EXPECT_THAT(log.counts(first, 40), ElementsAre(std::pair(31, 2), std::pair(48, 1)));
  EXPECT_THAT(log.counts(gpu, 400'000), IsEmpty());
  EXPECT_EQ(log.last(gpu), 31);
  log.keep({"GPU-1"});
  EXPECT_EQ(log.last(gpu), 0);
}

TEST(ComputedCounters, HaveALineOfZeroWhenNothingHappened) {
  auto xids = xid_samples(0, {}, 300'000);
  ASSERT_EQ(xids.size(), 1U);
  EXPECT_EQ(xids[0].value, 0);
  EXPECT_EQ(xids[0].labels.at(1), std::pair(std::string("xid"), std::string("0")));
  auto clocks = clock_samples(0, {}, 1000);
  ASSERT_EQ(clocks.size(), 1U);
  EXPECT_EQ(clocks[0].labels.size(), 1U);
}

TEST(ComputedCounters, NameEveryReasonOfAClockEvent) {
  struct Row {
    std::int64_t bit;
    const char* name;
  };
  for (const Row& row :
       {Row{0x1, "gpu_idle"}, Row{0x2, "clocks_setting"}, Row{0x4, "power_cap"},
        Row{0x8, "hw_slowdown"}, Row{0x10, "sync_boost"}, Row{0x20, "sw_thermal"},
        Row{0x40, "hw_thermal"}, Row{0x80, "hw_power_brake"}, Row{0x100, "display_clocks"}}) {
    auto samples = clock_samples(0, {{row.bit, 3}}, 300'000);
    ASSERT_EQ(samples.size(), 1U);
    EXPECT_EQ(samples[0].labels.at(1).second, row.name);
    EXPECT_EQ(samples[0].value, 3);
  }
}

TEST(Health, JudgesEachWatchByItself) {
  auto of = [](const HealthFacts& now, const HealthFacts* before, const char* watch) {
    for (const Reading::Extra& extra : health_samples(0, now, before, 1)) {
      if (extra.labels[1].second == watch) {
        return extra.labels[0].second + ' ' + std::to_string(extra.value);
      }
    }
    return std::string("none");
  };
  const HealthFacts well;
  for (const char* watch :
       {"PCIE", "NVLINK", "PMU", "MCU", "MEM", "SM", "INFOROM", "THERMAL", "POWER", "DRIVER"}) {
    EXPECT_EQ(of(well, nullptr, watch), "DCGM_FR_OK 0") << watch;
  }
  HealthFacts facts;
  facts.remap_failed = true;
  EXPECT_EQ(of(facts, nullptr, "MEM"), "DCGM_FR_ROW_REMAP_FAILURE 20");
  facts = {};
  facts.double_bit_errors = 1;
  EXPECT_EQ(of(facts, nullptr, "MEM"), "DCGM_FR_VOLATILE_DBE_DETECTED 20");
  facts = {};
  facts.clock_reasons = 0x40;
  EXPECT_EQ(of(facts, nullptr, "THERMAL"), "DCGM_FR_CLOCK_THROTTLE_THERMAL 10");
  facts.clock_reasons = 0x80;
  EXPECT_EQ(of(facts, nullptr, "POWER"), "DCGM_FR_CLOCK_THROTTLE_POWER 10");
  facts = {};
  HealthFacts before;
  before.pcie_replays = 10;
  before.nvlink_errors = 5;
  facts.pcie_replays = 19;
  facts.nvlink_errors = 6;
  EXPECT_EQ(of(facts, &before, "PCIE"), "DCGM_FR_PCI_REPLAY_RATE 10");
  EXPECT_EQ(of(facts, &before, "NVLINK"), "DCGM_FR_NVLINK_ERROR_THRESHOLD 10");
}

// --- a month -------------------------------------------------------------------------------------

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr double kGrowthKib =
    1 << 20;  // a sanitizer keeps what was freed; it finds leaks by itself
#else
constexpr double kGrowthKib = 1024;
#endif

double resident_kib() {
  std::ifstream statm("/proc/self/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * 4;
}

// Thirty days, a reading every half hour, with pods that come and go, XIDs and clock events.
TEST(AMonth, TakesNoMoreMemoryThanItsFirstDay) {
  const Counters counters = parse_counters(
                                "DCGM_FI_DEV_GPU_TEMP, gauge, t\nDCGM_FI_DEV_XID_ERRORS, gauge, x\n"
                                "DCGM_EXP_XID_ERRORS_COUNT, gauge, n",
                                "list", false)
                                .counters;
  constexpr std::int64_t kInterval = 1'800'000;
  constexpr std::int64_t kWindow = 10 * kInterval;
  constexpr std::int64_t kDay = 86'400'000;
  XidLog xids(kWindow);
  Window clocks(kWindow);
  double after_a_day = 0;
  std::string text;
  for (std::int64_t now = 0; now < 30 * kDay; now += kInterval) {
    Reading reading;
    reading.entity = {0, "GPU-0", "00000000:01:00.0", "NVIDIA H200", {}};
    xids.add(now, "GPU-0", {}, 13 + now / kInterval % 160);
    clocks.add(now, 1 << (now / kInterval % 9));
    reading.values = {Value::integer(40), Value::integer(xids.last(reading.entity))};
    reading.extras = xid_samples(0, xids.counts(reading.entity, now), kWindow);
    Attribution attribution;
    Share share;
    share.pod = "pod-" + std::to_string(now / kInterval);
    attribution["GPU-0"] = {share};
    text.clear();
    make_sheet(counters, {&reading, 1}, attribution, {}, {})->print(text);
    if (now == kDay) after_a_day = resident_kib();
  }
  EXPECT_LE(clocks.counts(30 * kDay - 1).size(), 9U);
  EXPECT_THAT(text, HasSubstr("pod-1439"));
  EXPECT_LT(resident_kib() - after_a_day, kGrowthKib);
}

// --- jobs, attribution ---------------------------------------------------------------------------

TEST(Jobs, AreReadFromFilesNamedLikeGpusAndInstances) {
  char pattern[] = "/tmp/kerf-jobs-XXXXXX";
  const std::string directory = mkdtemp(pattern);
  std::ofstream(directory + "/0") << "17\n18\n\n17\n";
  std::ofstream(directory + "/1.2") << "19";
  std::ofstream(directory + "/readme") << "no";
  const Jobs jobs = read_jobs(directory);
  EXPECT_THAT(jobs, ElementsAre(testing::Pair("0", ElementsAre("17", "18")),
                                testing::Pair("1.2", ElementsAre("19"))));
  std::filesystem::remove_all(directory);
  EXPECT_THAT(read_jobs(directory), IsEmpty());
}

TEST(Attribution, KeepsPodsReplicasAndTheLabelsThatAreWanted) {
  auto facts = std::make_shared<pods::PodFacts>();
  facts->uid = "u";
  facts->labels = {{"app", "a"}, {"team", "t"}};
  pods::PodDevice device;
  device.owner = {"ai", "trainer", "main"};
  device.facts = facts;
  device.uuid = "GPU-0";
  device.replica = 2;
  AttributionOptions options;
  EXPECT_THAT(attribution_of({&device, 1}, options).at("GPU-0").at(0).labels, IsEmpty());
  options.pod_labels = true;
  options.patterns.emplace_back("^app");
  const Share share = attribution_of({&device, 1}, options).at("GPU-0").at(0);
  EXPECT_EQ(share.pod + share.name_space + share.container + share.uid, "traineraimainu");
  EXPECT_EQ(share.replica, 2U);
  EXPECT_THAT(share.labels, ElementsAre(std::pair("app", "a")));
}

// --- pages and passwords -------------------------------------------------------------------------

http::Request get(const char* path, std::string authorization = "") {
  http::Request out;
  out.method = "GET";
  out.path = path;
  out.authorization = std::move(authorization);
  return out;
}

WebSources no_sheet() {
  return {[] { return SheetPtr(); }, [] { return false; }, {}};
}

TEST(Pages, AnswerLikeTheOriginal) {
  const http::Handler pages = make_pages(no_sheet());
  EXPECT_EQ(pages(get("/metrics")).status, 200);
  EXPECT_EQ(pages(get("/metrics")).body, "");
  EXPECT_EQ(pages(get("/metrics")).content_type, "text/plain; version=0.0.4; charset=utf-8");
  const http::Response health = pages(get("/health"));
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.body, "OK");
  EXPECT_THAT(health.headers, testing::Contains(std::pair("X-Registry-Available", "false")));
  EXPECT_THAT(health.headers, testing::Contains(std::pair("X-Reload-In-Progress", "false")));
  EXPECT_THAT(pages(get("/")).body, HasSubstr("<a href=\"./metrics\">"));
  EXPECT_EQ(pages(get("/nothing")).status, 404);
  http::Request post = get("/metrics");
  post.method = "POST";
  EXPECT_EQ(pages(post).status, 405);
}

// Password "test", cost 4.
constexpr const char* kBcrypt = "$2y$04$ljSz1CG8C91pP2uGpANB8uvnPe7pH1Eyi1R7TuU0OlHaF/Og/W5MK";

TEST(WebConfig, ReadsTlsAndUsers) {
  auto parsed = parse_web_config(
      "tls_server_config:\n  cert_file: tls.crt\n  key_file: /keys/tls.key\n"
      "  min_version: TLS13\n  client_auth_type: RequireAndVerifyClientCert\n"
      "  client_ca_file: ca.crt\nbasic_auth_users:\n  prom: " +
          std::string(kBcrypt) + "\n",
      "/etc/web/config.yaml");
  ASSERT_TRUE(parsed) << parsed.error().text();
  EXPECT_TRUE(parsed->tls);
  EXPECT_EQ(parsed->tls_config.cert_file, "/etc/web/tls.crt");
  EXPECT_EQ(parsed->tls_config.key_file, "/keys/tls.key");
  EXPECT_EQ(parsed->tls_config.least, http::TlsVersion::k13);
  EXPECT_EQ(parsed->tls_config.client_auth, http::ClientAuth::kRequireVerify);
  EXPECT_EQ(parsed->users.size(), 1U);
  EXPECT_TRUE(parse_web_config("", "w"));
}

TEST(WebConfig, NamesFieldAndRemedyOfEveryMistake) {
  struct Row {
    const char* text;
    const char* error;
  };
  for (const Row& row : {
           Row{"tls: {}", "is unknown: w.yaml: tls (there are tls_server_config"},
           Row{"[a]", "is no map: w.yaml"},
           Row{"a: [", "is no valid YAML"},
           Row{"tls_server_config: {cert_file: a}", "has only one of cert_file and key_file"},
           Row{"tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}",
               "w.yaml: tls_server_config.min_version (write TLS10"},
           Row{"tls_server_config: {cert_file: a, key_file: b, client_auth_type: Maybe}",
               "'Maybe' is unknown: w.yaml: tls_server_config.client_auth_type"},
           Row{"tls_server_config: {cert_file: a, key_file: b, client_auth_type: "
               "RequireAndVerifyClientCert}",
               "needs a CA"},
           Row{"tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
               "is not used by client_auth_type"},
           Row{"tls_server_config: {cert: a}", "w.yaml: tls_server_config.cert "},
           Row{"basic_auth_users: {a: plain}", "is no bcrypt text: w.yaml: basic_auth_users.a"},
           Row{"basic_auth_users: [a]", "is no map"},
       }) {
    auto parsed = parse_web_config(row.text, "w.yaml");
    ASSERT_FALSE(parsed) << row.text;
    EXPECT_THAT(parsed.error().text(), HasSubstr(row.error)) << row.text;
  }
}

TEST(Base64, IsReadStrictly) {
  EXPECT_EQ(from_base64("cHJvbTp0ZXN0"), "prom:test");
  EXPECT_EQ(from_base64("YQ=="), "a");
  EXPECT_EQ(from_base64("YWI="), "ab");
  EXPECT_EQ(from_base64(""), "");
  EXPECT_EQ(from_base64("a"), "");
  EXPECT_EQ(from_base64("ab!="), "");
}

TEST(Passwords, OpenThePagesOnlyWhenTheyAreRight) {
  ASSERT_TRUE(is_password_of("test", kBcrypt));
  EXPECT_FALSE(is_password_of("wrong", kBcrypt));
  EXPECT_FALSE(is_password_of("test", "*0"));
  EXPECT_FALSE(is_password_of(std::string("test\0x", 6), kBcrypt));
  const http::Handler pages = ask_for_password({{"prom", kBcrypt}}, make_pages(no_sheet()));
  struct Row {
    const char* header;
    int status;
  };
  for (const Row& row :
       {Row{"", 401}, Row{"Basic cHJvbTp0ZXN0", 200}, Row{"basic  cHJvbTp0ZXN0", 200},
        Row{"Basic cHJvbTp0ZXN0", 200}, Row{"Basic cHJvbTp3cm9uZw==", 401},
        Row{"Basic bm9ib2R5OnRlc3Q=", 401}, Row{"Bearer cHJvbTp0ZXN0", 401}, Row{"Basic !", 401}}) {
    const http::Response answer = pages(get("/metrics", row.header));
    EXPECT_EQ(answer.status, row.status) << row.header;
    if (answer.status != 401) continue;
    EXPECT_THAT(answer.headers, ElementsAre(std::pair("WWW-Authenticate", "Basic")));
  }
}

}  // namespace
}  // namespace kerf::exporter
