"""What the manifests say to a real kustomize, API server and scheduler: the trees as they are with
every component, the plugin as root, taints and labels, and a host whose /etc nobody may write to. Each
check brings up what it needs and takes it down again, so that any of them runs alone."""

import contextlib
import os
import re
import sys

from documented import MANIFESTS, SMALL
from kube import NAMESPACE, NODE, eventually, expect, gpu_pod, run

HARDENED = "/run/nvidia-toolkit-hardened"  # `nvidia-runtime` looks for it
CUDA = "nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04"
LABEL = "feature.node.kubernetes.io/pci-0300_10de.present"
USUAL_LABELS = (LABEL, "feature.node.kubernetes.io/pci-10de.present", "nvidia.com/gpu.present")
# Where a container of the plugin's pod may write, besides memory: all of it is the kubelet's.
KUBELETS = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/termination-log",
            "/var/lib/kubelet/device-plugins")
# A read-only mount of a directory says nothing of what is mounted below it: /dev/shm below /dev.
IN_MEMORY = ("proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "hugetlbfs", "cgroup", "cgroup2",
             "bpf", "configfs", "debugfs", "pstore", "securityfs", "tracefs")


class Manifests:
    """The part of the suite that is about manifests; needs its api, report and helpers, and
    `deployed` of Components."""

    def manifest_checks(self):
        check = self.report.check
        check("kubectl renders every tree, with every component, as the tests of the trees do",
              self.check_rendering)
        check("the API server accepts every tree strictly; with the component root-plugin the plugin is "
              "root without a capability, and serves", self.check_root_plugin)
        check("the shipped test pods and the plugin run on a node tainted nvidia.com/gpu, others do not",
              self.check_taint)
        check("without a GPU label on the node there is no plugin, and with it there is again",
              self.check_labels)
        check("where the toolkit ignores the environment of unprivileged containers, pods get their GPU "
              "by the component hardened-toolkit, and none without a limit", self.check_hardened_toolkit)
        check("with the host's /etc read-only all works, and nothing can be written but to memory and "
              "the kubelet's directory", self.check_read_only_etc)

    def check_rendering(self):
        code, output = run(f"{MANIFESTS}/tests/deploy/compare_with_kustomize")
        expect(code == 0, output)
        return f"{len(re.findall(': same, ', output))} trees"

    def every_tree(self):
        sys.path.insert(0, f"{MANIFESTS}/tests/deploy")
        import trees
        return [(name, path, trees.rendered(path)) for name, path in trees.every_tree() if name != "base"]

    def make_room_for(self, things):
        """The namespaces and kinds that a tree takes for granted, kinds without their schema."""
        known = run("kubectl get crd,namespace -o name")[1].split()
        for thing in things:
            space = thing["metadata"].get("namespace", NAMESPACE)
            if f"namespace/{space}" not in known:
                self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
                known.append(f"namespace/{space}")
            group, _, version = thing["apiVersion"].rpartition("/")
            plural, kind = thing["kind"].lower() + "s", thing["kind"]
            name = f"customresourcedefinition.apiextensions.k8s.io/{plural}.{group}"
            if group.endswith(".coreos.com") and name not in known:
                self.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
                    "metadata": {"name": f"{plural}.{group}"},
                    "spec": {"group": group, "scope": "Namespaced",
                             "names": {"kind": kind, "listKind": kind + "List", "plural": plural,
                                       "singular": kind.lower()},
                             "versions": [{"name": version, "served": True, "storage": True, "schema": {
                                 "openAPIV3Schema": {"type": "object",
                                                     "x-kubernetes-preserve-unknown-fields": True}}}]}})
                known.append(name)

    def check_root_plugin(self):
        with self.deployed("root-plugin"):
            self.counts(8)
            self.check_pod_works()
            processes = self.plugin_processes()
            expect(len(processes) == 1, f"containers {processes}")
            with open(f"/proc/{self.agent_process()}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            expect(status["Uid"].split() == ["0"] * 4, f"Uid {status['Uid']}")
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                expect(int(status[kind], 16) == 0, f"{kind} {status[kind]}")
            # While the namespace is there, which a dry run does not make.
            trees = self.every_tree()
            for name, path, things in trees:
                self.make_room_for(things)
                # A kind made just now is served a moment later.
                eventually(10, lambda tree=(name, path): self.accepted(*tree), "accepted")
            return f"{len(trees)} trees"

    def accepted(self, name, path):
        code, output = run(f"kubectl apply -k {path} --dry-run=server --validate=strict")
        expect(code == 0, f"{name}: {output}")
        return True

    def check_pod_works(self):
        self.create(gpu_pod("one-slice"))
        self.wait_phase("one-slice", "Running", "Failed")
        expect(self.phase("one-slice") == "Running", self.api.pod("one-slice")["status"])
        given = self.visible("one-slice")
        expect(len(given) == 1, f"sees {given}")

    # -- the toolkit ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def hardened(self):
        """accept-nvidia-visible-devices-envvar-when-unprivileged = false, for the node's runtime."""
        with open(HARDENED, "w"):
            pass
        try:
            yield
        finally:
            os.unlink(HARDENED)

    def check_hardened_toolkit(self):
        with self.hardened(), self.deployed("hardened-toolkit"):
            self.counts(8)
            self.check_pod_works()
            thief = gpu_pod("without-a-limit", command="nvidia-smi", image=CUDA)
            thief["spec"]["containers"][0].pop("resources")
            thief["spec"]["containers"][0]["env"] = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]
            self.create(thief)
            self.wait_phase("without-a-limit", "Succeeded", "Failed")
            expect(self.phase("without-a-limit") == "Failed", self.api.log("without-a-limit"))
            expect("not found" in self.api.log("without-a-limit"), self.api.log("without-a-limit"))

    # -- the scheduler ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def tainted(self):
        code, output = run(f"kubectl taint node {NODE} nvidia.com/gpu=present:NoSchedule --overwrite")
        expect(code == 0, output)
        try:
            yield
        finally:
            run(f"kubectl taint node {NODE} nvidia.com/gpu-")

    def check_taint(self):
        with self.tainted(), self.deployed():
            self.counts(8)
            stranger = gpu_pod("stranger")
            stranger["spec"].pop("tolerations")
            self.create(stranger)
            eventually(30, lambda: any("untolerated taint" in e for e in self.api.events("stranger")),
                       "the scheduler says that the taint is not tolerated")
            expect(self.phase("stranger") == "Pending", self.phase("stranger"))
            names = [f"gpu-test-{i}" for i in (1, 2, 3, 4)]
            try:
                code, output = run(f"kubectl apply -f {MANIFESTS}/{SMALL}/gpu-test-pods.yaml")
                expect(code == 0, output)
                for name in names:
                    self.wait_phase(name, "Succeeded", "Failed", seconds=90)
                    expect("\nTest PASSED\n" in self.api.log(name), self.api.log(name))
            finally:
                run(f"kubectl delete -f {MANIFESTS}/{SMALL}/gpu-test-pods.yaml --grace-period=0 --force")

    def desired(self):
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/nvidia-device-plugin-daemonset"
        return self.api.get(path)["status"]["desiredNumberScheduled"]

    def check_labels(self):
        present = {k for k in USUAL_LABELS if self.api.node()["metadata"]["labels"].get(k) == "true"}
        expect(LABEL in present, f"the node has {present}")
        with self.deployed():
            self.counts(8)
            try:
                run(f"kubectl label node {NODE} {LABEL}-")
                eventually(60, lambda: self.desired() == 0 and self.api.gpus() == 0,
                           "no plugin is wanted and no GPU is left")
            finally:
                run(f"kubectl label node {NODE} {LABEL}=true --overwrite")
            eventually(120, self.ready, "plugin pod ready")
            self.counts(8)

    # -- the host ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read_only(self, directory):
        for command in (f"mount --bind {directory} {directory}", f"mount -o remount,bind,ro {directory}"):
            code, output = run(command)
            expect(code == 0, output)
        try:
            yield
        finally:
            run(f"umount -l {directory}")

    def check_read_only_etc(self):
        with self.read_only("/etc"), self.deployed():
            self.counts(8)
            self.check_pod_works()
            looked = 0
            for name, pid in self.plugin_processes().items():
                with open(f"/proc/{pid}/mountinfo") as file:
                    for line in file:
                        before, _, after = line.partition(" - ")
                        source, at, options = before.split()[3:6]
                        writable = "ro" not in options.split(",")
                        looked += writable
                        expect(not writable or after.split()[0] in IN_MEMORY or at in KUBELETS or
                               "/pods/" in source,  # an emptyDir
                               f"{name} may write to {line}")
            expect(looked > 0, "nothing is mounted writable: nothing was looked at")
