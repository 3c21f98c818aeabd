"""`kerf doctor`: on a node that is in order and on ones that are not, and asking an API server."""

import json
import os
import re
import shutil
import unittest

import apiserver
import node
from node import NVML_LIBRARY

NODES = "/api/v1/nodes"
SETS = "/apis/apps/v1/daemonsets"
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
PLUGIN_PODS = "/api/v1/namespaces/gpu-device-plugin/pods"
EVENTS = "/api/v1/namespaces/gpu-device-plugin/events"
PODS = "/api/v1/pods"
PCI = "feature.node.kubernetes.io/pci-10de.present"
MODULES = ("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset")


class DoctorTest(node.NodeTest):
    def doctor(self, here, *arguments, status, env=None):
        """The findings, by check; several of a check are kept in order."""
        done = here.kerf("doctor", "--json", *arguments, env={"HOME": str(here.directory), **(env or {})})
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        answer = json.loads(done.stdout)
        found = {}
        for finding in answer["findings"]:
            found.setdefault(finding["check"], []).append(finding)
        return found

    def look(self, here, *more, status):
        return self.doctor(here, "--node", f"--root={here.root}", f"--nvml-library={NVML_LIBRARY}",
                           f"--kubelet-socket={here.kubelet_socket}", *more, status=status)

    def assertFound(self, found, check, severity, *words):
        for finding in found.get(check, []):
            text = finding["what"] + " " + finding["remedy"]
            if finding["severity"] == severity and all(word in text for word in words):
                return
        self.fail(f"no {severity} of {check} with {words} in {json.dumps(found, indent=1)}")


class TheHandbook(unittest.TestCase):
    def test_has_a_row_for_each_check(self):
        sources = [*(node.REPOSITORY / "src" / "doctor").glob("*_checks.cc"),
                   node.REPOSITORY / "src" / "cli" / "doctor_command.cc"]
        checks = set()
        for source in sources:
            checks |= set(re.findall(r'(?:Severity::k\w+|severity),\s*"([a-z][\w.-]*)"',
                                     source.read_text()))
        checks |= {f"module.{module}" for module in MODULES}
        text = (node.REPOSITORY / "docs" / "troubleshooting.md").read_text()
        table = text.partition("| check |")[2].partition("\n\n")[0]
        rows = {check for line in table.splitlines()[2:]
                for check in re.findall(r"`([^`]+)`", line.split("|")[1])}
        self.assertEqual(rows, checks)


class OnANode(DoctorTest):
    def test_in_order_nothing_is_wrong(self):
        here = self.node()
        here.start(devices=8)
        found = self.look(here, f"--address={here.address()}", status=0)
        wrong = [each for some in found.values() for each in some if each["severity"] != "ok"]
        self.assertEqual(wrong, [])
        self.assertFound(found, "pci", "ok", "2 GPUs", "nvidia")
        self.assertFound(found, "nvml", "ok", "2 GPUs")
        self.assertFound(found, "kubelet", "ok", "nvidia-gpu.sock")
        self.assertFound(found, "agent.resources", "ok", "nvidia.com/gpu: 8 of 8 healthy")

    def test_each_missing_module_is_named(self):
        here = self.node()
        modules = here.root / "proc" / "modules"
        lines = modules.read_text().splitlines(keepends=True)
        for module in MODULES:
            with self.subTest(module=module):
                modules.write_text("".join(x for x in lines if not x.startswith(f"{module} ")))
                found = self.look(here, "--nvml-library=/nowhere/libnvidia-ml.so.1", status=1)
                self.assertFound(found, f"module.{module}", "error", f"modprobe {module}")
                self.assertEqual([x for x in found if x.startswith("module.")], [f"module.{module}"])
        modules.write_text("")
        (here.root / "etc").mkdir(exist_ok=True)
        (here.root / "etc" / "extensions.yaml").write_text("layers:\n  - metadata:\n      name: i915\n")
        found = self.look(here, status=1)
        self.assertFound(found, "module.nvidia", "error", "machine.kernel.modules",
                         "siderolabs/nonfree-kmod-nvidia-production")
        self.assertFound(found, "talos.toolkit", "error", "siderolabs/nvidia-container-toolkit-production")
        self.assertFound(found, "talos.kmod", "error", "siderolabs/nonfree-kmod-nvidia-production")

    def test_other_drivers_are_named_by_the_gpus_they_hold(self):
        here = self.node()
        devices = here.root / "sys" / "bus" / "pci" / "devices"
        for name, driver in zip(sorted(os.listdir(devices)), ("vfio-pci", "nouveau")):
            link = devices / name / "driver"
            link.unlink()
            target = here.root / "sys" / "bus" / "pci" / "drivers" / driver
            target.mkdir(parents=True)
            link.symlink_to(target)
        found = self.look(here, status=1)
        self.assertFound(found, "pci", "warn", "bound to vfio-pci", "virtual machines")
        self.assertFound(found, "pci", "warn", "bound to nouveau", "blacklist")

    def test_without_kubelet_plugin_and_agent_each_is_said(self):
        here = self.node()
        found = self.look(here, "--address=127.0.0.1:1", status=1)
        self.assertFound(found, "kubelet", "error", "no directory", str(here.kubelet_directory))
        self.assertFound(found, "agent", "warn", "does not answer", "--address")
        here.start_kubelet()
        self.assertFound(self.look(here, status=1), "kubelet", "error", "no GPU plugin has a socket")

    def test_what_the_agent_complains_of_is_passed_on(self):
        here = self.node()
        here.start(devices=8)
        here.fault("xid", "79", "--gpu", "0")
        here.await_allocatable(4)
        found = self.look(here, f"--address={here.address()}", status=0)
        self.assertFound(found, "agent.problem", "warn", "79")
        self.assertFound(found, "agent.resources", "warn", "4 of 8 healthy")

    def test_a_driver_that_does_not_answer_is_said(self):
        here = self.node("none")
        found = self.look(here, status=1)
        self.assertFound(found, "pci", "error", "no NVIDIA GPU")


