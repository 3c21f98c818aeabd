#include "pods/names.h"

#include <filesystem>
#include <fstream>

#include "pods/facts.h"
#include "pods/processes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::pods {
namespace {

namespace fs = std::filesystem;

const std::string kId(64, 'a');
const std::string kOtherId(64, 'b');

class Tree : public testing::Test {
 protected:
  Tree() {
    root_ = fs::path(testing::TempDir()) /
            ("pods-" + std::to_string(getpid()) + "-" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(root_);
  }
  ~Tree() override { fs::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST_F(Tree, OfLogsTellsTheNamesOfPodsAndContainers) {
  fs::create_directories(root_ / "log/pods/ml_train-0_u-1");
  fs::create_directories(root_ / "log/pods/not a pod");
  fs::create_directories(root_ / "log/pods/__");
  put("log/containers/train-0_ml_main-" + kId + ".log", "");
  put("log/containers/train-0_ml_main.log", "");
  put("log/containers/README", "");
  const NameBook book = read_names(root_);
  ASSERT_EQ(book.pods.size(), 1U);
  EXPECT_EQ(book.pods.at("u-1"), (Owner{"ml", "train-0", ""}));
  ASSERT_EQ(book.containers.size(), 1U);
  EXPECT_EQ(book.containers.at(kId), (Owner{"ml", "train-0", "main"}));
  EXPECT_TRUE(read_names(root_ / "missing").pods.empty());
}

Pods known_to_the_api() {
  Pods pods;
  auto facts = std::make_shared<PodFacts>();
  facts->name_space = "ml";
  facts->pod = "train-0";
  facts->uid = "u-1";
  facts->containers[kId] = "main";
  pods.facts["u-1"] = facts;
  return pods;
}

NameBook book_with(const std::string& id, const Owner& owner) {
  NameBook book;
  book.pods["u-1"] = {"ml", "train-0", ""};
  book.containers[id] = owner;
  return book;
}

TEST(Owners, AreNamedByWhoeverKnowsBest) {
  const Owner main{"ml", "train-0", "main"};
  const Owner unnamed{"ml", "train-0", ""};
  Pods kubelet;
  kubelet.containers = {{{"ml", "train-0", "main"}, {{"nvidia.com/gpu", {"GPU-a"}}}, {}}};
  Pods two = kubelet;
  two.containers.push_back({{"ml", "train-0", "side"}, {{"nvidia.com/gpu", {"GPU-b"}}}, {}});
  struct Row {
    const char* name;
    Membership member;
    Pods pods;
    NameBook book;
    std::optional<Owner> expected;
  };
  const std::vector<Row> table = {
      {"the API server knows both", {"u-1", kId}, known_to_the_api(), {}, main},
      {"the API server does not know the container yet",
       {"u-1", kOtherId},
       known_to_the_api(),
       book_with(kOtherId, {"ml", "train-0", "side"}),
       Owner{"ml", "train-0", "side"}},
      {"log directories alone", {"u-1", kId}, {}, book_with(kId, main), main},
      {"a left-over link", {"u-1", kId}, {}, book_with(kId, {"ml", "train-9", "main"}), unnamed},
      {"the container alone", {"", kId}, {}, book_with(kId, main), main},
      {"one container holds devices", {"u-1", kId}, kubelet, book_with(kOtherId, main), main},
      {"two do", {"u-1", kId}, two, book_with(kOtherId, main), unnamed},
      {"the pod's own group", {"u-1", ""}, {}, book_with(kId, main), unnamed},
      {"nobody knows", {"u-9", kOtherId}, known_to_the_api(), book_with(kId, main), {}},
  };
  for (const Row& row : table) {
    EXPECT_EQ(owner_of(row.member, row.pods, row.book), row.expected) << row.name;
  }
}

TEST(PodFactsOfThePod, AreTakenFromItsObject) {
  auto facts = pod_facts(R"({"kind":"Pod","metadata":{"name":"train-0","namespace":"ml",
    "uid":"u-1","labels":{"app":"train","n":3},"annotations":{"kerf/gpu-memory":"6Gi",
    "kubectl.kubernetes.io/last-applied-configuration":"long"}},
    "status":{"containerStatuses":[{"name":"main","containerID":"containerd://)" +
                         kId + R"("},{"name":"new"}],"initContainerStatuses":[{"name":"init",
    "containerID":"docker://)" +
                         kOtherId + R"("}]}})");
  ASSERT_TRUE(facts) << facts.error().text();
  EXPECT_EQ(facts->pod, "train-0");
  EXPECT_EQ(facts->uid, "u-1");
  EXPECT_THAT(facts->labels, testing::ElementsAre(testing::Pair("app", "train")));
  EXPECT_THAT(facts->annotations, testing::ElementsAre(testing::Pair("kerf/gpu-memory", "6Gi")));
  EXPECT_EQ(facts->containers.at(kId), "main");
  EXPECT_EQ(facts->containers.at(kOtherId), "init");
}

TEST(PodFactsOfThePod, HaveTheKubeletsUidForAStaticPod) {
  auto facts = pod_facts(R"({"metadata":{"name":"etcd-n1","namespace":"kube-system","uid":"u-7",
    "annotations":{"kubernetes.io/config.hash":"0123456789abcdef0123456789abcdef"}}})");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->uid, "0123456789abcdef0123456789abcdef");
}

