"""What watches and steers GPUs beside the plugin, as the manifests ship it: power limits that hold, who
uses a shared GPU, and a plugin that stays as it is while its GPUs are sick. Each check brings up the
small deployment with what it needs, and takes it down again, so that any of them runs alone."""

import contextlib
import json
import os
import re
import urllib.request

from documented import MANIFESTS, SMALL
from kube import NAMESPACE, NODE, WORK, eventually, expect, gpu_pod, run

POWER = "app.kubernetes.io/name=nvidia-powerlimit"
USAGE = "app.kubernetes.io/name=gpu-usage"
EXPORTER = "app=nvidia-dcgm-exporter"
PLUGIN_CONTAINER = "nvidia-device-plugin-ctr"
# A pod's memory in MiB and its part of the GPU's time in percent.
LOADS = [(4000, 40), (3000, 20), (2000, 10), (1000, 5)]


def parse_samples(text, family):
    """Labels and value of each sample of a family in Prometheus' text format."""
    found = re.findall(rf"^{family}\{{(.*)\}} (\S+)$", text, re.M)
    return [(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(value))
            for labels, value in found]


class Watching:
    """The part of the suite that is about watching and power; needs its api, report and helpers,
    and `deployed` and `driver_tool` of Components."""

    def watching_checks(self):
        check = self.report.check
        check("with the component power one privileged container holds 300 W against drift, a driver "
              "loaded anew and a GPU that was away", self.check_power)
        name = ("four pods on one GPU show four different figures under their names, in usage and "
                "exporter, and are told when it falls ill")
        if self.pods_have_cgroups():
            check(name, self.check_shared_use)
        else:
            self.report.skip(name, "this machine lacks cgroup controllers, so no pod has a cgroup of its own")
        check("while both GPUs are sick the plugin is not restarted, and after a kill it knows which GPU was",
              self.check_sick)

    # -- helpers ---------------------------------------------------------------------------------

    def only_pod(self, selector):
        """The one pod of a DaemonSet that is there to stay."""
        pods = [p for p in self.api.pods(selector) if "deletionTimestamp" not in p["metadata"]]
        expect(len(pods) == 1, f"{len(pods)} pods {selector} in place of one")
        return pods[0]

    def process_of(self, pod, container=None):
        """The pid, in the node, of a running container."""
        statuses = {c["name"]: c for c in pod["status"].get("containerStatuses", [])}
        status = statuses[container] if container else next(iter(statuses.values()))
        identity = status["containerID"].removeprefix("containerd://")
        found = re.search(rf"^{identity}\s+(\d+)\s+RUNNING", run("ctr -n k8s.io tasks list")[1], re.M)
        expect(found, f"{pod['metadata']['name']} does not run")
        return int(found.group(1))

    def scrape(self, selector, port, path="/metrics"):
        address = self.only_pod(selector)["status"]["podIP"]
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def rolled_out(self, name, command):
        """Changes a DaemonSet by a command and waits until its pods are made anew."""
        target = f"-n {NAMESPACE} daemonset/{name}"
        for step in (f"kubectl {command}".replace("TARGET", target),
                     f"kubectl rollout status {target} --timeout=60s"):
            code, output = run(step)
            expect(code == 0, output)

    def pods_have_cgroups(self):
        with open(f"{WORK}/etc/kubelet.yaml") as file:
            return "cgroupsPerQOS: true" in file.read()

    # -- power -----------------------------------------------------------------------------------

    def smi(self, fields):
        """What the driver says to another program than ours, a row for each GPU."""
        out = self.driver_tool("smi", "--", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
        return [line.split(", ") for line in out.splitlines()]

    def limits(self, *watts):
        eventually(60, lambda: [row[0] for row in self.smi("power.limit")] == [f"{w}.00" for w in watts],
                   f"limits of {watts} W")

    def power_metric(self, name, **labels):
        for found, value in parse_samples(self.scrape(POWER, 2112), f"kerf_power_{name}"):
            if labels.items() <= found.items():
                return value
        return None

    def check_power(self):
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(self.deployed())
            cleanup.callback(self.driver_tool, "reset")
            self.limits(300, 300)
            expect([row[0] for row in self.smi("persistence_mode")] == ["Enabled"] * 2, "persistence")
            self.rolled_out("nvidia-powerlimit-daemonset", "set env TARGET REAPPLY_SECONDS=1")
            eventually(30, lambda: self.power_metric("state", gpu="1", state="held") == 1, "it is held")
            self.check_power_privileges()
            pod, plugin, restarts = self.only_pod(POWER), self.plugin_name(), self.restarts()
            name = pod["metadata"]["name"]

            self.driver_tool("fault", "limit-drift", "350", "--gpu", "1")
            eventually(30, lambda: re.search("had drifted and was set again.* gpu=1 ", self.api.log(name)),
                       "the log tells of the drift")
            self.limits(300, 300)
            expect(self.power_metric("drifts_total", gpu="1") == 1 and
                   self.power_metric("applied_total", gpu="0") == 0, "not only GPU 1 was set again")

            self.driver_tool("fault", "driver-reload")
            eventually(60, lambda: self.power_metric("applied_total", gpu="0") == 1, "GPU 0 is set again")
            self.limits(300, 300)
            eventually(30, lambda: [row[0] for row in self.smi("persistence_mode")] == ["Enabled"] * 2,
                       "persistence mode again")

            self.driver_tool("fault", "lost", "--gpu", "1")
            eventually(60, lambda: self.power_metric("state", gpu="1", state="unreadable") == 1,
                       "the loss is noticed")
            self.driver_tool("fault", "back", "--gpu", "1")
            self.limits(300, 300)
            expect(self.power_metric("applied_total", gpu="0") == 1, "GPU 0 was set without need")
            after = self.only_pod(POWER)
            expect(after["metadata"]["name"] == name and
                   after["status"]["containerStatuses"][0]["restartCount"] == 0, "the pod was restarted")
            expect(self.plugin_name() == plugin and self.restarts() == restarts, "the plugin was restarted")
            self.counts(8)

    def check_power_privileges(self):
        """The one container is privileged; the plugin's pod beside it has nothing."""
        with open(f"/proc/{self.process_of(self.only_pod(POWER))}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        expect(int(status["CapEff"], 16) & 1 << 21, f"no CAP_SYS_ADMIN to set limits: {status['CapEff']}")
        expect(status["Uid"].split() == ["0"] * 4, f"Uid {status['Uid']}")
        self.check_privileges()

    # -- who uses a shared GPU -------------------------------------------------------------------

    def check_shared_use(self):
        with open(f"{MANIFESTS}/{SMALL}/config.yaml") as file:
            config = file.read() + "usage: {interval: 1s}\n"
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(self.deployed("usage", "metrics-exporter", config=config))
            cleanup.callback(self.driver_tool, "process", "remove")
            self.counts(8)
            loads = self.loaded_pods()
            eventually(60, lambda: self.usage_shows(loads), "the usage metrics tell the pods apart")
            self.rolled_out("nvidia-dcgm-exporter", "set env TARGET DCGM_EXPORTER_INTERVAL=1000")
            eventually(60, lambda: self.exporter_shows(loads), "the exporter names the pods")
            self.check_pods_are_told(loads)
            expect(self.api.pods(USAGE)[0]["status"]["containerStatuses"][0]["restartCount"] == 0,
                   "gpu-usage was restarted")
            return ", ".join(f"{name} {memory} MiB {sm} %" for name, (_, memory, sm) in loads.items())

    def loaded_pods(self):
        """Eight pods on two GPUs, and of one GPU's four: the GPU, memory and activity by pod."""
        names = [f"train-{i}" for i in range(1, 9)]
        self.create(*(gpu_pod(name) for name in names))
        for name in names:
            self.wait_phase(name, "Running", "Failed")
        given = {name: self.visible(name)[0] for name in names}
        gpu = given[names[0]]
        four = [name for name in names if given[name] == gpu]
        expect(len(four) == 4, f"pods by GPU: {given}")
        loads = {name: (gpu, *load) for name, load in zip(four, LOADS)}
        for name, (_, memory, sm) in loads.items():
            pid = self.process_of(self.api.pod(name))
            self.driver_tool("process", "add", "--gpu", gpu, "--pid", str(pid), "--mem", str(memory),
                             "--sm", str(sm), "--name", "train")
        return loads

    def by_pod(self, text, family, **wanted):
        """The values of a family by pod, of samples that carry these labels."""
        return {labels["pod"]: value for labels, value in parse_samples(text, family)
                if labels.get("pod") and wanted.items() <= labels.items()}

    def usage_shows(self, loads):
        text = self.scrape(USAGE, 2112)
        where = {"namespace": NAMESPACE, "container": "main"}
        memory = self.by_pod(text, "kerf_pod_gpu_memory_bytes", **where)
        used = self.by_pod(text, "kerf_pod_gpu_utilization_ratio", **where)
        shares = self.by_pod(text, "kerf_pod_gpu_share_ratio", **where)
        for name, (gpu, mib, sm) in loads.items():
            expect(memory.get(name) == mib << 20, f"memory of {name}: {memory}")
            expect(abs(used.get(name, 0) - sm / 100) < 0.011, f"activity of {name}: {used}")
            expect(self.by_pod(text, "kerf_pod_gpu_memory_bytes", UUID=gpu).get(name), f"{name} on {gpu}")
        for family in ("power_watts", "energy_joules_total", "busy_seconds_total"):
            figures = self.by_pod(text, f"kerf_pod_gpu_{family}", **where)
            falling = [figures.get(name, 0) for name in loads]
            expect(falling == sorted(set(falling), reverse=True), f"{family}: {figures}")
        expect(len(shares) == 8 and set(shares.values()) == {0.25}, f"shares {shares}")
        return True

    def exporter_shows(self, loads):
        text = self.scrape(EXPORTER, 9400)
        for name, (gpu, mib, sm) in loads.items():
            for family, least, most in (("FB_USED", mib, mib), ("GPU_UTIL", sm - 1, sm + 1)):
                rows = [row for row in parse_samples(text, f"DCGM_FI_DEV_{family}")
                        if row[0].get("pod") == name]
                expect(len(rows) == 1, f"{len(rows)} rows of {name} in {family}")
                labels, value = rows[0]
                owner = (labels["UUID"], labels["namespace"], labels["container"])
                expect(owner == (gpu, NAMESPACE, "main"), str(labels))
                expect(least <= value <= most, f"{family} of {name} is {value}")
        return True

    def check_pods_are_told(self, loads):
        gpu = next(iter(loads.values()))[0]
        self.driver_tool("fault", "lost", "--gpu", gpu)
        others = [f"train-{i}" for i in range(1, 9) if f"train-{i}" not in loads]
        try:
            for name in loads:
                shown = eventually(30, lambda name=name: re.search(
                    rf"Warning +GPUUnhealthy .*{gpu}",
                    run(f"kubectl describe pod -n {NAMESPACE} {name}")[1]), f"{name} is told")
                expect(shown, name)
            for name in others:
                expect("GPUUnhealthy" not in str(self.api.events(name)), f"{name} was told as well")
        finally:
            self.driver_tool("clear", "--gpu", gpu)
        name = next(iter(loads))
        eventually(30, lambda: any(e.startswith("GPURecovered") for e in self.api.events(name)),
                   f"{name} is told that it is well again")

    # -- sick GPUs -------------------------------------------------------------------------------

    def probes(self, kind, result):
        """How often the kubelet's probe of the plugin ended like that."""
        pod = self.plugin_name()
        response = self.api.open("GET", f"/api/v1/nodes/{NODE}/proxy/metrics/probes")
        for labels, value in parse_samples(response.read().decode(), "prober_probe_total"):
            if (labels["pod"], labels["container"], labels["probe_type"], labels["result"]) == (
                    pod, PLUGIN_CONTAINER, kind, result):
                return value
        return 0

    def marked(self):
        """The GPUs which the plugin says are not given out, and why."""
        return {labels["gpu"]: labels["reason"] for labels, value in parse_samples(
            self.scrape("app.kubernetes.io/component=device-plugin", 2112), "kerf_gpu_unhealthy")
            if value == 1}

    def check_sick(self):
        with open(f"{MANIFESTS}/{SMALL}/config.yaml") as file:
            config = file.read() + "health: {xids: {unhealthyUntilReset: [94]}}\n"
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(self.deployed(config=config))
            cleanup.callback(self.driver_tool, "reset")
            # As shipped, but asked every second: three answers that say no would restart it.
            often = {"periodSeconds": 1, "initialDelaySeconds": 1}
            patch = json.dumps({"spec": {"template": {"spec": {"containers": [
                {"name": PLUGIN_CONTAINER, "livenessProbe": often, "readinessProbe": often}]}}}})
            self.rolled_out("nvidia-device-plugin-daemonset", f"patch TARGET -p '{patch}'")
            self.counts(8)
            self.check_marks_survive()
            self.check_not_restarted()

    def check_marks_survive(self):
        self.driver_tool("fault", "xid", "94", "--gpu", "0", "--event-only")
        eventually(30, lambda: self.api.gpus() == 4 and self.marked() == {"0": "xid"}, "GPU 0 is marked")
        root = f"/proc/{self.agent_process()}/root/host/run/kerf"
        files = [os.stat(f"{root}/{name}") for name in os.listdir(root)]
        expect(files and {f.st_uid for f in files} == {65534}, f"{os.listdir(root)} of {files}")
        self.kill_agent()
        eventually(30, lambda: self.marked() == {"0": "xid"}, "the new agent knows of GPU 0")
        eventually(30, lambda: (self.api.gpus("capacity"), self.api.gpus()) == (8, 4), "8 and 4 slices")
        # The documented way to make it forget.
        run(f"kubectl delete pod -n {NAMESPACE} {self.plugin_name()}")
        self.counts(8)

    def check_not_restarted(self):
        eventually(60, self.ready, "the plugin is ready")
        name, restarts = self.plugin_name(), self.restarts()
        self.driver_tool("fault", "xid", "79", "--gpu", "0")
        self.driver_tool("fault", "xid", "79", "--gpu", "1")
        eventually(60, lambda: self.api.gpus() == 0 and not self.ready(), "no slice, and not ready")
        asked, refused = self.probes("Liveness", "successful"), self.probes("Readiness", "failed")
        eventually(60, lambda: self.probes("Liveness", "successful") >= asked + 12 and
                   self.probes("Readiness", "failed") > refused, "twelve probes, four times what it takes")
        expect(self.probes("Liveness", "failed") == 0, "a liveness probe failed")
        expect(self.plugin_name() == name and self.restarts() == restarts, "the plugin was restarted")
        for gpu in ("0", "1"):
            self.driver_tool("fault", "back", "--gpu", gpu)
        self.counts(8, seconds=90)
        eventually(60, self.ready, "the plugin is ready again")
