"""What the two deployments of the device plugin promise, asked of the rendered objects."""

import unittest

import render
import trees
import yaml

NAMESPACE = "gpu-device-plugin"
PLUGIN = "nvidia-device-plugin-ctr"
HELPERS = ("kubelet-access-init", "kubelet-access")
TOLERATIONS = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
]


def daemonset(tree):
    return trees.the(tree, "DaemonSet")


def pod(tree):
    return daemonset(tree)["spec"]["template"]["spec"]


def container(tree, name=PLUGIN):
    return next(c for c in render.containers(daemonset(tree)) if c["name"] == name)


def config(tree):
    return yaml.safe_load(trees.the(tree, "ConfigMap")["data"]["config.yaml"])


def mounts(of):
    return {m["mountPath"]: m for m in of["volumeMounts"]}


def host_paths(spec):
    return {v["name"]: v["hostPath"] for v in spec["volumes"] if "hostPath" in v}


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def accepts(spec, labels):
    """Whether the scheduler would put this pod on a node with these labels."""
    affinity = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = affinity["nodeSelectorTerms"]
    fits = any(all(e["operator"] == "In" and labels.get(e["key"]) in e["values"]
                   for e in term["matchExpressions"]) for term in terms)
    return fits and matches(spec.get("nodeSelector", {}), labels)


