"""What the optional components do in the cluster: CDI, Events and the node's condition, named
configurations, labels, MPS, MIG. Each check brings up the small deployment with what it needs, and
takes it down again, so that any of them runs alone (`suite --only`)."""

import contextlib
import json
import os
import re
import signal

from documented import MANIFESTS, SMALL
from kube import (NAMESPACE, NODE, RESOURCE, WORK, CheckFailed, eventually, expect, gpu_pod, run)

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = f"/usr/lib/{os.uname().machine}-linux-gnu"
# Steers the driver of the node; it lies beside the library that the node was given.
NVML_TOOL = os.path.join(os.path.dirname(os.environ.get("KERF_CLUSTER_NVML") or os.path.join(
    HERE, "../../build/release/sim/nvml/x")), "nvml-sim")
CONFIG_MAP = f"/api/v1/namespaces/{NAMESPACE}/configmaps/nvidia-device-plugin-config"
NODE_FEATURES = f"/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/{NAMESPACE}/nodefeatures"

# As node-feature-discovery installs it, without its schema.
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "nodefeatures.nfd.k8s-sigs.io",
                 "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
    "spec": {
        "group": "nfd.k8s-sigs.io", "scope": "Namespaced",
        "names": {"kind": "NodeFeature", "listKind": "NodeFeatureList", "plural": "nodefeatures",
                  "singular": "nodefeature"},
        "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    },
}
# What two GPUs of one model in four slices each must say; versions are those of the machine file.
LABELS = {
    "gpu.product": "NVIDIA-GeForce-RTX-3090-SHARED", "gpu.count": "2", "gpu.replicas": "4",
    "gpu.sharing-strategy": "time-slicing", "gpu.memory": "24576", "gpu.family": "ampere",
    "gpu.compute.major": "8", "gpu.compute.minor": "6",
    "mig.capable": "false", "mps.capable": "false",
}
# Present, whatever their value.
LABEL_KEYS = {
    "gfd.timestamp", "gpu.machine", "gpu.mode", "cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev",
    "cuda.driver-version.major", "cuda.driver-version.minor", "cuda.driver-version.revision",
    "cuda.driver-version.full", "cuda.runtime.major", "cuda.runtime.minor",
    "cuda.runtime-version.major", "cuda.runtime-version.minor", "cuda.runtime-version.full",
}
SHARING = "sharing: {%s: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"
BY_MOUNTS = "deviceListStrategy: volume-mounts"


