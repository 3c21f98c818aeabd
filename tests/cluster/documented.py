"""The commands of the documentation, run as they stand in the order in which it gives them, with
what it says they print. Those that concern both deployments or the state of the cluster at one
moment are in `suite`."""

import os
import re
import shutil
import tempfile

from kube import (NAMESPACE, NODE, PLUGIN, CheckFailed, eventually, expect, run, run_on_terminal)

# Where the commands are run; the paths below are relative to it.
MANIFESTS = os.environ.get("KERF_CLUSTER_MANIFESTS",
                           os.path.dirname(os.path.dirname(os.path.dirname(
                               os.path.abspath(__file__)))))
FULL = "infrastructure/controllers/nvidia-device-plugin"  # ten slices of a GPU
SMALL = "gpu-device-plugin"  # four


class Documented:
    """The part of the suite that runs documented commands; needs its api, report, wait_phase."""

    def verbatim(self, command, wanted, terminal=False, status=0, tries=1):
        """Runs a documented command as it stands and looks for what the document says."""
        def check():
            code, output = (run_on_terminal if terminal else run)(command)
            expect(status is None or code == status,
                   f"$ {command}\nexit status {code}, not {status}:\n{output[-1500:]}")
            for pattern in [wanted] if isinstance(wanted, str) else wanted:
                expect(re.search(pattern, output, re.M),
                       f"$ {command}\nprints nothing like /{pattern}/:\n{output[-1500:]}")
        def patient():
            eventually(tries, lambda: check() is None, f"$ {command}")
        name = re.sub(r"\s*\\?\n\s*", " ", command)
        if len(name) > 180:
            name = name[:60] + " … " + name[-110:]
        self.report.check("$ " + name, patient if tries > 1 else check)

    def documented_runs(self):
        image = "nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04"
        extras = ('"runtimeClassName":"nvidia","tolerations":[{"key":"nvidia.com/gpu","operator":'
                  '"Exists","effect":"NoSchedule"}],"nodeSelector":'
                  '{"feature.node.kubernetes.io/pci-10de.present":"true"}')
        # kubectl dropped --limits in 1.24, so that the documented loop cannot run on any current
        # version. Recorded by the first check; the second says the same by --overrides.
        self.verbatim(
            "for i in {1..3}; do\n  kubectl run gpu-test-$i \\\n"
            f"    --image={image} \\\n    --restart=Never --rm -it \\\n"
            "    --overrides='{\"spec\":{" + extras + "}}' \\\n"
            "    --limits=nvidia.com/gpu=1 \\\n    -- nvidia-smi\ndone",
            "unknown flag: --limits", terminal=True, status=None)
        container = ('"containers":[{"name":"gpu-test-\'$i\'","image":"' + image + '",'
                     '"args":["nvidia-smi"],"resources":{"limits":{"nvidia.com/gpu":"1"}}}]')
        self.verbatim(
            "for i in {1..3}; do\n  kubectl run gpu-test-$i \\\n"
            f"    --image={image} \\\n    --restart=Never --rm -it \\\n"
            "    --overrides='{\"spec\":{" + extras + "," + container + "}}' \\\n"
            "    -- nvidia-smi || exit 1\ndone",
            [r"NVIDIA-SMI", r"RTX 3090", 'pod "gpu-test-3" deleted'], terminal=True)
        self.verbatim(
            "kubectl run nvidia-debug --image=nvidia/cuda:12.4.1-base-ubuntu22.04 \\\n"
            "  --restart=Never --rm -it \\\n"
            "  --overrides='{\"spec\":{\"runtimeClassName\":\"nvidia\"}}' \\\n  -- nvidia-smi",
            [r"NVIDIA-SMI", r"RTX 3090"], terminal=True)
        self.report.check("both test pods run when they are uncommented", self.check_test_pods)
        # The node's kernel decides whether there is a driver's module to find.
        modules = self.modules()
        command = f"kubectl exec -it {self.plugin_name()} -n {NAMESPACE} -- lsmod | grep nvidia"
        if modules is None:
            self.verbatim(command, "this kernel has no loadable modules", status=1)
        else:
            ours = [rf"^{name}\s+\d+\s+\d" for name in modules if "nvidia" in name]
            self.verbatim(command, ours, status=0 if ours else 1)
            self.report.check("lsmod in the pod lists what the kernel has", self.check_lsmod)
        # The resource pcidevices belongs to another product; what it would list, kerf lists.
        self.verbatim(f"kubectl get pcidevices -n {NODE} | grep NVIDIA",
                      "doesn't have a resource type", status=None)

    def plugin_name(self):
        try:
            return self.api.plugin_pod()["metadata"]["name"]
        except CheckFailed:
            return "no-plugin-pod"

    def modules(self):
        """Names of the kernel's modules; None where it has none to load."""
        try:
            with open("/proc/modules") as file:
                return [line.split()[0] for line in file]
        except FileNotFoundError:
            return None

    def check_lsmod(self):
        code, output = run(f"kubectl exec {self.plugin_name()} -n {NAMESPACE} -- lsmod")
        rows = [line.split() for line in output.splitlines()]
        expect(code == 0 and rows[0] == ["Module", "Size", "Used", "by"], output)
        expect(sorted(row[0] for row in rows[1:]) == sorted(self.modules()), output)

    def check_test_pods(self):
        names = ("nvidia-test", "nvidia-timeslice-test")
        with tempfile.TemporaryDirectory() as copy:
            for name in ("infrastructure", "deploy"):
                if os.path.isdir(f"{MANIFESTS}/{name}"):
                    shutil.copytree(f"{MANIFESTS}/{name}", f"{copy}/{name}")
            path = f"{copy}/{FULL}/kustomization.yaml"
            with open(path) as file:
                text = file.read()
            for name in names:
                text, times = re.subn(rf"^(\s*)#\s*(- {name}-pod\.yaml)$", r"\1\2", text, flags=re.M)
                expect(times == 1, f"{FULL}/kustomization.yaml has no commented {name}-pod.yaml")
            with open(path, "w") as file:
                file.write(text)
            code, output = run(f"kubectl apply -k {copy}/{FULL}/")
            expect(code == 0, output)
        try:
            self.wait_phase("nvidia-timeslice-test", "Running", "Succeeded", seconds=90)
            for name, printed in zip(names, (r"NVIDIA-SMI", r"^\s*[01]\s+\d+\s+\d+")):
                self.wait_phase(name, "Succeeded", "Failed", seconds=90)
                code, output = run(f"kubectl logs -n {NAMESPACE} {name}")
                expect(self.phase(name) == "Succeeded" and code == 0 and
                       re.search(printed, output, re.M), f"{name}: {output}")
        finally:
            run(f"kubectl delete pod -n {NAMESPACE} {' '.join(names)} --grace-period=0 --force")

    def four_documented_pods(self):
        names = [f"gpu-test-{i}" for i in (1, 2, 3, 4)]
        pods = "---\n".join(f"""apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: gpu-device-plugin
spec:
  restartPolicy: Never
  containers:
  - name: cuda-test
    image: nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda11.7.1-ubuntu20.04
    resources:
      limits:
        nvidia.com/gpu: "1"
  runtimeClassName: nvidia
""" for name in names)
        self.verbatim(f"kubectl apply -f - << EOF\n{pods}EOF", "pod/gpu-test-4 created")
        self.verbatim(f"kubectl get pods -n {NAMESPACE} | grep gpu-test",
                      [rf"^{name}\s+1/1\s+Running" for name in names], tries=20)
        self.report.check("the four pods end well", lambda: [
            self.wait_phase(name, "Succeeded", seconds=60) for name in names] and None)
        for name in names:
            self.verbatim(f"kubectl logs {name} -n {NAMESPACE}", "^Test PASSED$")
        self.verbatim(f"kubectl delete pods {' '.join(names)} -n {NAMESPACE}",
                      'pod "gpu-test-4" deleted')

    def troubleshooting(self):
        self.verbatim("kubectl get nodes -l feature.node.kubernetes.io/pci-0300_10de.present=true",
                      rf"^{NODE}\s+Ready")
        self.verbatim(f"kubectl get configmap nvidia-device-plugin-config -n {NAMESPACE} -o yaml",
                      r"replicas: 4")
        self.verbatim(f'kubectl logs -l {PLUGIN} -n {NAMESPACE} | grep -i "time.*slic"', r"\S")
        self.verbatim(f"kubectl get pods -n {NAMESPACE} -o wide", rf"\s{NODE}\s")
        self.verbatim('kubectl describe nodes | grep -A 10 "Allocated resources"',
                      r"nvidia\.com/gpu\s+0\s+0")
        self.verbatim("kubectl get runtimeclass nvidia", r"^nvidia\s+nvidia")
        self.verbatim(f"kubectl get all -n {NAMESPACE}",
                      [r"^pod/nvidia-device-plugin", r"^daemonset.apps/nvidia-device-plugin",
                       r"^service/nvidia-device-plugin-metrics\s+ClusterIP\s+None\s.*\b2112/TCP"])
        self.verbatim(
            "kubectl run nvidia-debug --image=nvidia/cuda:12.4.1-base-ubuntu22.04 "
            "--restart=Never --rm -it --overrides='{\"spec\":{\"runtimeClassName\":\"nvidia\","
            '"containers":[{"name":"nvidia-debug","image":"nvidia/cuda:12.4.1-base-ubuntu22.04",'
            "\"command\":[\"nvidia-smi\"]}]}}'", ["NVIDIA-SMI", "RTX 3090"], terminal=True)
        self.verbatim(f"kubectl exec -it {self.plugin_name()} -n {NAMESPACE} -- "
                      "ls -la /var/lib/kubelet/device-plugins/",
                      [r"kubelet\.sock", r"nvidia-gpu\.sock"], terminal=True)

    def power_management(self):
        label = "app.kubernetes.io/name=nvidia-powerlimit"
        gpus = [rf"^{i}, NVIDIA GeForce RTX 3090, 300\.00 W, \d+\.\d\d W, \d+ %" for i in (0, 1)]
        self.verbatim(f"kubectl get pods -n {NAMESPACE} -l {label}",
                      r"^nvidia-powerlimit\S+\s+1/1\s+Running", tries=20)
        self.verbatim(f"kubectl logs -l {label} -n {NAMESPACE}",
                      [r"^[01] +NVIDIA GeForce RTX 3090 .* 300 W .*(set|ok)$"])
        pod = (f"POWER_POD=$(kubectl get pods -n {NAMESPACE} -l {label} "
               "-o jsonpath='{.items[0].metadata.name}')\n")
        query = f"kubectl exec -it $POWER_POD -n {NAMESPACE} -- nvidia-smi "
        fields = "--query-gpu=index,name,power.limit,power.draw,utilization.gpu --format=csv"
        self.verbatim(pod + query + fields, [
            r"index, name, power\.limit \[W\], power\.draw \[W\], utilization\.gpu \[%\]", *gpus],
            terminal=True)
        shown = [r"^Attached GPUs +: 2", r"^ +Current Power Limit +: 300\.00 W"]
        self.verbatim(pod + query + "-q -d POWER", shown, terminal=True)
        # Where a toolkit mounts no nvidia-smi of the driver's, kerf answers by that name.
        own = query.replace("nvidia-smi", "/usr/lib/kerf/nvidia-smi")
        self.verbatim(pod + own + fields, gpus, terminal=True)
        self.verbatim(pod + own + "-q -d POWER", shown, terminal=True)