class Deployment:
    """What both have in common; each checks it of itself."""

    tree = None

    def test_holds_the_whole_production_set_and_nothing_else(self):
        plugins = [t for t in trees.rendered(self.tree) if trees.name_label(t) != trees.POWER]
        self.assertEqual(sorted(t["kind"] for t in plugins), [
            "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Namespace",
            "RuntimeClass", "Service", "ServiceAccount"])

    def test_every_object_is_in_the_namespace_or_of_the_cluster(self):
        cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding", "RuntimeClass"}
        for thing in trees.rendered(self.tree):
            expected = None if thing["kind"] in cluster else NAMESPACE
            self.assertEqual(thing["metadata"].get("namespace"), expected, thing["kind"])
        self.assertEqual(trees.the(self.tree, "Namespace")["metadata"]["name"], NAMESPACE)

    def test_the_namespace_admits_host_paths_and_host_network(self):
        labels = trees.the(self.tree, "Namespace")["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            self.assertEqual(labels[f"pod-security.kubernetes.io/{mode}"], "privileged")

    def test_rbac_is_the_minimal_exact_set(self):
        granted = {(group, resource, verb) for rule in trees.the(self.tree, "ClusterRole")["rules"]
                   for group in rule["apiGroups"] for resource in rule["resources"]
                   for verb in rule["verbs"]}
        self.assertEqual(granted, {
            ("", "nodes", "get"), ("", "nodes", "list"), ("", "nodes", "watch"),
            ("", "nodes/status", "patch"), ("", "events", "create")})

    def test_the_role_is_bound_to_the_account_the_pods_run_as(self):
        binding = trees.the(self.tree, "ClusterRoleBinding")
        account = trees.the(self.tree, "ServiceAccount")["metadata"]
        self.assertEqual(binding["roleRef"], {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": trees.the(self.tree, "ClusterRole")["metadata"]["name"]})
        self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": account["name"],
                                                "namespace": NAMESPACE}])
        self.assertEqual(pod(self.tree)["serviceAccountName"], account["name"])
        self.assertIs(pod(self.tree)["automountServiceAccountToken"], False)

    def test_the_runtime_class_is_nvidias(self):
        runtime = trees.the(self.tree, "RuntimeClass")
        self.assertEqual((runtime["metadata"]["name"], runtime["handler"]), ("nvidia", "nvidia"))

    def test_pods_are_found_by_the_documented_label(self):
        self.assertEqual(daemonset(self.tree)["metadata"]["name"], "nvidia-device-plugin-daemonset")
        labels = daemonset(self.tree)["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(labels["app.kubernetes.io/name"], "nvidia-device-plugin")
        self.assertTrue(matches(daemonset(self.tree)["spec"]["selector"]["matchLabels"], labels))

    def test_the_selector_holds_nothing_that_changes_with_a_release(self):
        self.assertEqual(set(daemonset(self.tree)["spec"]["selector"]["matchLabels"]),
                         {"app.kubernetes.io/name", "app.kubernetes.io/component"})

    def test_all_containers_are_one_image_of_the_released_version(self):
        version = (trees.REPOSITORY / "VERSION").read_text().strip()
        self.assertEqual({c["image"] for c in render.containers(daemonset(self.tree))}, {f"kerf:{version}"})

    def test_one_entry_sets_a_registry_for_all_containers(self):
        images = {c["image"] for c in render.containers(daemonset(trees.with_registry(self.tree)))}
        self.assertEqual(len(images), 1)
        self.assertRegex(images.pop(), r"^registry\.example:5000/gpu/kerf:")

    def test_updates_and_priority_are_those_of_a_node_agent(self):
        self.assertEqual(daemonset(self.tree)["spec"]["updateStrategy"], {
            "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})
        self.assertEqual(pod(self.tree)["priorityClassName"], "system-node-critical")
        self.assertIs(pod(self.tree)["hostNetwork"], True)
        self.assertEqual(pod(self.tree)["dnsPolicy"], "ClusterFirstWithHostNet")

    def test_the_plugin_is_told_its_configuration_and_node(self):
        plugin = container(self.tree)
        self.assertEqual(plugin["args"], ["--config-file=/etc/nvidia/config.yaml"])
        self.assertNotIn("command", plugin)  # the image's entry point
        env = {e["name"]: e for e in plugin["env"]}
        self.assertEqual(env["FAIL_ON_INIT_ERROR"]["value"], "false")
        self.assertEqual(env["NODE_NAME"]["valueFrom"], {"fieldRef": {"fieldPath": "spec.nodeName"}})

    def test_the_configuration_is_mounted_whole_so_that_edits_arrive(self):
        metadata = trees.the(self.tree, "ConfigMap")["metadata"]
        self.assertEqual(metadata["name"], "nvidia-device-plugin-config")
        volume = next(v for v in pod(self.tree)["volumes"] if "configMap" in v)
        self.assertEqual(volume["configMap"], {"name": metadata["name"]})
        mount = mounts(container(self.tree))["/etc/nvidia"]
        self.assertEqual(mount, {"name": volume["name"], "mountPath": "/etc/nvidia", "readOnly": True})

    def test_probes_have_the_documented_path_port_and_timings(self):
        plugin = container(self.tree)
        self.assertEqual(plugin["ports"], [{"name": "http-metrics", "containerPort": 2112,
                                            "protocol": "TCP"}])
        # No restart mends a GPU: to the kubelet, which would restart it, the plugin is well while it
        # answers.
        alive = {"httpHeaders": [{"name": "Kerf-Probe", "value": "liveness"}]}
        for probe, delay, period, more in (("livenessProbe", 30, 30, alive),
                                           ("readinessProbe", 15, 5, {})):
            self.assertEqual(plugin[probe], {
                "httpGet": {"path": "/health", "port": "http-metrics", **more},
                "initialDelaySeconds": delay, "periodSeconds": period, "timeoutSeconds": 5,
                "failureThreshold": 3})

    def test_what_is_known_of_broken_gpus_outlives_a_crash(self):
        self.assertEqual(mounts(container(self.tree))["/run/kerf"],
                         {"name": "state", "mountPath": "/run/kerf"})
        volume = next(v for v in pod(self.tree)["volumes"] if v["name"] == "state")
        self.assertEqual(volume["emptyDir"], {"medium": "Memory", "sizeLimit": "2Mi"})
        self.assertNotIn("KERF_STATE_DIR", str(container(self.tree)))

    def test_the_service_leads_to_the_metrics_port_of_these_pods(self):
        service = trees.the(self.tree, "Service")
        self.assertEqual(service["metadata"]["name"], "nvidia-device-plugin-metrics")
        self.assertEqual(service["spec"]["clusterIP"], "None")
        self.assertEqual(service["spec"]["ports"], [{
            "name": "http-metrics", "port": 2112, "targetPort": "http-metrics", "protocol": "TCP"}])
        labels = daemonset(self.tree)["spec"]["template"]["metadata"]["labels"]
        self.assertTrue(matches(service["spec"]["selector"], labels))
        self.assertEqual(service["metadata"]["annotations"], {
            "prometheus.io/scrape": "true", "prometheus.io/port": "2112",
            "prometheus.io/path": "/metrics"})

    def test_nodes_without_a_gpu_get_no_pod(self):
        self.assertFalse(accepts(pod(self.tree), {"kubernetes.io/os": "linux"}))
        self.assertFalse(accepts(pod(self.tree), {"nvidia.com/gpu.present": "false"}))

    def test_no_volume_makes_a_directory_on_the_host(self):
        for name, path in host_paths(pod(self.tree)).items():
            self.assertEqual(path["type"], "Directory", name)


class Security:
    """What both promise about every container, also where the plugin must be root."""

    tree = None

    def each_container(self):
        for directory in (self.tree, trees.with_root_plugin(self.tree)):
            yield from render.containers(daemonset(directory))

    def test_no_container_can_gain_anything(self):
        for one in self.each_container():
            context = dict(one["securityContext"])
            user = context.pop("runAsUser")
            self.assertEqual(context.pop("runAsGroup"), user)
            context.pop("runAsNonRoot", None)
            self.assertEqual(context, {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})

    def test_every_container_is_limited(self):
        for one in self.each_container():
            for which in ("requests", "limits"):
                self.assertEqual(set(one["resources"][which]), {"cpu", "memory"})

    def test_no_pod_shares_the_hosts_processes(self):
        for what in ("hostPID", "hostIPC", "shareProcessNamespace"):
            self.assertNotIn(what, pod(self.tree))

    def test_the_plugin_is_nobody(self):
        context = container(self.tree)["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]),
                         (65534, 65534, True))

    def test_the_plugin_is_limited_as_documented(self):
        self.assertEqual(container(self.tree)["resources"], {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "200m", "memory": "256Mi"}})

    def test_the_kubelets_directory_is_all_of_the_host_that_is_mounted_writable(self):
        for one in self.each_container():
            writable = [path for path, m in mounts(one).items() if not m.get("readOnly")]
            if one["name"] == PLUGIN:
                writable = [p for p in writable if mounts(one)[p]["name"] != "state"]
            self.assertEqual(writable, ["/var/lib/kubelet/device-plugins"])
        self.assertNotIn("state", host_paths(pod(self.tree)))

    def test_only_the_helpers_are_root_and_they_see_no_gpu(self):
        roots = [c for c in render.containers(daemonset(self.tree)) if c["securityContext"]["runAsUser"] == 0]
        self.assertEqual(tuple(c["name"] for c in roots), HELPERS)
        for helper in roots:
            self.assertEqual(helper["env"], [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}])
            self.assertEqual(list(mounts(helper)), ["/var/lib/kubelet/device-plugins"])
            uid = container(self.tree)["securityContext"]["runAsUser"]
            self.assertEqual(helper["command"][:3], ["/usr/bin/kerf", "prepare", f"--uid={uid}"])
        # The first is done before the plugin starts, the second stays.
        self.assertEqual([c["name"] for c in pod(self.tree)["initContainers"]], [HELPERS[0]])
        self.assertIn("--watch", roots[1]["command"])
        self.assertNotIn("--watch", roots[0]["command"])

    def test_kubectl_picks_the_plugin_when_no_container_is_named(self):
        metadata = daemonset(self.tree)["spec"]["template"]["metadata"]
        self.assertEqual(metadata["annotations"]["kubectl.kubernetes.io/default-container"], PLUGIN)
        self.assertEqual(pod(self.tree)["containers"][0]["name"], PLUGIN)

    def test_the_root_component_needs_no_helper(self):
        rooted = trees.with_root_plugin(self.tree)
        self.assertEqual([c["name"] for c in render.containers(daemonset(rooted))], [PLUGIN])
        self.assertEqual(container(rooted)["securityContext"]["runAsUser"], 0)


class WithCdi(unittest.TestCase):
    """What the component adds to both."""

    def each(self):
        for tree in (trees.TEN_SLICES, trees.FOUR_SLICES):
            with self.subTest(tree=tree.name):
                yield trees.with_cdi(tree)

    def test_the_plugin_names_devices_to_the_runtime(self):
        for tree in self.each():
            env = {e["name"]: e.get("value") for e in container(tree)["env"]}
            self.assertEqual((env["DEVICE_LIST_STRATEGY"], env["DRIVER_ROOT_CTR_PATH"]),
                             ("cdi-cri", "/driver-root"))

    def test_it_writes_where_runtimes_look_whatever_its_root_is(self):
        for tree in self.each():
            plugin = container(tree)
            root = {e["name"]: e.get("value") for e in plugin["env"]}.get("KERF_ROOT", "")
            mount = mounts(plugin)[root + "/var/run/cdi"]
            self.assertNotIn("readOnly", mount)
            self.assertEqual(host_paths(pod(tree))[mount["name"]],
                             {"path": "/var/run/cdi", "type": "DirectoryOrCreate"})
            seen = mounts(plugin)["/driver-root"]
            self.assertIs(seen["readOnly"], True)
            self.assertEqual(host_paths(pod(tree))[seen["name"]]["path"], "/")

    def test_the_helpers_open_that_directory_and_see_nothing_else(self):
        for tree in self.each():
            for name in HELPERS:
                helper = container(tree, name)
                self.assertIn("--cdi-dir=/var/run/cdi", helper["command"])
                self.assertEqual(set(mounts(helper)),
                                 {"/var/lib/kubelet/device-plugins", "/var/run/cdi"})
            self.assertIn("--watch", container(tree, HELPERS[1])["command"])

    def test_nothing_else_becomes_writable_and_nobody_gains_anything(self):
        for tree in self.each():
            for one in render.containers(daemonset(tree)):
                writable = {path.removeprefix("/host") for path, m in mounts(one).items()
                            if not m.get("readOnly")}
                self.assertEqual(writable - {"/run/kerf"},
                                 {"/opt/kerf"} if one["name"] == "cdi-hook" else
                                 {"/var/lib/kubelet/device-plugins", "/var/run/cdi"})
                self.assertEqual(one["securityContext"]["capabilities"], {"drop": ["ALL"]})
            self.assertEqual(container(tree)["securityContext"]["runAsUser"], 65534)

    def test_it_goes_with_the_root_plugin_listed_after_it(self):
        for tree in (trees.TEN_SLICES, trees.FOUR_SLICES):
            rooted = trees.with_cdi_and_root_plugin(tree)
            self.assertEqual([c["name"] for c in render.containers(daemonset(rooted))],
                             ["cdi-hook", PLUGIN])
            self.assertEqual(container(rooted)["securityContext"]["runAsUser"], 0)

    def test_the_hook_program_is_put_where_specifications_name_it(self):
        for tree in self.each():
            env = {e["name"]: e.get("value") for e in container(tree)["env"]}
            helper = container(tree, "cdi-hook")
            self.assertIn(helper, pod(tree)["initContainers"])
            (to,) = [w.removeprefix("--to=") for w in helper["command"] if w.startswith("--to=")]
            ((path, mount),) = mounts(helper).items()
            self.assertNotIn("readOnly", mount)
            host = host_paths(pod(tree))[mount["name"]]["path"]
            self.assertEqual(to.replace(path, host) + "/kerf-cdi-hook", env["NVIDIA_CDI_HOOK_PATH"])


class TenSlices(Deployment, Security, unittest.TestCase):
    tree = trees.TEN_SLICES

    def test_the_version_is_that_of_the_plugin_it_behaves_like(self):
        for thing in (daemonset(self.tree), daemonset(self.tree)["spec"]["template"]):
            self.assertEqual(thing["metadata"]["labels"]["app.kubernetes.io/version"], "v0.17.2")

    def test_the_configuration_makes_ten_slices_by_environment(self):
        self.assertEqual(config(self.tree), {
            "version": "v1",
            "flags": {"migStrategy": "none", "failOnInitError": False, "plugin": {
                "passDeviceSpecs": False, "deviceListStrategy": "envvar", "deviceIDStrategy": "uuid"}},
            "sharing": {"timeSlicing": {
                "renameByDefault": False, "failRequestsGreaterThanOne": True,
                "resources": [{"name": "nvidia.com/gpu", "replicas": 10}]}}})

    def test_the_driver_comes_with_the_runtime_class(self):
        self.assertEqual(pod(self.tree)["runtimeClassName"], "nvidia")
        self.assertEqual(set(host_paths(pod(self.tree))), {"device-plugins"})

    def test_any_of_the_usual_labels_selects_a_node(self):
        for label in ("nvidia.com/gpu.present", "feature.node.kubernetes.io/pci-10de.present",
                      "feature.node.kubernetes.io/pci-0300_10de.present",
                      "feature.node.kubernetes.io/pci-0302_10de.present"):
            self.assertTrue(accepts(pod(self.tree), {label: "true"}), label)

    def test_tolerations_are_those_documented(self):
        self.assertEqual(pod(self.tree)["tolerations"], TOLERATIONS)

    def test_test_pods_are_there_and_off(self):
        self.assertEqual(trees.objects(self.tree, "Pod"), [])
        names = {"nvidia-test-pod.yaml", "nvidia-timeslice-test-pod.yaml"}
        for name in names:
            self.assertTrue((self.tree / name).is_file(), name)
            self.assertIn(f"  # - {name}\n", (self.tree / "kustomization.yaml").read_text())

    def test_test_pods_ask_for_one_slice_as_an_ordinary_user(self):
        pods = trees.objects(trees.with_test_pods(self.tree), "Pod")
        self.assertEqual({p["metadata"]["name"] for p in pods}, {"nvidia-test", "nvidia-timeslice-test"})
        for one in pods:
            spec = one["spec"]
            self.assertEqual((one["metadata"]["namespace"], spec["runtimeClassName"],
                              spec["restartPolicy"]), (NAMESPACE, "nvidia", "Never"))
            self.assertIn(TOLERATIONS[0], spec["tolerations"])
            (only,) = spec["containers"]
            self.assertEqual(only["image"], "nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04")
            self.assertEqual(only["command"][0], "nvidia-smi")
            self.assertEqual(only["resources"]["limits"]["nvidia.com/gpu"], "1")
            self.assertEqual(only["securityContext"]["runAsUser"], 1000)


class FourSlices(Deployment, Security, unittest.TestCase):
    tree = trees.FOUR_SLICES

    def test_the_version_is_that_of_the_plugin_it_behaves_like(self):
        for thing in (daemonset(self.tree), daemonset(self.tree)["spec"]["template"]):
            self.assertEqual(thing["metadata"]["labels"]["app.kubernetes.io/version"], "v0.17.3")

    def test_the_configuration_makes_four_slices_by_volume_mounts(self):
        flags = config(self.tree)["flags"]
        self.assertEqual(flags, {
            "migStrategy": "none", "failOnInitError": False, "nvidiaDriverRoot": "/", "plugin": {
                "passDeviceSpecs": True, "deviceListStrategy": "volume-mounts",
                "deviceIDStrategy": "uuid"}})
        sharing = config(self.tree)["sharing"]["timeSlicing"]
        self.assertEqual(sharing["resources"], [{"name": "nvidia.com/gpu", "replicas": 4}])

    def test_it_needs_no_runtime_class_and_sees_the_hosts_devices_read_only(self):
        self.assertNotIn("runtimeClassName", pod(self.tree))
        paths = host_paths(pod(self.tree))
        seen = {paths[m["name"]]["path"]: m for m in mounts(container(self.tree)).values()
                if m["name"] in paths and m.get("readOnly")}
        # /proc/driver holds /proc/driver/nvidia as soon as the driver is loaded.
        self.assertEqual(set(seen), {"/dev", "/sys", "/proc/driver"})
        root = next(e["value"] for e in container(self.tree)["env"] if e["name"] == "KERF_ROOT")
        for path, mount in seen.items():
            self.assertEqual(mount["mountPath"], root + path)

    def test_it_finds_its_state_where_it_looks_for_it(self):
        root = next(e["value"] for e in container(self.tree)["env"] if e["name"] == "KERF_ROOT")
        self.assertEqual(mounts(container(self.tree))[f"{root}/run/kerf"]["name"], "state")

    def test_nothing_is_mounted_where_runtimes_refuse_it_or_make_files_on_the_host(self):
        for path in mounts(container(self.tree)):
            self.assertFalse(path.startswith(("/proc", "/dev", "/sys")), path)

    def test_only_display_controllers_are_selected(self):
        label = "feature.node.kubernetes.io/pci-0300_10de.present"
        self.assertEqual(pod(self.tree)["nodeSelector"], {label: "true"})
        self.assertTrue(accepts(pod(self.tree), {label: "true"}))
        self.assertFalse(accepts(pod(self.tree), {"nvidia.com/gpu.present": "true"}))

    def test_one_more_taint_is_tolerated(self):
        self.assertEqual(pod(self.tree)["tolerations"], TOLERATIONS + [
            {"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"}])

    def test_the_four_test_pods_are_there_and_off(self):
        self.assertEqual(trees.objects(self.tree, "Pod"), [])
        pods = trees.objects(trees.with_test_pods(self.tree), "Pod")
        self.assertEqual([p["metadata"]["name"] for p in pods], [f"gpu-test-{i}" for i in (1, 2, 3, 4)])
        for one in pods:
            spec = one["spec"]
            self.assertEqual((one["metadata"]["namespace"], spec["runtimeClassName"],
                              spec["restartPolicy"]), (NAMESPACE, "nvidia", "Never"))
            self.assertIn(TOLERATIONS[0], spec["tolerations"])
            self.assertEqual(spec["containers"], [{
                "name": "cuda-test",
                "image": "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda11.7.1-ubuntu20.04",
                "resources": {"limits": {"nvidia.com/gpu": "1"}}}])


if __name__ == "__main__":
    unittest.main(verbosity=2)
