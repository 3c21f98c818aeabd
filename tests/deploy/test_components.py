"""What holds for every tree: each deployment alone and with each component."""

import unittest

import render
import test_docs
import trees
import yaml

WORKLOADS = ("DaemonSet", "Pod")
# Directories of a host that pods may make or change; more than these must be in docs/security.md.
OPEN = ("/run/", "/var/", "/dev/")


def workloads(tree):
    return [thing for kind in WORKLOADS for thing in trees.objects(tree, kind)]


def pod_spec(workload):
    return workload["spec"]["template"]["spec"] if workload["kind"] != "Pod" else workload["spec"]


def host_paths(workload):
    return {v["name"]: v["hostPath"] for v in pod_spec(workload).get("volumes", []) if "hostPath" in v}


def touched(tree):
    """{host path: whether it is made where it is missing} of all that a pod may make or write to."""
    found = {}
    for workload in workloads(tree):
        paths = host_paths(workload)
        written = {m["name"] for c in render.containers(workload) for m in c.get("volumeMounts", [])
                   if not m.get("readOnly")}
        for name, path in paths.items():
            makes = path["type"].endswith("OrCreate")
            if makes or name in written:
                found[path["path"]] = makes
    return found


class EveryTree(unittest.TestCase):
    def test_every_component_is_among_them(self):
        names = [name for name, _ in trees.every_tree()]
        self.assertGreater(len(trees.components()), 8)
        for component in trees.components():
            in_all = all(f"/{component}\n" in (directory / "kustomization.yaml").read_text()
                         for _, directory in trees.deployments())
            self.assertTrue(in_all or any(name.endswith(f" with {component}") for name in names), component)

    def test_only_listed_directories_of_the_host_outside_run_var_and_dev_are_written_to(self):
        rows = test_docs.table(test_docs.SECURITY, "host path", "component", "made where missing", "why")
        listed = {(path, component): {"yes": True, "no": False}[made] for path, component, made, _ in rows}
        found = {}
        for name, tree in trees.every_tree():
            for path, makes in touched(tree).items():
                if not (path + "/").startswith(OPEN):
                    component = name.partition(" with ")[2]
                    if component in trees.components():
                        found[path, component] = makes
                    else:
                        self.assertIn(path, {p for p, _ in listed}, name)
        self.assertEqual(found, listed)

    def test_every_host_path_says_what_it_must_be(self):
        for name, tree in trees.every_tree():
            for workload in workloads(tree):
                for path in host_paths(workload).values():
                    expected = ("CharDevice",) if path["path"] == "/dev/null" else ("Directory", "DirectoryOrCreate")
                    self.assertIn(path.get("type"), expected, f"{name}: {path}")

    def test_a_hardened_toolkit_is_asked_by_a_mount_of_nothing(self):
        for _, base in trees.deployments():
            (workload,) = [w for w in workloads(trees.with_components(base, "hardened-toolkit"))
                           if w["metadata"]["name"] == "nvidia-device-plugin-daemonset"]
            (plugin,) = [c for c in render.containers(workload) if c["name"] == "nvidia-device-plugin-ctr"]
            (mount,) = [m for m in plugin["volumeMounts"]
                        if m["mountPath"] == "/var/run/nvidia-container-devices/all"]
            self.assertIs(mount["readOnly"], True)
            self.assertEqual(host_paths(workload)[mount["name"]]["path"], "/dev/null")
            for one in render.containers(workload):
                self.assertEqual(mount in one["volumeMounts"], one is plugin, one["name"])

    def test_only_mps_and_who_tells_pods_apart_see_the_hosts_processes(self):
        for name, tree in trees.every_tree():
            for workload in workloads(tree):
                self.assertEqual(bool(pod_spec(workload).get("hostPID")),
                                 workload["metadata"]["name"] in
                                 ("nvidia-mps-control-daemon", "gpu-usage", "nvidia-dcgm-exporter"), name)

    def test_mps_and_power_alone_are_privileged(self):
        for name, tree in trees.every_tree():
            for workload in workloads(tree):
                alone = workload["metadata"]["name"] == "nvidia-mps-control-daemon"
                power = workload["metadata"]["name"] == "nvidia-powerlimit-daemonset"
                self.assertEqual("privileged: true" in yaml.safe_dump(workload), alone or power, name)
                self.assertLessEqual(alone, name.endswith(" with mps"), name)

    def test_every_container_is_limited_but_the_mps_daemon(self):
        unlimited = set()
        for _, tree in trees.every_tree():
            for workload in trees.objects(tree, "DaemonSet"):
                for one in render.containers(workload):
                    self.assertEqual(set(one["resources"]["requests"]), {"cpu", "memory"}, one["name"])
                    if set(one["resources"].get("limits", ())) != {"cpu", "memory"}:
                        unlimited.add(one["name"])
        # The servers of its clients are its children and count as it.
        self.assertEqual(unlimited, {"mps-control-daemon"})

    def test_every_image_is_the_one_image_and_every_object_has_its_namespace(self):
        cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding", "RuntimeClass"}
        for name, tree in trees.every_tree():
            images = {c["image"] for w in trees.objects(tree, "DaemonSet") for c in render.containers(w)}
            self.assertEqual(len(images), 1, name)
            for thing in trees.rendered(tree):
                # What Prometheus's operator and Grafana read belongs to them.
                theirs = (thing["kind"] in ("PodMonitor", "ServiceMonitor", "PrometheusRule")
                          or "grafana_dashboard" in thing["metadata"].get("labels", {}))
                there = "monitoring" if theirs else "gpu-device-plugin"
                self.assertEqual(thing["metadata"].get("namespace"),
                                 None if thing["kind"] in cluster else there, name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
