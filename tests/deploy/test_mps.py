"""What the component mps promises, asked of the rendered objects."""

import unittest

import render
import trees

ROOT = "/run/nvidia/mps"


def daemonset(tree, name):
    (found,) = [d for d in trees.objects(tree, "DaemonSet") if d["metadata"]["name"] == name]
    return found


def by_name(workload, name):
    (found,) = [c for c in render.containers(workload) if c["name"] == name]
    return found


def mounts(of):
    return {m["mountPath"]: m for m in of["volumeMounts"]}


def host_paths(workload):
    return {v["name"]: v["hostPath"]["path"] for v in workload["spec"]["template"]["spec"]["volumes"]
            if "hostPath" in v}


class Mps(unittest.TestCase):
    def each(self):
        for tree in (trees.TEN_SLICES, trees.FOUR_SLICES):
            with self.subTest(tree=tree.name):
                yield trees.with_components(tree, "mps")

    def test_the_plugin_stays_unprivileged_and_may_only_look(self):
        for tree in self.each():
            workload = daemonset(tree, "nvidia-device-plugin-daemonset")
            plugin = by_name(workload, "nvidia-device-plugin-ctr")
            self.assertEqual({e["name"]: e.get("value") for e in plugin["env"]}["MPS_ROOT"], ROOT)
            self.assertIs(mounts(plugin)["/mps"]["readOnly"], True)
            self.assertEqual(host_paths(workload)[mounts(plugin)["/mps"]["name"]], ROOT)
            self.assertEqual(plugin["securityContext"]["runAsUser"], 65534)
            self.assertNotIn("hostPID", workload["spec"]["template"]["spec"])
            for container in render.containers(workload):
                self.assertNotIn("privileged", container["securityContext"])

    def test_the_daemons_have_what_mps_needs(self):
        for tree in self.each():
            workload = daemonset(tree, "nvidia-mps-control-daemon")
            pod = workload["spec"]["template"]["spec"]
            daemon = by_name(workload, "mps-control-daemon")
            self.assertIs(pod["hostPID"], True)
            self.assertEqual(pod["runtimeClassName"], "nvidia")
            self.assertIs(pod["automountServiceAccountToken"], False)
            self.assertIs(daemon["securityContext"]["privileged"], True)
            paths = host_paths(workload)
            self.assertEqual({at: paths.get(m["name"]) for at, m in mounts(daemon).items()},
                             {"/mps": ROOT, "/dev/shm": f"{ROOT}/shm", "/etc/nvidia": None})
            mount = by_name(workload, "mount-shm")
            self.assertEqual(mount["command"], ["mps-control-daemon", "mount-shm"])
            self.assertEqual(mounts(mount)["/mps"]["mountPropagation"], "Bidirectional")

    def test_both_read_one_configuration_and_are_one_image(self):
        for tree in self.each():
            plugin, daemon = (daemonset(tree, n) for n in ("nvidia-device-plugin-daemonset",
                                                           "nvidia-mps-control-daemon"))

            def config(workload):
                (only,) = [v["configMap"]["name"] for v in
                           workload["spec"]["template"]["spec"]["volumes"] if v["name"] == "config"]
                return only

            self.assertEqual(config(plugin), config(daemon))
            self.assertEqual({c["image"] for c in render.containers(plugin)},
                             {c["image"] for c in render.containers(daemon)})
            one, two = (w["spec"]["template"]["spec"] for w in (plugin, daemon))
            self.assertEqual(one["affinity"], two["affinity"])
            # A tree may add its own to the plugin's.
            for toleration in two["tolerations"]:
                self.assertIn(toleration, one["tolerations"])

    def test_neither_selects_the_other(self):
        for tree in self.each():
            selectors = [d["spec"]["selector"]["matchLabels"]
                         for d in trees.objects(tree, "DaemonSet")]
            labels = [d["spec"]["template"]["metadata"]["labels"]
                      for d in trees.objects(tree, "DaemonSet")]
            for i, selector in enumerate(selectors):
                for j, label in enumerate(labels):
                    self.assertEqual(selector.items() <= label.items(), i == j)


if __name__ == "__main__":
    unittest.main(verbosity=2)
