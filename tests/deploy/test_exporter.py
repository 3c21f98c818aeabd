"""What the components metrics-exporter and prometheus-operator promise, asked of the rendered
objects: checklist items S3-04, S3-32 (name, port), S4-22, T7."""

import unittest

import render
import trees

NAME = "nvidia-dcgm-exporter"


class Exporter(unittest.TestCase):
    def each(self, *more):
        for tree in (trees.TEN_SLICES, trees.FOUR_SLICES):
            with self.subTest(tree=tree.name):
                yield trees.with_components(tree, "metrics-exporter", *more)

    def named(self, tree, kind):
        (found,) = [thing for thing in trees.objects(tree, kind) if thing["metadata"]["name"] == NAME]
        return found

    def container(self, tree):
        (only,) = render.containers(self.named(tree, "DaemonSet"))
        return only

    def test_pods_have_the_label_and_the_port_by_which_they_are_looked_for(self):
        for tree in self.each():
            template = self.named(tree, "DaemonSet")["spec"]["template"]
            self.assertEqual(template["metadata"]["labels"]["app"], NAME)
            (port,) = self.container(tree)["ports"]
            self.assertEqual((port["name"], port["containerPort"]), ("metrics", 9400))

    def test_the_service_leads_to_them(self):
        for tree in self.each():
            service = self.named(tree, "Service")["spec"]
            labels = self.named(tree, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
            self.assertLessEqual(service["selector"].items(), labels.items())
            (port,) = service["ports"]
            self.assertEqual((port["name"], port["port"], port["targetPort"]), ("metrics", 9400, "metrics"))

    def test_the_plugins_pods_are_not_taken_for_exporters(self):
        for tree in self.each():
            plugin = [d for d in trees.objects(tree, "DaemonSet")
                      if d["metadata"]["name"] == "nvidia-device-plugin-daemonset"][0]
            self.assertNotIn("app", plugin["spec"]["template"]["metadata"]["labels"])

    def test_it_is_the_one_image_without_any_capability(self):
        for tree in self.each():
            one = self.container(tree)
            self.assertEqual(one["command"], ["dcgm-exporter"])
            context = one["securityContext"]
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertNotIn("privileged", context)
            self.assertTrue(context["readOnlyRootFilesystem"])
            self.assertFalse(context["allowPrivilegeEscalation"])
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})

    def test_of_the_host_it_reads_the_kubelets_socket_processes_and_names_of_pods(self):
        for tree in self.each():
            spec = self.named(tree, "DaemonSet")["spec"]["template"]["spec"]
            self.assertIs(spec["hostPID"], True)
            self.assertEqual([v["hostPath"]["path"] for v in spec["volumes"]],
                             ["/var/lib/kubelet/pod-resources", "/var/log/pods", "/var/log/containers"])
            for mount in self.container(tree)["volumeMounts"]:
                self.assertTrue(mount["readOnly"], mount)

    def test_the_podmonitor_of_old_finds_them_from_its_own_namespace(self):
        for tree in self.each("prometheus-operator"):
            monitor = self.named(tree, "PodMonitor")
            self.assertEqual(monitor["metadata"]["namespace"], "monitoring")
            spec = monitor["spec"]
            self.assertEqual(spec["namespaceSelector"], {"matchNames": ["gpu-device-plugin"]})
            self.assertEqual(spec["selector"]["matchLabels"], {"app": NAME})
            (endpoint,) = spec["podMetricsEndpoints"]
            self.assertEqual((endpoint["port"], endpoint["interval"]), ("metrics", "15s"))

    def test_without_the_operator_there_is_nothing_of_its_kinds(self):
        for tree in self.each():
            kinds = {thing["kind"] for thing in trees.rendered(tree)}
            self.assertFalse(kinds & {"PodMonitor", "ServiceMonitor"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
