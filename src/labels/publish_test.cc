// What is asked of the API server, against a server that is a few lines of this file.
#include "labels/publish.h"

#include <map>
#include <vector>

#include "labels/objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kerf::labels {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kFeatures = "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/gpus/nodefeatures";
constexpr const char* kFeature =
    "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/gpus/nodefeatures/nvidia-features-for-n1";
constexpr const char* kNode = "/api/v1/nodes/n1";
constexpr const char* kPod = "/api/v1/namespaces/gpus/pods/gfd-abc";

// Objects by path. Collections that are not `served` do not exist.
class Server {
 public:
  Send send() {
    return [this](kube::Request request, const kube::Answer& done) {
      log.push_back(std::string(kube::to_string(request.verb)) + " " + request.path);
      done(answer(request));
    };
  }

  std::map<std::string, json> objects;
  std::vector<std::string> log;
  bool has_features = true;
  int conflicts = 0;
  bool denied = false;

 private:
  Result<kube::Response> answer(const kube::Request& request) {
    if (denied) return fail(Kind::kDenied, "403", "", "allow it", 403);
    if (request.verb == kube::Verb::kPost) {
      if (!has_features) return fail(Kind::kNotFound, "404", "", "", 404);
      json object = json::parse(request.body);
      objects[request.path + "/" + object["metadata"]["name"].get<std::string>()] = object;
      return kube::Response{201, request.body};
    }
    auto found = objects.find(request.path);
    if (found == objects.end()) return fail(Kind::kNotFound, "404", "", "", 404);
    if (request.verb != kube::Verb::kGet && conflicts-- > 0) {
      return fail(Kind::kConflict, "409", "", "", 409);
    }
    if (request.verb == kube::Verb::kPut) found->second = json::parse(request.body);
    if (request.verb == kube::Verb::kMergePatch) {
      found->second.merge_patch(json::parse(request.body));
    }
    return kube::Response{200, found->second.dump()};
  }
};

Result<bool> put(Publisher& publisher, const Labels& labels) {
  std::optional<Result<bool>> outcome;
  publisher.put(labels, [&](Result<bool> wrote) { outcome = std::move(wrote); });
  EXPECT_TRUE(outcome.has_value());
  return outcome.value_or(false);
}

json pod_of_daemonset() {
  return {{"metadata",
           {{"name", "gfd-abc"},
            {"uid", "u-pod"},
            {"ownerReferences",
             {{{"apiVersion", "apps/v1"},
               {"kind", "DaemonSet"},
               {"name", "gfd"},
               {"uid", "u-ds"},
               {"controller", true},
               {"blockOwnerDeletion", true}}}}}}};
}

TEST(NodeFeature, IsMadeWhereThereIsNone) {
  Server server;
  server.objects[kPod] = pod_of_daemonset();
  Publisher publisher(server.send(), {"n1", "gpus", "gfd-abc"});
  EXPECT_TRUE(put(publisher, {{"nvidia.com/gpu.count", "2"}}).value());
  EXPECT_THAT(server.log, ElementsAre(std::string("GET ") + kPod, std::string("GET ") + kFeature,
                                      std::string("POST ") + kFeatures));
  json wanted = json::parse(R"({
    "apiVersion": "nfd.k8s-sigs.io/v1alpha1", "kind": "NodeFeature",
    "metadata": {"name": "nvidia-features-for-n1", "namespace": "gpus",
      "labels": {"nfd.node.kubernetes.io/node-name": "n1"},
      "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gfd", "uid": "u-ds",
         "controller": true},
        {"apiVersion": "v1", "kind": "Pod", "name": "gfd-abc", "uid": "u-pod"}]},
    "spec": {"features": {"flags": {}, "attributes": {}, "instances": {}},
      "labels": {"nvidia.com/gpu.count": "2"}}})");
  EXPECT_EQ(server.objects[kFeature], wanted);
}

TEST(NodeFeature, IsReplacedOnlyWhenItDiffers) {
  Server server;
  Publisher publisher(server.send(), {"n1", "gpus", ""});
  ASSERT_TRUE(put(publisher, {{"a", "1"}}).value());
  // As the server gives it back: with more of its own, and without what is empty.
  server.objects[kFeature]["metadata"]["resourceVersion"] = "7";
  server.objects[kFeature]["spec"]["features"] = json::object();
  EXPECT_FALSE(put(publisher, {{"a", "1"}}).value());
  EXPECT_TRUE(put(publisher, {{"a", "2"}}).value());
  EXPECT_EQ(server.objects[kFeature]["metadata"]["resourceVersion"], "7");
  EXPECT_EQ(server.objects[kFeature]["spec"]["labels"], (json{{"a", "2"}}));
  server.objects[kFeature]["metadata"]["labels"]["other"] = "x";
  server.objects[kFeature]["metadata"]["ownerReferences"] = json::array({{{"name", "old"}}});
  EXPECT_TRUE(put(publisher, {{"a", "2"}}).value());
  EXPECT_EQ(server.objects[kFeature]["metadata"]["labels"].size(), 1U);
  EXPECT_TRUE(server.objects[kFeature]["metadata"]["ownerReferences"].empty());
  server.objects[kFeature]["spec"]["features"]["flags"] = {{"x", 1}};
  EXPECT_TRUE(put(publisher, {{"a", "2"}}).value());
}

