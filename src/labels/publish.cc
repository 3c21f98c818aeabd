#include "labels/publish.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "labels/objects.h"

namespace kerf::labels {
namespace {

constexpr int kTries = 4;

}  // namespace

void Publisher::put(const Labels& labels, Done done) {
  labels_ = labels;
  done_ = std::move(done);
  tries_ = 0;
  if (target_.node_itself || owners_known_) return get();
  find_owners();
}

// Once. Without an owner the object outlives the DaemonSet, which is no reason not to write it.
void Publisher::find_owners() {
  if (target_.pod.empty()) {
    owners_ = "[]";
    owners_known_ = true;
    return get();
  }
  send_({kube::Verb::kGet, pod_path(target_.name_space, target_.pod), ""},
        [this](Result<kube::Response> pod) {
          Result<std::string> owners = "[]";
          if (pod) owners = owners_from_pod(pod->body);
          if (!pod) owners = fail(std::move(pod.error()));
          if (!owners) {
            log::warn("labels", "the NodeFeature will have no owner",
                      {{"pod", target_.pod}, {"err", owners.error().text()}});
          }
          owners_ = owners.value_or("[]");
          owners_known_ = true;
          get();
        });
}

void Publisher::get() {
  std::string path = target_.node_itself ? node_path(target_.node)
                                         : node_features_path(target_.name_space) + "/" +
                                               kube::escape(node_feature_name(target_.node));
  send_({kube::Verb::kGet, std::move(path), ""},
        [this](const Result<kube::Response>& current) { take(current); });
}

void Publisher::take(const Result<kube::Response>& current) {
  if (!current) {
    bool absent = current.error().kind == Kind::kNotFound;
    if (absent && !target_.node_itself) return create();
    Error error = current.error();
    if (absent) error.hint = "set --node-name (NODE_NAME) to the name of this node";
    return finish(fail(std::move(error)));
  }
  auto change = target_.node_itself
                    ? node_patch(current->body, labels_)
                    : changed_node_feature(current->body, target_.node, labels_, owners_);
  if (!change) return finish(fail(std::move(change.error())));
  std::optional<std::string> body = std::move(*change);
  if (!body) return finish(false);
  if (target_.node_itself) {
    return write(kube::Verb::kMergePatch, node_path(target_.node), std::move(*body));
  }
  write(
      kube::Verb::kPut,
      node_features_path(target_.name_space) + "/" + kube::escape(node_feature_name(target_.node)),
      std::move(*body));
}

void Publisher::create() {
  write(kube::Verb::kPost, node_features_path(target_.name_space),
        new_node_feature(target_.node, target_.name_space, labels_, owners_));
}

void Publisher::write(kube::Verb verb, std::string path, std::string body) {
  send_({verb, std::move(path), std::move(body)}, [this, verb](Result<kube::Response> written) {
    if (written) return finish(true);
    Error error = std::move(written.error());
    if (error.kind == Kind::kConflict && ++tries_ < kTries) return get();
    if (error.kind == Kind::kNotFound && verb == kube::Verb::kPost) {
      error.what = "the cluster has no NodeFeatures, or no namespace " + target_.name_space + ": " +
                   error.what;
      error.hint =
          "install node-feature-discovery, or set flags.gfd.nodeLabels to label the node itself";
    }
    finish(fail(std::move(error)));
  });
}

void Publisher::finish(Result<bool> outcome) {
  // The last thing done here: the caller may begin anew.
  std::exchange(done_, nullptr)(std::move(outcome));
}

}  // namespace kerf::labels
