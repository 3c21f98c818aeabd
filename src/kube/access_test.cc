#include "kube/access.h"

#include <filesystem>
#include <fstream>

namespace kerf::kube {
namespace {

namespace fs = std::filesystem;

class InCluster : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / ("kube-access-" + std::to_string(getpid()));
    mount_ = root_ / "var/run/secrets/kubernetes.io/serviceaccount";
    fs::create_directories(mount_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(const std::string& name, const std::string& text) {
    std::ofstream(mount_ / name) << text;
  }

  fs::path root_;
  fs::path mount_;
  Env env_ = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "6443"}};
};

TEST_F(InCluster, TakesWhatIsMountedIntoAPod) {
  put("ca.crt", "pem");
  put("token", "t\n");
  put("namespace", "gpu\n");
  Result<Access> access = in_cluster(env_, Roots::below(root_.string()));
  ASSERT_TRUE(access.has_value()) << access.error().text();
  EXPECT_EQ(access->url(), "https://10.96.0.1:6443");
  EXPECT_EQ(access->name_space, "gpu");
  EXPECT_EQ(access->token.file, (mount_ / "token").string());
}

TEST_F(InCluster, SaysThatNoServiceAccountIsMounted) {
  Result<Access> access = in_cluster(env_, Roots::below(root_.string()));
  ASSERT_FALSE(access.has_value());
  EXPECT_EQ(access.error().kind, Kind::kNotFound);
  EXPECT_NE(access.error().hint.find("automountServiceAccountToken"), std::string::npos);
  EXPECT_EQ(in_cluster({}, Roots::below("")).error().subject, "KUBERNETES_SERVICE_HOST");
}

constexpr std::string_view kConfig = R"(
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: zero, context: {cluster: none, user: none}}
- {name: one, context: {cluster: c, user: u, namespace: gpu}}
clusters:
- name: c
  cluster: {server: "https://[fd00::1]:6443/k8s/", certificate-authority: pki/ca.crt}
users:
- name: u
  user: {token: abc, client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8h}
)";

std::string with(std::string_view from, std::string_view to) {
  std::string text(kConfig);
  std::size_t at = text.find(from);
  return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

TEST(Kubeconfig, GivesItsCurrentContext) {
  Result<Access> access = from_kubeconfig(kConfig, "/etc/k/config");
  ASSERT_TRUE(access.has_value()) << access.error().text();
  EXPECT_EQ(access->host, "fd00::1");
  EXPECT_EQ(access->port, 6443);
  EXPECT_EQ(access->url(), "https://[fd00::1]:6443/k8s");
  EXPECT_EQ(access->ca.file, "/etc/k/pki/ca.crt");
  EXPECT_EQ(access->client_certificate.text, "hello");
  EXPECT_EQ(access->client_key.text, "hello!");
  EXPECT_EQ(access->token.text, "abc");
  EXPECT_EQ(access->name_space, "gpu");
}

TEST(Kubeconfig, IsRefusedWithAFieldAndARemedy) {
  struct Case {
    std::string from, to;
    Kind kind;
    std::string subject;
  };
  for (const Case& c : std::vector<Case>{
           {"current-context: one", "current-context: two", Kind::kInvalid, "contexts"},
           {"current-context: one", "", Kind::kInvalid, "f"},
           {"name: c\n", "name: d\n", Kind::kInvalid, "clusters"},
           {"https://", "http://", Kind::kUnsupported, "cluster.server"},
           {"https://[fd00::1]:6443/k8s/", "https://u@h/", Kind::kInvalid, "cluster.server"},
           {"https://[fd00::1]:6443/k8s/", "https://h:0", Kind::kInvalid, "cluster.server"},
           {"certificate-authority: pki/ca.crt", "insecure-skip-tls-verify: true",
            Kind::kUnsupported, "insecure-skip-tls-verify"},
           {"certificate-authority: pki/ca.crt", "x: y", Kind::kInvalid,
            "cluster.certificate-authority"},
           {"certificate-authority: pki/ca.crt", "certificate-authority-data: '%%'", Kind::kInvalid,
            "certificate-authority-data"},
           {"token: abc", "exec: {command: aws}", Kind::kUnsupported, "exec"},
           {"token: abc", "auth-provider: {name: gcp}", Kind::kUnsupported, "auth-provider"},
           {", client-key-data: aGVsbG8h", "", Kind::kInvalid, "user.client-certificate"},
           {"contexts:", "contexts: [", Kind::kInvalid, "f:"},
       }) {
    std::string text = with(c.from, c.to);
    ASSERT_FALSE(text.empty()) << c.from;
    Result<Access> access = from_kubeconfig(text, "f");
    ASSERT_FALSE(access.has_value()) << c.to;
    EXPECT_EQ(access.error().kind, c.kind) << access.error().text();
    EXPECT_NE(access.error().subject.find(c.subject), std::string::npos) << access.error().text();
    EXPECT_FALSE(access.error().hint.empty()) << access.error().text();
  }
}

TEST(Kubeconfig, MayBeMissing) {
  Result<Access> access = find_access("/nonexistent/config", {}, Roots::below(""));
  ASSERT_FALSE(access.has_value());
  EXPECT_EQ(access.error().kind, Kind::kNotFound);
  EXPECT_NE(access.error().hint.find("KUBECONFIG"), std::string::npos);
}

}  // namespace
}  // namespace kerf::kube