TEST(NodeFeature, HasNoOwnerWhereThePodHasNone) {
  for (const json& pod : {json(), json::parse(R"({"metadata": {"name": "p", "uid": "u"}})"),
                          json::parse(R"({"metadata": {"name": "p", "uid": "u",
                            "ownerReferences": [{"kind": "ReplicaSet", "name": "r"}]}})"),
                          json::parse(R"({"metadata": {"name": "p", "uid": "u",
                            "ownerReferences": "odd"}})")}) {
    Server server;
    if (!pod.is_null()) server.objects[kPod] = pod;
    Publisher publisher(server.send(), {"n1", "gpus", "gfd-abc"});
    EXPECT_TRUE(put(publisher, {{"a", "1"}}).value());
    EXPECT_FALSE(server.objects[kFeature]["metadata"].contains("ownerReferences"));
    EXPECT_FALSE(put(publisher, {{"a", "1"}}).value());
  }
}

TEST(NodeFeature, IsTriedAgainWhenSomebodyElseChangedIt) {
  Server server;
  Publisher publisher(server.send(), {"n1", "gpus", ""});
  ASSERT_TRUE(put(publisher, {{"a", "1"}}).value());
  server.conflicts = 2;
  EXPECT_TRUE(put(publisher, {{"a", "2"}}).value());
  server.conflicts = 100;
  Result<bool> never = put(publisher, {{"a", "3"}});
  ASSERT_FALSE(never.has_value());
  EXPECT_EQ(never.error().kind, Kind::kConflict);
}

TEST(NodeFeature, SaysWhatToDoWhereTheClusterKnowsNone) {
  Server server;
  server.has_features = false;
  Publisher publisher(server.send(), {"n1", "gpus", ""});
  Result<bool> refused = put(publisher, {{"a", "1"}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, Kind::kNotFound);
  EXPECT_THAT(refused.error().hint, HasSubstr("install node-feature-discovery"));
  server.denied = true;
  EXPECT_EQ(put(publisher, {{"a", "1"}}).error().kind, Kind::kDenied);
}

TEST(NodeLabels, AreSetChangedAndTakenAwayAndNoOthers) {
  Server server;
  server.objects[kNode] = json::parse(
      R"({"metadata": {"name": "n1", "labels": {"mine": "x", "nvidia.com/gpu.present": "true"}}})");
  Publisher publisher(server.send(), {"n1", "gpus", "", true});
  json& labels = server.objects[kNode]["metadata"]["labels"];
  EXPECT_TRUE(put(publisher, {{"a", "1"}, {"b", "2"}}).value());
  EXPECT_EQ(labels,
            json::parse(R"({"mine": "x", "nvidia.com/gpu.present": "true", "a": "1", "b": "2"})"));
  EXPECT_FALSE(put(publisher, {{"a", "1"}, {"b", "2"}}).value());
  // Changed by hand: set again. No longer wanted: taken away, also by the next process.
  labels["a"] = "9";
  Publisher next(server.send(), {"n1", "gpus", "", true});
  EXPECT_TRUE(put(next, {{"a", "1"}}).value());
  EXPECT_EQ(labels, json::parse(R"({"mine": "x", "nvidia.com/gpu.present": "true", "a": "1"})"));
  EXPECT_TRUE(put(next, {}).value());
  EXPECT_EQ(labels, json::parse(R"({"mine": "x", "nvidia.com/gpu.present": "true"})"));
  EXPECT_THAT(server.log.back(), StartsWith("PATCH /api/v1/nodes/n1"));
}

TEST(NodeLabels, NeedTheNode) {
  Server server;
  Publisher publisher(server.send(), {"n1", "gpus", "", true});
  Result<bool> refused = put(publisher, {{"a", "1"}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().hint, HasSubstr("NODE_NAME"));
}

TEST(Answers, ThatMakeNoSenseAreErrors) {
  for (const char* text : {"", "[]", "3", "{}", "{\"metadata\": 1}", "{"}) {
    EXPECT_FALSE(node_patch(text, {}).has_value()) << text;
    EXPECT_FALSE(changed_node_feature(text, "n", {}, "[]").has_value()) << text;
    EXPECT_FALSE(owners_from_pod(text).has_value()) << text;
  }
}

TEST(Paths, EscapeWhatIsForeign) {
  EXPECT_EQ(node_path("a/b"), "/api/v1/nodes/a%2Fb");
  EXPECT_EQ(pod_path("n s", "p"), "/api/v1/namespaces/n%20s/pods/p");
}

}  // namespace
}  // namespace kerf::labels