TEST(PodFactsOfThePod, AreNotTakenFromAnythingElse) {
  for (const char* text : {"", "[]", "{", "{\"metadata\":[]}", "{\"metadata\":{\"name\":7}}",
                           "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}"}) {
    EXPECT_FALSE(pod_facts(text)) << text;
  }
}

TEST(Quantities, AreReadAsKubernetesWritesThem) {
  const std::vector<std::pair<const char*, std::uint64_t>> table = {
      {"1", 1},
      {"1000", 1000},
      {"6Gi", 6ULL << 30},
      {"1.5Gi", 3ULL << 29},
      {"500M", 500000000},
      {"2k", 2000},
      {"16384Mi", 1ULL << 34},
      {"0.5Ki", 512},
  };
  for (const auto& [text, bytes] : table) {
    auto read = parse_quantity(text);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(*read, bytes) << text;
  }
  for (const char* text :
       {"", "Gi", "-1", "0", "1e3", "1 Gi", "6gb", "nan", "inf", "99999999E", "0x10"}) {
    EXPECT_FALSE(parse_quantity(text)) << text;
  }
}

std::string stat_line(const std::string& name, const std::string& start) {
  std::string line = "7 (" + name + ") S";
  for (int field = 4; field < 22; ++field) line += " 0";
  return line + " " + start + " 0 0\n";
}

TEST(StartTimes, AreFoundWhateverTheProgramIsCalled) {
  EXPECT_EQ(start_time(stat_line("python", "4711")), 4711U);
  EXPECT_EQ(start_time(stat_line("a) b (c", "12")), 12U);
  EXPECT_EQ(start_time("7 (short) S 1 2"), std::nullopt);
  EXPECT_EQ(start_time(stat_line("x", "later")), std::nullopt);
  EXPECT_EQ(start_time(""), std::nullopt);
}

TEST_F(Tree, OfProcessesTellsWhoseTheyAreAndNoticesAReusedNumber) {
  const std::string uid = "1c8d4c1e-8f3b-4c0e-9a67-0d2f5b6a7c81";
  const std::string other = "2c8d4c1e-8f3b-4c0e-9a67-0d2f5b6a7c81";
  Processes processes(root_);
  EXPECT_EQ(processes.look(7).error().kind, Kind::kNotFound);
  put("7/stat", stat_line("python", "100"));
  put("7/cgroup", "0::/kubepods/pod" + uid + "/" + kId + "\n");
  auto first = processes.look(7);
  ASSERT_TRUE(first) << first.error().text();
  EXPECT_EQ(first->started, 100U);
  EXPECT_EQ(first->member, (Membership{uid, kId}));

  put("7/cgroup", "0::/kubepods/pod" + other + "/" + kOtherId + "\n");
  EXPECT_EQ(processes.look(7)->member, (Membership{uid, kId})) << "read once";
  put("7/stat", stat_line("python", "200"));
  EXPECT_EQ(processes.look(7)->member, (Membership{other, kOtherId})) << "another process";

  fs::remove_all(root_ / "7");
  EXPECT_FALSE(processes.look(7));
  EXPECT_EQ(processes.size(), 0U);

  put("8/stat", stat_line("host", "5"));
  put("8/cgroup", "0::/system.slice/ssh.service\n");
  EXPECT_EQ(processes.look(8)->member, std::nullopt);
  put("9/stat", "nonsense");
  EXPECT_EQ(processes.look(9).error().kind, Kind::kCorrupt);
  processes.keep_only({});
  EXPECT_EQ(processes.size(), 0U);
}

}  // namespace
}  // namespace kerf::pods