class Components:
    """The part of the suite that is about components; needs its api, report and helpers."""

    def component_checks(self):
        check = self.report.check
        check("with the component cdi a container gets device nodes, files and variables by name, "
              "from containerd alone, and its loader finds the driver by kerf's own hook program",
              self.check_cdi)
        check("the Node tells of a lost GPU; with the component named-configs its label switches the "
              "slices, and an unknown label changes nothing", self.check_cluster_access)
        check("a storm of XIDs takes one GPU's slices away, is told of once, and they come back",
              self.check_storm)
        check("with the component feature-discovery the node's labels stand in a NodeFeature",
              self.check_node_feature)
        check("with the component node-labels the same labels stand on the Node",
              self.check_node_labels)
        check("with the component mps pods share GPUs by MPS, and only while the daemons answer",
              self.check_mps)
        check("MIG devices are resources of their own, and one that is destroyed goes away",
              self.check_mig)

    @contextlib.contextmanager
    def deployed(self, *components, config=None):
        """The small deployment with these components and this configuration, while it is open."""
        path = self.manifests_with(*components, config=config)
        # After a check that was broken off there may still be something of its own.
        eventually(90, lambda: NAMESPACE not in run("kubectl get namespaces -o name")[1],
                   "the deployment before is gone")
        code, output = run(f"kubectl apply -k {path}")
        expect(code == 0, output)
        try:
            # Its readiness is asked for 15 s later, which no check needs to wait for.
            eventually(120, self.agent_process, "the plugin runs")
            yield
        finally:
            self.delete_pods()
            self.remove(path)

    def manifests_with(self, *names, config=None):
        path = f"{WORK}/with-{'-'.join(names) or 'nothing'}"
        os.makedirs(path, exist_ok=True)
        text = ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
                f"resources:\n  - {os.path.relpath(f'{MANIFESTS}/{SMALL}', path)}\n")
        if names:
            text += "components:\n" + "".join("  - " + os.path.relpath(
                f"{MANIFESTS}/deploy/kustomize/components/{name}", path) + "\n" for name in names)
        if config:
            with open(f"{path}/config.yaml", "w") as file:
                file.write(config)
            text += ("configMapGenerator:\n  - name: nvidia-device-plugin-config\n"
                     f"    namespace: {NAMESPACE}\n    behavior: replace\n    files: [config.yaml]\n"
                     "    options: {disableNameSuffixHash: true}\n")
        with open(f"{path}/kustomization.yaml", "w") as file:
            file.write(text)
        return path

    def driver_tool(self, *arguments):
        code, output = run(f"NVML_SIM_STATE=/run/nvml-sim NVML_SIM_MACHINE={WORK}/driver/nvml-sim.yaml "
                           f"{NVML_TOOL} {' '.join(arguments)}")
        expect(code == 0, output)
        return output

    # -- by CDI name ------------------------------------------------------------------------------

    def check_cdi(self):
        with self.deployed("cdi"):
            self.counts(8)
            with open("/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json") as file:
                spec = json.load(file)
            programs = {h["path"] for h in spec["containerEdits"]["hooks"]}
            expect(programs == {"/opt/kerf/bin/kerf-cdi-hook"}, programs)
            pod = gpu_pod("by-name")
            pod["spec"].pop("runtimeClassName")
            self.create(pod)
            self.wait_phase("by-name", "Running", "Failed")
            expect(self.phase("by-name") == "Running", self.api.pod("by-name")["status"])
            loader = "$(ls /lib64/ld-linux-*.so.2 /lib/ld-linux-*.so.1 2>/dev/null)"
            code, seen = run(f"kubectl exec -n {NAMESPACE} by-name -- sh -c "
                             "'echo visible=$NVIDIA_VISIBLE_DEVICES; find /dev -name \"nvidia*\"; "
                             "find /usr -name \"lib*.so.*\" -o -name \"nvidia-*\"; "
                             "dd if=/dev/nvidiactl count=0 2>&1; "
                             "cat /etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf; echo; "
                             "grep -c libcuda.so.1 /etc/ld.so.cache | sed s/^/cached=/; "
                             f"LD_PRELOAD=libcuda.so.1 {loader} --list /usr/bin/nvidia-smi 2>&1'")
            expect("visible=void" in seen, seen)
            nodes = set(re.findall(r"^/dev/nvidia\S+", seen, re.M))
            common = {n["path"] for n in spec["containerEdits"]["deviceNodes"]}
            own = [{n["path"] for n in d["containerEdits"]["deviceNodes"]} for d in spec["devices"]]
            expect(any(nodes == common | one for one in own), f"{nodes}: {common} and one of {own}")
            for mount in spec["containerEdits"]["mounts"]:
                if mount["containerPath"].startswith("/usr/"):
                    expect(mount["containerPath"] in seen, f"{mount['containerPath']}: {seen}")
            # Opened and found without a driver behind it, not forbidden by the device cgroup.
            expect("not permitted" not in seen, seen)
            expect(re.search(r"^cached=[1-9]", seen, re.M), f"not in the loader's cache: {seen}")
            expect(re.search(r"libcuda\.so\.1 => /usr/lib", seen), f"the loader: {seen}")
            mask = {f"/dev/nvidia{i}": 1 << i for i in range(2)}
            minors = sum(bit for node, bit in mask.items() if node in nodes)
            expect(f'"EGLVisibleDGPUDevices",0x{minors:x}]' in seen, f"EGL's profile: {seen}")
            return f"{len(nodes)} device nodes, {len(spec['containerEdits']['mounts'])} files"

    # -- the cluster is told, and the node's label chooses ----------------------------------------

    def label(self, value):
        run(f"kubectl label node {NODE} nvidia.com/device-plugin.config{value} --overwrite")

    def condition(self):
        conditions = self.api.get(f"/api/v1/nodes/{NODE}")["status"]["conditions"]
        found = [c for c in conditions if c["type"] == "NVIDIAGPUHealthy"]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def described(self, *words):
        """`kubectl describe node` shows these words."""
        def look():
            output = run(f"kubectl describe node {NODE}")[1]
            return all(word in output for word in words)
        eventually(60, look, f"kubectl describe node shows {words}")

    def check_label(self):
        """With the components in place."""
        self.api.patch(CONFIG_MAP, {"data": {"two": (
            "version: v1\nflags: {plugin: {deviceListStrategy: volume-mounts, passDeviceSpecs: true}}\n"
            "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n")}})
        name, restarts = self.plugin_name(), self.restarts()
        self.label("=two")
        self.counts(4, seconds=150)  # the kubelet takes a while to mount the new key
        self.label("=three")
        self.described("ConfigRefused", "specified config three does not exist")
        self.counts(4)
        self.label("-")
        self.counts(8)
        expect(self.plugin_name() == name and self.restarts() == restarts,
               "the plugin was restarted")

    def check_told(self):
        eventually(60, lambda: self.condition() == ("True", "AllGPUsHealthy"), "condition True")
        self.driver_tool("fault", "lost", "--gpu", "0")
        try:
            self.described("GPUUnhealthy", "NVIDIAGPUHealthy")
            eventually(60, lambda: self.condition() == ("False", "GPUUnhealthy"), "condition False")
            eventually(30, lambda: (self.api.gpus("capacity"), self.api.gpus()) == (8, 4),
                       "a capacity of 8, of which 4 are allocatable")
        finally:
            self.driver_tool("clear", "--gpu", "0")
        eventually(60, lambda: self.condition() == ("True", "AllGPUsHealthy"), "condition True again")

    def check_cluster_access(self):
        try:
            with self.deployed("named-configs"):
                self.counts(8)
                self.check_told()
                self.check_label()
        finally:
            self.label("-")

    # -- an XID storm -----------------------------------------------------------------------------

    def node_events(self, reason):
        events = self.api.get(f"/api/v1/events?fieldSelector=involvedObject.name={NODE}")["items"]
        return [e for e in events if e["reason"] == reason]

    def check_storm(self):
        with self.deployed(config=(
                f"version: v1\nflags: {{plugin: {{{BY_MOUNTS}}}}}\n" + SHARING % "timeSlicing" +
                "health: {recovery: {quietPeriod: 3s, maxQuietPeriod: 3s}}\n")):
            self.counts(8)
            name, restarts = self.plugin_name(), self.restarts()
            known = {e["metadata"]["name"] for e in self.node_events("GPUUnhealthy")}
            self.create(gpu_pod("bystander"))
            self.wait_phase("bystander", "Running", "Failed")
            # An application's own fault changes nothing; a hardware's takes its GPU out.
            for xid in [31] * 20 + [94] * 40:
                self.driver_tool("fault", "xid", str(xid), "--gpu", "0", "--event-only")
            eventually(30, lambda: self.api.gpus() == 4, "four slices are left")
            eventually(60, lambda: self.condition() == ("False", "GPUUnhealthy"), "condition False")
            expect(self.phase("bystander") == "Running", "a running pod was touched")
            self.counts(8, seconds=60)
            eventually(60, lambda: self.condition() == ("True", "AllGPUsHealthy"), "condition True")
            told = [e for e in self.node_events("GPUUnhealthy") if e["metadata"]["name"] not in known]
            expect(1 <= len(told) <= 4, f"{len(told)} Events for 60 XIDs")
            expect(any("94" in e["message"] for e in told), [e["message"] for e in told])
            expect(self.plugin_name() == name and self.restarts() == restarts,
                   "the plugin was restarted")
            return f"{len(told)} Events for 60 XIDs"

    # -- labels -----------------------------------------------------------------------------------

    def good_labels(self, labels):
        ours = {k.removeprefix("nvidia.com/"): v for k, v in labels.items()
                if k.startswith("nvidia.com/")}
        wrong = {k: ours.get(k) for k, v in LABELS.items() if ours.get(k) != v}
        expect(not wrong, f"labels that are not as they should be: {wrong}")
        missing = LABEL_KEYS - set(ours)
        expect(not missing, f"labels that are missing: {missing}")
        return len(ours)

    def check_node_feature(self):
        if "nodefeatures.nfd.k8s-sigs.io" not in run("kubectl get crd -o name")[1]:
            self.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
        with self.deployed("feature-discovery"):
            path = f"{NODE_FEATURES}/nvidia-features-for-{NODE}"
            feature = eventually(60, lambda: self.api.get(path), "the NodeFeature")
            expect(feature["metadata"]["labels"] == {"nfd.node.kubernetes.io/node-name": NODE},
                   feature["metadata"])
            owners = [o["kind"] for o in feature["metadata"].get("ownerReferences", [])]
            expect(owners == ["DaemonSet", "Pod"], f"owners {owners}")
            count = self.good_labels(feature["spec"]["labels"])
            # A change of the configuration is a change of the labels, without a restart.
            self.set_config((r"replicas:\s*4\b", "replicas: 3"))
            eventually(120, lambda: self.api.get(path)["spec"]["labels"]["nvidia.com/gpu.replicas"]
                       == "3", "the label of replicas follows")
            return f"{count} labels"

    def check_node_labels(self):
        with self.deployed("feature-discovery", "node-labels"):
            def good():
                return self.good_labels(self.api.node()["metadata"]["labels"])
            count = eventually(60, good, "the labels on the Node")
            labels = self.api.node()["metadata"]["labels"]
            expect(labels.get("feature.node.kubernetes.io/pci-10de.present") == "true", labels)
            return f"{count} labels"

    # -- MPS --------------------------------------------------------------------------------------

    def check_mps(self):
        pipe = "/run/nvidia/mps/nvidia.com/gpu/pipe"
        config = (f"version: v1\nflags: {{mpsRoot: /run/nvidia/mps, plugin: {{{BY_MOUNTS}}}}}\n"
                  + SHARING % "mps")
        if not os.path.exists("/usr/bin/nvidia-cuda-mps-control"):
            raise CheckFailed("the node has no nvidia-cuda-mps-control: build it with the release "
                              "(target nvidia-cuda-mps-control)")
        with self.deployed("mps", config=config):
            self.counts(8, seconds=120)
            self.create(gpu_pod("client"))
            self.wait_phase("client", "Running", "Failed")
            expect(self.phase("client") == "Running", self.api.pod("client")["status"])
            code, seen = run(f"kubectl exec -n {NAMESPACE} client -- sh -c "
                             "'echo $CUDA_MPS_PIPE_DIRECTORY; ls $CUDA_MPS_PIPE_DIRECTORY; "
                             "grep \" /dev/shm \" /proc/mounts'")
            expect(code == 0 and seen.startswith("/mps/nvidia.com/gpu/pipe\n"), seen)
            expect("nvidia-cuda-mps-control.pid" in seen and "/dev/shm" in seen, seen)
            def control_daemon():
                try:
                    with open(f"{pipe}/nvidia-cuda-mps-control.pid") as file:
                        return int(file.read())
                except (OSError, ValueError):  # just being replaced
                    return None
            daemon = control_daemon()
            # The daemon is back so soon that the Node may never have shown what the kubelet was told.
            def withdrawals():
                plugin = self.api.plugin_pod()["metadata"]["name"]
                return self.api.log(plugin, container="nvidia-device-plugin-ctr").count("unhealthy=8")
            before = withdrawals()
            os.kill(daemon, signal.SIGKILL)
            eventually(30, lambda: withdrawals() > before, "no slice is given out without its daemon")
            eventually(30, lambda: control_daemon() not in (None, daemon), "the daemon is started again")
            self.counts(8, seconds=60)

    # -- MIG --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def other_machine(self, name):
        """The node's driver plays another machine, as far as containers see it."""
        places = (f"{LIBRARIES}/nvml-sim.yaml", f"{WORK}/driver/nvml-sim.yaml")
        before = open(places[0]).read()
        with open(f"{HERE}/../../sim/machines/{name}.yaml") as file:
            machine = file.read()
        try:
            for place in places:
                with open(place, "w") as file:
                    file.write(machine)
            self.driver_tool("reset")
            tree = f"{WORK}/tree-{name}"
            self.driver_tool("tree", tree)
            run(f"cp -r {tree}/proc/driver/nvidia-caps {tree}/proc/driver/nvidia /proc/driver/")
            yield
        finally:
            for place in places:
                with open(place, "w") as file:
                    file.write(before)
            run("rm -rf /proc/driver/nvidia-caps /proc/driver/nvidia/capabilities")

    def resources(self, which="allocatable"):
        return {name.removeprefix("nvidia.com/"): int(count)
                for name, count in self.api.node()["status"][which].items()
                if name.startswith("nvidia.com/") and int(count) > 0}

    def check_mig(self):
        config = f"version: v1\nflags: {{migStrategy: mixed, plugin: {{{BY_MOUNTS}}}}}\n"
        wanted = {"mig-1g.10gb": 2, "mig-2g.20gb": 1, "mig-3g.40gb": 1}
        with self.other_machine("a100-80x1-mig"), self.deployed(config=config):
            # The kubelet keeps the capacity of a resource that went away for some minutes.
            def there():
                capacity = {k: v for k, v in self.resources("capacity").items() if k in wanted}
                return self.resources() == capacity == wanted
            eventually(60, there, f"{wanted}")
            pod = gpu_pod("in-a-slice")
            pod["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-1g.10gb": "1"}
            self.create(pod)
            self.wait_phase("in-a-slice", "Running", "Failed")
            given = self.visible("in-a-slice")
            expect(len(given) == 1 and given[0].startswith("MIG-"), f"sees {given}")
            name, restarts = self.plugin_name(), self.restarts()
            instance = re.search(r"MIG 3g\.40gb +gi (\d+)", self.driver_tool("show"))
            expect(instance, "the driver shows no MIG device 3g.40gb")
            self.driver_tool("mig", "destroy", "--gpu", "0", "--gpu-instance", instance.group(1))
            wanted.pop("mig-3g.40gb")
            eventually(90, lambda: self.resources() == wanted, f"{wanted}")
            expect(self.phase("in-a-slice") == "Running", "a running pod was touched")
            expect(self.plugin_name() == name and self.restarts() == restarts,
                   "the plugin was restarted")
            expect(RESOURCE.removeprefix("nvidia.com/") not in self.resources(), self.resources())
