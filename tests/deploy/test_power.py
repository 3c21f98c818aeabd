"""What the component power promises, and what users of the nvidia-powerlimit DaemonSet rely on, asked
of the rendered objects: checklist items S1-01, -12, -15, -35, -36, -37."""

import unittest

import render
import trees

NAME = "nvidia-powerlimit"
LABEL = "feature.node.kubernetes.io/pci-0300_10de.present"


def daemonset(tree):
    (found,) = [d for d in trees.objects(tree, "DaemonSet")
                if d["metadata"]["name"] == "nvidia-powerlimit-daemonset"]
    return found


def pod(tree):
    return daemonset(tree)["spec"]["template"]["spec"]


def container(tree):
    (only,) = render.containers(daemonset(tree))
    return only


def variables(tree):
    return {e["name"]: e.get("value") for e in container(tree)["env"]}


class Power(unittest.TestCase):
    def each(self):
        for tree in (trees.with_components(trees.TEN_SLICES, "power"), trees.FOUR_SLICES):
            with self.subTest(tree=str(tree)):
                yield tree

    def test_pods_are_found_by_the_labels_of_old(self):
        for tree in self.each():
            labels = daemonset(tree)["spec"]["template"]["metadata"]["labels"]
            self.assertEqual(labels["app.kubernetes.io/name"], NAME)
            self.assertEqual(labels["app.kubernetes.io/component"], "power-management")
            self.assertLessEqual(daemonset(tree)["spec"]["selector"]["matchLabels"].items(), labels.items())
            self.assertEqual(daemonset(tree)["metadata"]["namespace"], "gpu-device-plugin")

    def test_it_is_beside_the_plugin_in_the_deployment_that_had_it(self):
        names = {d["metadata"]["name"] for d in trees.objects(trees.FOUR_SLICES, "DaemonSet")}
        self.assertEqual(names, {"nvidia-device-plugin-daemonset", "nvidia-powerlimit-daemonset"})
        self.assertEqual(len(trees.objects(trees.TEN_SLICES, "DaemonSet")), 1)

    def test_no_object_needs_the_gpu_operator(self):
        for tree in self.each():
            for thing in trees.rendered(tree):
                self.assertNotIn("nvidia.com", thing["apiVersion"])

    def test_it_alone_is_privileged_and_the_plugin_is_as_before(self):
        for tree in self.each():
            self.assertEqual(container(tree)["securityContext"], {
                "runAsUser": 0, "runAsGroup": 0, "privileged": True, "readOnlyRootFilesystem": True})
            self.assertNotIn("hostPID", pod(tree))
            self.assertNotIn("hostNetwork", pod(tree))
            self.assertFalse([v for v in pod(tree)["volumes"] if "hostPath" in v])
            self.assertIs(pod(tree)["automountServiceAccountToken"], False)
            for one in render.containers(trees.the(tree, "DaemonSet")):
                self.assertNotIn("privileged", one["securityContext"])
                self.assertIs(one["securityContext"]["allowPrivilegeEscalation"], False)
        # Container by container: what the component adds changes nothing of the plugin.
        self.assertEqual(trees.the(trees.with_components(trees.TEN_SLICES, "power"), "DaemonSet"),
                         trees.the(trees.TEN_SLICES, "DaemonSet"))

    def test_watts_and_interval_are_set_by_the_variables_of_old(self):
        said = variables(trees.FOUR_SLICES)
        self.assertEqual((said["POWER_LIMIT_WATTS"], said["REAPPLY_SECONDS"]), ("300", "1800"))
        # Elsewhere nothing is limited unless the configuration says so.
        said = variables(trees.with_components(trees.TEN_SLICES, "power"))
        self.assertFalse({"POWER_LIMIT_WATTS", "REAPPLY_SECONDS"} & set(said))

    def test_it_sees_all_gpus_and_runs_where_the_plugin_does(self):
        for tree in self.each():
            said = variables(tree)
            self.assertEqual((said["NVIDIA_VISIBLE_DEVICES"], said["NVIDIA_DRIVER_CAPABILITIES"]),
                             ("all", "utility"))
            self.assertEqual(said["FAIL_ON_INIT_ERROR"], "false")
            self.assertEqual(pod(tree)["runtimeClassName"], "nvidia")
            self.assertEqual(pod(tree)["priorityClassName"], "system-node-critical")
            plugin = trees.the(tree, "DaemonSet")["spec"]["template"]["spec"]
            for what in ("affinity", "tolerations", "nodeSelector"):
                self.assertEqual(pod(tree).get(what), plugin.get(what), what)
        self.assertEqual(pod(trees.FOUR_SLICES)["nodeSelector"], {LABEL: "true"})

    def test_it_is_the_component_power_of_the_one_image_with_the_one_configuration(self):
        for tree in self.each():
            one = container(tree)
            self.assertEqual(one["command"], ["/usr/bin/kerf", "agent"])
            self.assertIn("--components=power,http", one["args"])
            self.assertIn("--config-file=/etc/nvidia/config.yaml", one["args"])
            self.assertEqual({one["image"]},
                             {c["image"] for c in render.containers(trees.the(tree, "DaemonSet"))})
            (config,) = [v["configMap"]["name"] for v in pod(tree)["volumes"]]
            self.assertEqual(config, trees.the(tree, "ConfigMap")["metadata"]["name"])
            for which in ("requests", "limits"):
                self.assertEqual(set(one["resources"][which]), {"cpu", "memory"})

    def test_the_plugins_service_does_not_lead_to_it(self):
        for tree in self.each():
            labels = daemonset(tree)["spec"]["template"]["metadata"]["labels"]
            selector = trees.the(tree, "Service")["spec"]["selector"]
            self.assertFalse(selector.items() <= labels.items())


if __name__ == "__main__":
    unittest.main()