@unittest.skipUnless(shutil.which("openssl"), "needs openssl to make certificates")
class OfACluster(DoctorTest):
    def cluster(self):
        """A cluster in order: one node with GPUs, the plugin on it, and a pod that uses it."""
        here = self.node()
        api = apiserver.ApiServer(here.directory)
        self.addCleanup(api.close)
        api.collections |= {NODES, SETS, CLASSES, PLUGIN_PODS, EVENTS, PODS}
        api.set(f"{NODES}/worker-1", {
            "metadata": {"name": "worker-1", "labels": {PCI: "true"}}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "nodeInfo": {"osImage": "Debian"},
                       "capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "8"}}})
        api.set(f"{SETS}/plugin", {
            "metadata": {"name": "nvidia-device-plugin-daemonset", "namespace": "gpu-device-plugin"},
            "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "nvidia-device-plugin"}},
                     "template": {"spec": {
                         "runtimeClassName": "nvidia", "nodeSelector": {PCI: "true"},
                         "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}}},
            "status": {"desiredNumberScheduled": 1, "numberReady": 1}})
        api.set(f"{CLASSES}/nvidia", {"metadata": {"name": "nvidia"}, "handler": "nvidia"})
        api.set(f"{PLUGIN_PODS}/plugin-x", {
            "metadata": {"name": "plugin-x", "namespace": "gpu-device-plugin"},
            "spec": {"nodeName": "worker-1"},
            "status": {"phase": "Running", "containerStatuses": [{"name": "ctr", "restartCount": 0}]}})
        api.set(f"{PODS}/train", {
            "metadata": {"name": "train", "namespace": "default"},
            "spec": {"nodeName": "worker-1",
                     "containers": [{"resources": {"limits": {"nvidia.com/gpu": "3"}}}]},
            "status": {"phase": "Running"}})
        return here, api

    def ask(self, here, api, *more, status):
        return self.doctor(here, "--cluster", f"--kubeconfig={api.kubeconfig}", *more, status=status)

    def change(self, api, path, **parts):
        api.set(path, apiserver.merge(api.objects[path], parts))

    def test_in_order_nothing_is_wrong(self):
        here, api = self.cluster()
        found = self.ask(here, api, status=0)
        wrong = [each for some in found.values() for each in some if each["severity"] != "ok"]
        self.assertEqual(wrong, [])
        self.assertFound(found, "node.capacity", "ok", "worker-1: 8 of 8 nvidia.com/gpu", "pods have 3")
        self.assertFound(found, "node.plugin-pod", "ok", "plugin-x is Running")

    def test_is_also_asked_by_the_environment_and_from_home(self):
        here, api = self.cluster()
        asked = self.doctor(here, "--cluster", status=0, env={"KUBECONFIG": str(api.kubeconfig)})
        self.assertFound(asked, "plugin", "ok")
        (here.directory / ".kube").mkdir()
        shutil.copy(api.kubeconfig, here.directory / ".kube" / "config")
        self.assertFound(self.doctor(here, "--cluster", status=0), "plugin", "ok")

    def test_a_plugin_without_pods_says_why_they_are_refused(self):
        here, api = self.cluster()
        del api.objects[f"{PLUGIN_PODS}/plugin-x"]
        del api.objects[f"{CLASSES}/nvidia"]
        self.change(api, f"{SETS}/plugin", status={"numberReady": 0})
        api.set(f"{EVENTS}/1", {
            "metadata": {"name": "1"}, "type": "Warning", "reason": "FailedCreate",
            "message": 'pod rejected: RuntimeClass "nvidia" not found',
            "involvedObject": {"kind": "DaemonSet", "name": "nvidia-device-plugin-daemonset"}})
        found = self.ask(here, api, status=1)
        self.assertFound(found, "runtime-class", "error", "no RuntimeClass nvidia", "runtimeclass.yaml")
        self.assertFound(found, "plugin.events", "warn", "FailedCreate")
        self.assertFound(found, "node.plugin-pod", "error", "no pod of DaemonSet")

    def test_a_crashing_plugin_says_its_last_words(self):
        here, api = self.cluster()
        self.change(api, f"{PLUGIN_PODS}/plugin-x", status={"phase": "Running", "containerStatuses": [{
            "name": "ctr", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "bad\nconfig"}}}]})
        found = self.ask(here, api, status=1)
        self.assertFound(found, "node.plugin-pod", "error", "CrashLoopBackOff", "bad | config",
                         "kubectl logs -n gpu-device-plugin plugin-x -c ctr --previous")

    def test_a_node_with_another_label_or_a_taint_is_told(self):
        here, api = self.cluster()
        other = "feature.node.kubernetes.io/pci-0300_10de.present"
        self.change(api, f"{NODES}/worker-1", metadata={"labels": {PCI: None, other: "true"}})
        found = self.ask(here, api, status=1)
        self.assertFound(found, "node.selector", "error", f"asks for {PCI}=true", f"has {other}")
        self.change(api, f"{NODES}/worker-1", metadata={"labels": {PCI: "true"}},
                    spec={"taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]})
        self.assertFound(self.ask(here, api, status=1), "node.taint", "error", "gpu=true:NoSchedule")

    def test_pods_that_wait_and_devices_that_are_gone_are_told(self):
        here, api = self.cluster()
        self.change(api, f"{NODES}/worker-1", status={"allocatable": {"nvidia.com/gpu": "4"}})
        self.change(api, f"{PODS}/train", spec={"nodeName": None}, status={"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "1 Insufficient nvidia.com/gpu."}]})
        found = self.ask(here, api, status=0)
        self.assertFound(found, "node.capacity", "warn", "4 of 8", "pods have 0")
        self.assertFound(found, "pods.pending", "warn", "default/train", "Insufficient")

    def test_what_may_not_be_seen_is_left_out(self):
        here, api = self.cluster()
        api.denied |= {f"GET {SETS}", f"GET {CLASSES}", f"GET {PODS}"}
        found = self.ask(here, api, status=0)
        self.assertEqual(len(found["api"]), 3)
        self.assertFound(found, "api", "skip", "runtimeclasses")
        self.assertFound(found, "node.capacity", "ok", "8 of 8")

    def test_one_node_is_asked_for_by_name(self):
        here, api = self.cluster()
        api.set(f"{NODES}/plain", {"metadata": {"name": "plain"}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}]}})
        found = self.ask(here, api, "--node-name=plain", status=1)
        self.assertFound(found, "node.selector", "error", "kubectl label node plain")
        found = self.ask(here, api, "--node-name=nowhere", status=1)
        self.assertFound(found, "api", "error", "nowhere", "--node-name")

    def test_a_server_that_does_not_answer_is_an_error_only_when_asked_for(self):
        here, api = self.cluster()
        text = json.loads(api.kubeconfig.read_text())
        text["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        api.kubeconfig.write_text(json.dumps(text))
        self.assertFound(self.ask(here, api, status=1), "api", "error", "nodes")
        here.start(devices=8)
        found = self.doctor(here, f"--root={here.root}", f"--nvml-library={NVML_LIBRARY}",
                            f"--kubelet-socket={here.kubelet_socket}", f"--address={here.address()}",
                            status=0, env={"KUBECONFIG": str(api.kubeconfig)})
        self.assertFound(found, "api", "warn", "nodes")


if __name__ == "__main__":
    node.main()
