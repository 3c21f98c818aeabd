"""What the three ways to label nodes promise, asked of the rendered objects."""

import unittest

import render
import trees

LABELLER = "gpu-feature-discovery"
PLUGIN = "nvidia-device-plugin-ctr"
FEATURES_D = "/etc/kubernetes/node-feature-discovery/features.d"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def pod(tree):
    return trees.the(tree, "DaemonSet")["spec"]["template"]["spec"]


def container(tree, name=LABELLER):
    return next(c for c in render.containers(trees.the(tree, "DaemonSet")) if c["name"] == name)


def mounts(of):
    return {m["mountPath"]: m for m in of["volumeMounts"]}


def env(of):
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in of["env"]}


def volume(tree, name):
    return next(v for v in pod(tree)["volumes"] if v["name"] == name)


def rules(tree, kind):
    """{name: rules} of what the tree has beyond the base."""
    return {o["metadata"]["name"]: o["rules"] for o in trees.objects(tree, kind)
            if o["metadata"]["name"] != "nvidia-device-plugin"}


class Labelling(unittest.TestCase):
    def each(self, *components):
        for tree in (trees.TEN_SLICES, trees.FOUR_SLICES):
            with self.subTest(tree=tree.name, components=components):
                yield trees.with_labels(tree, *components)

    def test_the_labeller_reads_what_the_plugin_reads(self):
        for components in (["feature-discovery"], ["feature-discovery-file"],
                           ["feature-discovery", "node-labels"]):
            for tree in self.each(*components):
                one, plugin = container(tree), container(tree, "nvidia-device-plugin-ctr")
                self.assertEqual(one["command"], ["gpu-feature-discovery"])
                self.assertEqual((one["image"], one["args"]), (plugin["image"], plugin["args"]))
                self.assertEqual(mounts(one)["/etc/nvidia"], mounts(plugin)["/etc/nvidia"])
                self.assertEqual(env(one)["FAIL_ON_INIT_ERROR"], "false")
                context = dict(one["securityContext"])
                for key in ("runAsUser", "runAsGroup", "runAsNonRoot"):
                    del context[key]
                self.assertEqual(context, {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})
                for which in ("requests", "limits"):
                    self.assertEqual(set(one["resources"][which]), {"cpu", "memory"})

    def test_through_the_api_it_is_nobody_with_a_token_of_its_own(self):
        for tree in self.each("feature-discovery"):
            one = container(tree)
            self.assertEqual(one["securityContext"]["runAsUser"], 65534)
            self.assertEqual({e: f["fieldRef"]["fieldPath"] for e, f in env(one).items()
                              if isinstance(f, dict)},
                             {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name",
                              "NAMESPACE": "metadata.namespace"})
            self.assertTrue(all(m.get("readOnly") for m in one["volumeMounts"]))
            sources = volume(tree, mounts(one)[TOKEN]["name"])["projected"]["sources"]
            self.assertEqual([list(s)[0] for s in sources],
                             ["serviceAccountToken", "configMap", "downwardAPI"])
            self.assertIs(pod(tree)["automountServiceAccountToken"], False)
            for other in render.containers(trees.the(tree, "DaemonSet")):
                self.assertEqual(TOKEN in mounts(other), other["name"] in (LABELLER, PLUGIN))

    def test_through_the_api_it_may_do_what_it_does_in_its_namespace(self):
        for tree in self.each("feature-discovery"):
            self.assertEqual(rules(tree, "Role"), {LABELLER: [
                {"apiGroups": ["nfd.k8s-sigs.io"], "resources": ["nodefeatures"],
                 "verbs": ["get", "create", "update"]},
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
            self.assertEqual(rules(tree, "ClusterRole"), {})
            (binding,) = trees.objects(tree, "RoleBinding")
            self.assertEqual(binding["roleRef"]["name"], LABELLER)
            self.assertEqual(binding["subjects"], [{
                "kind": "ServiceAccount", "name": pod(tree)["serviceAccountName"],
                "namespace": "gpu-device-plugin"}])

    def test_by_file_it_sees_the_one_directory_and_no_token(self):
        for tree in self.each("feature-discovery-file"):
            one = container(tree)
            self.assertEqual(env(one)["GFD_USE_NODE_FEATURE_API"], "false")
            self.assertEqual(set(mounts(one)), {"/etc/nvidia", FEATURES_D})
            self.assertEqual(volume(tree, mounts(one)[FEATURES_D]["name"])["hostPath"],
                             {"path": FEATURES_D, "type": "Directory"})
            self.assertEqual(one["securityContext"]["runAsUser"], 0)
            self.assertEqual((rules(tree, "Role"), rules(tree, "ClusterRole")), ({}, {}))

    def test_onto_the_node_it_may_also_patch_nodes(self):
        for tree in self.each("feature-discovery", "node-labels"):
            self.assertEqual(env(container(tree))["KERF_NODE_LABELS"], "true")
            self.assertEqual(rules(tree, "ClusterRole"), {"gpu-node-labels": [
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}]})


if __name__ == "__main__":
    unittest.main(verbosity=2)
