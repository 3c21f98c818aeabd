"""What the components that talk to the API server promise, asked of the rendered objects."""

import unittest

import render
import trees

PLUGIN = "nvidia-device-plugin-ctr"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def container(tree, name=PLUGIN):
    return next(c for c in render.containers(trees.the(tree, "DaemonSet")) if c["name"] == name)


def mounts(of):
    return {m["mountPath"]: m for m in of["volumeMounts"]}


def env(of):
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in of["env"]}


class ClusterAccess(unittest.TestCase):
    def test_by_itself_is_for_events_in_both_deployments(self):
        for directory in (trees.TEN_SLICES, trees.FOUR_SLICES):
            self.assertEqual(env(container(directory))["KERF_COMPONENTS"], "devices,http,events")
            self.assertIn(TOKEN, mounts(container(directory)))

    def each(self, *components):
        for directory in (trees.TEN_SLICES, trees.FOUR_SLICES):
            with self.subTest(tree=directory.name, components=components):
                yield trees.with_components(directory, *components)

    def test_is_the_plugins_alone_and_needs_no_more_rights_than_the_base_grants(self):
        for components in (["events"], ["named-configs"], ["events", "named-configs"],
                           ["events", "feature-discovery"]):
            for tree in self.each(*components):
                spec = trees.the(tree, "DaemonSet")["spec"]["template"]["spec"]
                self.assertIs(spec["automountServiceAccountToken"], False)
                names = {c["name"] for c in render.containers(trees.the(tree, "DaemonSet"))
                         if TOKEN in mounts(c)}
                self.assertEqual(names - {"gpu-feature-discovery"}, {PLUGIN})
                self.assertTrue(mounts(container(tree))[TOKEN]["readOnly"])
                (volume,) = [v for v in spec["volumes"] if v["name"] == "api-access"]
                self.assertEqual([list(s)[0] for s in volume["projected"]["sources"]],
                                 ["serviceAccountToken", "configMap", "downwardAPI"])
                (role,) = trees.objects(tree, "ClusterRole")
                self.assertEqual({(r["resources"][0], v) for r in role["rules"] for v in r["verbs"]},
                                 {("nodes", "get"), ("nodes", "list"), ("nodes", "watch"),
                                  ("nodes/status", "patch"), ("events", "create")})

    def test_for_events_knows_the_nodes_name(self):
        for tree in self.each("events"):
            self.assertEqual(env(container(tree))["KERF_COMPONENTS"], "devices,http,events")
            self.assertEqual(env(container(tree))["NODE_NAME"],
                             {"fieldRef": {"fieldPath": "spec.nodeName"}})

    def test_for_named_configurations_leaves_nodes_without_a_label_as_they_were(self):
        for tree in self.each("named-configs"):
            one = container(tree)
            self.assertEqual(one["args"], [])
            self.assertEqual(env(one)["CONFIG_FILE_SRCDIR"], "/etc/nvidia")
            self.assertIn("/etc/nvidia", mounts(one))
            (config,) = trees.objects(tree, "ConfigMap")
            self.assertIn(env(one)["DEFAULT_CONFIG"], config["data"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
