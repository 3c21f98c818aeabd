"""Who uses a shared GPU, from end to end: four pods on one GPU with different loads, told apart by
the kubelet's PodResources, by control groups below --root and by the driver's process figures."""

import json
import socket
import threading

import apiserver
from node import NodeTest, eventually, main

INTERVAL = "1s"


def uid(number):
    return f"{number:08x}-1111-4222-8333-444444444444"


def container_id(number):
    return f"{number:064x}"


class UsageTest(NodeTest):
    def usage_node(self, pods=4, watchdog="", machine="rtx3090x1", **options):
        """A node whose kubelet also says who holds which device, and `pods` pods on it."""
        return self.start_usage(self.node(machine, 4), pods, watchdog, **options)

    @staticmethod
    def start_usage(node, pods, watchdog="", devices=4, more=(), components="devices,http,usage",
                    **options):
        text = node.config_file.read_text()
        node.write_config(f"{text}usage:\n  interval: {INTERVAL}\n{watchdog}")
        node.pod_resources = node.directory / "pod-resources" / "kubelet.sock"
        node.start_kubelet("--pod-resources", str(node.pod_resources))
        node.start(*more, components=components, pod_resources_socket=node.pod_resources,
                   devices=devices, **options)
        for number in range(1, pods + 1):
            node.pod(f"train-{number}")
        return node

    @staticmethod
    def process(node, pid, owner=None, mem=0, sm=0, gpu=0, start=None, container="main", logged=True):
        """A process on a GPU as the driver sees it, in the pod `owner` as the kernel does."""
        folder = node.root / "proc" / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        fields = ["0"] * 18 + [str(start or pid)] + ["0"] * 10
        (folder / "stat").write_text(f"{pid} (python3 (x) y) S {' '.join(fields)}\n")
        group = "/system.slice/ssh.service"
        if owner is not None:
            name = uid(owner).replace("-", "_")
            group = (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{name}.slice/"
                     f"cri-containerd-{container_id(owner)}.scope")
            if logged:
                UsageTest.logs(node, owner, container)
        (folder / "cgroup").write_text(f"0::{group}\n")
        node.sim("process", "add", "-g", str(gpu), "--pid", str(pid), "--mem", str(mem), "--sm", str(sm))

    @staticmethod
    def logs(node, number, container="main"):
        """What the kubelet leaves of a pod in the log directories."""
        (node.root / "var/log/pods" / f"default_train-{number}_{uid(number)}").mkdir(
            parents=True, exist_ok=True)
        links = node.root / "var/log/containers"
        links.mkdir(parents=True, exist_ok=True)
        (links / f"train-{number}_default_{container}-{container_id(number)}.log").touch()

    @staticmethod
    def of(node, what, number):
        return node.metric(f"kerf_pod_gpu_{what}", namespace="default", pod=f"train-{number}",
                           container="main")


class WhoUsesAGpu(UsageTest):
    def test_four_pods_on_one_gpu_have_four_figures(self):
        node = self.usage_node()
        loads = {1: (4000, 40), 2: (3000, 20), 3: (2000, 10), 4: (1000, 5)}
        for number, (mem, sm) in loads.items():
            self.process(node, 1000 + number, number, mem, sm)
        self.process(node, 9, None, 500, 0)  # the host's
        eventually("all are told apart", lambda: all(
            self.of(node, "memory_bytes", n) == mem << 20 for n, (mem, _) in loads.items()) and
            (self.of(node, "utilization_ratio", 1) or 0) > 0.3)
        eventually("energy is counted", lambda: (self.of(node, "energy_joules_total", 4) or 0) > 0)
        # The first reading covers a stretch in which the processes were not all there yet.
        eventually("each has its own activity", lambda: all(
            abs(self.of(node, "utilization_ratio", n) - sm / 100) < 0.011
            for n, (_, sm) in loads.items()))
        for what in ("energy_joules_total", "busy_seconds_total", "power_watts"):
            def ordered(what=what):
                figures = [self.of(node, what, n) for n in loads]
                return len(set(figures)) == 4 and figures == sorted(figures, reverse=True)
            eventually(what, ordered)
        eventually("shares are known", lambda: all(
            self.of(node, "share_ratio", n) == 0.25 for n in loads))
        eventually("time held is counted", lambda: self.of(node, "held_seconds_total", 4) > 0)
        self.assertGreater(self.of(node, "held_seconds_total", 4), 0)
        self.assertEqual(node.metric("kerf_gpu_unattributed_memory_bytes", share="host"), 500 << 20)
        self.sums_are_the_gpus_own(node)
        self.assertEqual(node.metric("kerf_usage_processes_unseen"), 0)
        self.assertEqual(node.problems(), [])

    def sums_are_the_gpus_own(self, node):
        """In one scrape: what pods, host and idle time have is what the GPU has."""
        samples = {}
        for line in node.get("/metrics")[1].splitlines():
            if line.startswith("kerf_"):
                name = line.split("{")[0].split(" ")[0]
                samples[name] = samples.get(name, 0) + float(line.rsplit(" ", 1)[1])
        for parts, whole in (
                (("kerf_pod_gpu_energy_joules_total", "kerf_gpu_unattributed_energy_joules_total"),
                 "kerf_gpu_energy_joules_total"),
                (("kerf_pod_gpu_busy_seconds_total", "kerf_gpu_unattributed_seconds_total"),
                 "kerf_gpu_observed_seconds_total"),
                (("kerf_pod_gpu_utilization_ratio", "kerf_gpu_unattributed_utilization_ratio"),
                 "kerf_gpu_utilization_ratio"),
                (("kerf_pod_gpu_memory_bytes", "kerf_gpu_unattributed_memory_bytes"),
                 "kerf_gpu_memory_used_bytes")):
            self.assertAlmostEqual(sum(samples[part] for part in parts), samples[whole],
                                   delta=1e-6 * samples[whole] + 1e-9, msg=whole)

    def test_status_and_top_name_the_pods(self):
        node = self.usage_node(pods=2)
        self.process(node, 1001, 1, 4000, 40)
        eventually("the slices have owners", lambda: sum(
            1 for gpu in node.status()["gpus"] for s in gpu["slices"]
            if s.get("use", {}).get("pod") in ("train-1", "train-2")) == 2)
        eventually("its use is there", lambda: any(
            p["pod"] == "train-1" and p["memory_bytes"] == 4000 << 20
            for gpu in node.status()["gpus"] for p in (gpu["use"] or {"pods": []})["pods"]))
        use = node.status()["gpus"][0]["use"]
        self.assertTrue(use["history"]["power_watts"])
        self.assertGreater(use["temperature_celsius"], 0)
        shown = node.kerf("status", "--address", node.address()).stdout
        self.assertIn("default/train-1 (main)", shown)
        top = node.kerf("top", "--once", "--address", node.address())
        self.assertEqual(top.returncode, 0, top.stderr)
        self.assertRegex(top.stdout, r"default/train-1 \(main\).*3\.9 GiB")
        self.assertNotIn("\x1b", top.stdout)
        as_json = json.loads(node.kerf("top", "--json", "--address", node.address()).stdout)
        self.assertEqual(as_json[0]["pods"][0]["pod"], "train-1")

    def test_a_kubelet_that_restarts_changes_no_figure(self):
        node = self.usage_node(pods=1)
        self.process(node, 1001, 1, 4000, 40)
        eventually("it is seen", lambda: self.of(node, "busy_seconds_total", 1))
        eventually("its share is known", lambda: self.of(node, "share_ratio", 1) == 0.25)
        node.tell_kubelet("stop")
        node.await_problem("who holds which device")
        before = self.of(node, "busy_seconds_total", 1)
        self.assertEqual(node.metric("kerf_pod_resources_up"), 0)
        eventually("it is still counted",
                   lambda: self.of(node, "busy_seconds_total", 1) > before + 1)
        self.assertEqual(self.of(node, "share_ratio", 1), 0.25)
        node.tell_kubelet("start")
        eventually("the kubelet tells again", lambda: node.metric("kerf_pod_resources_up") == 1)
        self.assertGreater(self.of(node, "busy_seconds_total", 1), before)

    def test_garbage_of_the_kubelet_is_not_believed(self):
        node = self.usage_node(pods=1)
        self.process(node, 1001, 1, 4000, 40)
        eventually("it is seen", lambda: self.of(node, "memory_bytes", 1) == 4000 << 20)
        node.tell_kubelet("stop")
        stop = self.answer_with(node.pod_resources, b"\x16\x03\x01 certainly not HTTP/2")
        node.await_problem("who holds which device")
        self.assertEqual(self.of(node, "memory_bytes", 1), 4000 << 20)
        stop()
        node.tell_kubelet("start")
        eventually("the kubelet tells again", lambda: node.metric("kerf_pod_resources_up") == 1)
        self.assertTrue(node.agent.running())

    @staticmethod
    def answer_with(path, answer):
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                try:
                    connection.sendall(answer)
                except OSError:
                    pass
                connection.close()

        threading.Thread(target=serve, daemon=True).start()

        def stop():
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            path.unlink(missing_ok=True)
        return stop

    def test_without_the_kubelets_socket_pods_are_known_all_the_same(self):
        node = self.node("rtx3090x1", 4)
        node.write_config(f"{node.config_file.read_text()}usage:\n  interval: {INTERVAL}\n")
        node.start(components="devices,http,usage",
                   pod_resources_socket=node.directory / "missing.sock", devices=4)
        self.process(node, 1001, 1, 4000, 40)
        eventually("its memory is seen", lambda: self.of(node, "memory_bytes", 1) == 4000 << 20)
        problem = node.await_problem("who holds which device", "missing.sock")
        self.assertIn("--pod-resources-socket", problem["remedy"])

    def test_processes_out_of_sight_are_said_to_be(self):
        node = self.usage_node(pods=1)
        node.sim("process", "add", "-g", "0", "--pid", "4242", "--mem", "1000", "--sm", "50")
        problem = node.await_problem("out of sight")
        self.assertIn("hostPID", problem["remedy"])
        self.assertEqual(node.metric("kerf_gpu_unattributed_memory_bytes", share="host"), 1000 << 20)

    def test_a_reused_process_number_is_another_pods(self):
        node = self.usage_node(pods=2)
        self.process(node, 1001, 1, 4000, 40)
        eventually("the first has it", lambda: self.of(node, "busy_seconds_total", 1))
        self.process(node, 1001, 2, 3000, 30, start=777)
        eventually("the second has it", lambda: self.of(node, "memory_bytes", 2) == 3000 << 20 and
                   self.of(node, "memory_bytes", 1) == 0)
        self.assertGreater(self.of(node, "busy_seconds_total", 1), 0)

    def test_a_gpu_that_hangs_keeps_nobody_from_the_others(self):
        node = self.usage_node(pods=0, machine="rtx3090x2", devices=8)
        self.process(node, 1001, 1, 4000, 40, gpu=1)
        eventually("it is seen", lambda: self.of(node, "busy_seconds_total", 1))
        node.fault("hang", "--gpu", "0", "--call", "nvmlDeviceGetPowerUsage")
        eventually("the first times out", lambda: node.metric("kerf_usage_nvml_timeouts_total"))
        before = self.of(node, "busy_seconds_total", 1)
        eventually("the second goes on", lambda: self.of(node, "busy_seconds_total", 1) > before + 2)
        node.sim("clear")

    def test_a_list_of_processes_that_grows_while_it_is_read_is_read_again(self):
        node = self.usage_node(pods=1)
        for pid in range(1001, 1101):  # more than there is room for at first
            self.process(node, pid, 1, 10, 0)
        eventually("all are seen", lambda: self.of(node, "processes", 1) == 100)
        node.fault("process-growth", "--gpu", "0", "3")
        rounds = node.metric("kerf_usage_rounds_total")
        eventually("it is read on", lambda: node.metric("kerf_usage_rounds_total") > rounds + 2)
        self.assertEqual(self.of(node, "memory_bytes", 1), 1000 << 20)

    def test_mig_devices_have_users_of_their_own(self):
        node = self.node("a100-80x1-mig", None)
        node.write_config("version: v1\nflags:\n  migStrategy: mixed\nusage:\n  interval: 1s\n")
        node.pod_resources = node.directory / "pod-resources" / "kubelet.sock"
        node.start_kubelet("--pod-resources", str(node.pod_resources))
        node.start(components="devices,http,usage", pod_resources_socket=node.pod_resources)
        mig = eventually("a MIG device", lambda: [
            m for gpu in node.status()["gpus"] for m in gpu["mig_devices"]])[0]
        name = f"nvidia.com/mig-{mig['profile']}"
        eventually("it is allocatable", lambda: node.resource(name)["allocatable"])
        held = node.pod("train-1", resource=name)["ids"][0]
        gi = next(line.split("gi ")[1].split()[0] for line in node.sim("show").splitlines()
                  if held in line)
        self.process(node, 1001, 1, 2000, 0)
        node.sim("process", "add", "-g", "0", "--pid", "1001", "--mem", "2000",
                 "--gpu-instance", gi, "--compute-instance", "0")
        eventually("its memory is seen", lambda: node.metric(
            "kerf_pod_gpu_memory_bytes", pod="train-1", UUID=held) == 2000 << 20)
        eventually("and what is its own", lambda: node.metric(
            "kerf_pod_gpu_memory_limit_bytes", pod="train-1", UUID=held) == mig["memory_mib"] << 20)
        self.assertEqual(node.metric("kerf_pod_gpu_share_ratio", pod="train-1", UUID=held), 1)
        eventually("energy goes by slices", lambda: node.metric(
            "kerf_pod_gpu_energy_joules_total", pod="train-1", UUID=held) > 0)
        self.assertIsNone(node.metric("kerf_pod_gpu_utilization_ratio", pod="train-1"))

    def test_a_lost_gpu_takes_no_counter_back(self):
        node = self.usage_node(pods=1)
        self.process(node, 1001, 1, 4000, 40)
        eventually("it is seen", lambda: self.of(node, "energy_joules_total", 1))
        node.fault("lost", "--gpu", "0")
        eventually("its figures are gone",
                   lambda: node.metric("kerf_gpu_utilization_ratio") is None)
        before = self.of(node, "energy_joules_total", 1)
        self.assertIsNotNone(before)
        self.assertEqual(self.of(node, "memory_bytes", 1), 0)
        node.sim("clear")
        eventually("it is counted again",
                   lambda: self.of(node, "energy_joules_total", 1) > before)


class TheWatchdog(UsageTest):
    EVENTS = "/api/v1/namespaces/default/events"
    # An Eviction is made in a collection of the pod.
    EVICTIONS = "/api/v1/namespaces/default/pods/train-1/eviction"

    def watched_node(self, action, **annotations):
        """A pod on a GPU of which it may use a quarter, 6 GiB."""
        node = self.node("rtx3090x1", 4)
        self.api = apiserver.ApiServer(node.directory)
        self.addCleanup(self.api.close)
        self.api.collections.update({"/api/v1/pods", self.EVENTS, self.EVICTIONS})
        self.api.set("/api/v1/pods/train-1", {
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "train-1", "namespace": "default", "uid": uid(1),
                         "annotations": annotations},
            "spec": {"nodeName": "n1"},
            "status": {"containerStatuses": [
                {"name": "main", "containerID": f"containerd://{container_id(1)}"}]}})
        with_api = {"node_name": "n1", "kubeconfig": self.api.kubeconfig}
        watchdog = f"  memoryWatchdog:\n    action: {action}\n    window: 1s\n"
        return self.start_usage(node, 1, watchdog, **with_api)

    def events(self, reason):
        with self.api.lock:
            return [e for e in self.api.children(self.EVENTS) if e["reason"] == reason]

    def test_tells_of_a_pod_above_its_share(self):
        node = self.watched_node("event")
        self.process(node, 1001, 1, 5000, 40)
        eventually("its limit is known", lambda: self.of(node, "memory_limit_bytes", 1) == 6 << 30)
        self.assertEqual(self.of(node, "memory_over_limit", 1), 0)
        self.process(node, 1001, 1, 8192, 40)
        event = eventually("an Event", lambda: self.events("GPUMemoryOverShare"))[0]
        self.assertIn("8.0 GiB", event["message"])
        self.assertIn("fair share of 6.0 GiB", event["message"])
        self.assertEqual(event["type"], "Warning")
        self.assertEqual(event["involvedObject"]["name"], "train-1")
        self.assertEqual(event["involvedObject"]["uid"], uid(1))
        self.assertEqual(self.of(node, "memory_over_limit", 1), 1)
        self.assertEqual(node.metric("kerf_memory_watchdog_breaches_total"), 1)
        self.assertEqual(self.api.count("POST " + self.EVICTIONS), 0)
        self.process(node, 1001, 1, 4000, 40)
        eventually("it is over", lambda: self.of(node, "memory_over_limit", 1) == 0)

    def test_evicts_only_when_told_to(self):
        node = self.watched_node("evict")
        self.process(node, 1001, 1, 8192, 40)
        eventually("it is evicted", lambda: self.api.count("POST " + self.EVICTIONS))
        with self.api.lock:
            eviction = self.api.objects[self.EVICTIONS + "/train-1"]
        self.assertEqual(eviction["kind"], "Eviction")
        self.assertEqual(eviction["deleteOptions"]["preconditions"]["uid"], uid(1))
        self.assertIn("fair share", self.events("GPUMemoryEviction")[0]["message"])
        eventually("it is counted", lambda: node.metric(
            "kerf_memory_watchdog_evictions_total", outcome="done") == 1)

    def test_takes_the_pods_quota_for_its_share(self):
        node = self.watched_node("event", **{"kerf/gpu-memory": "10Gi"})
        self.process(node, 1001, 1, 8192, 40)
        eventually("its quota is known", lambda: self.of(node, "memory_limit_bytes", 1) == 10 << 30)
        self.process(node, 1001, 1, 12000, 40)
        event = eventually("an Event", lambda: self.events("GPUMemoryOverShare"))[0]
        self.assertIn("quota of 10.0 GiB", event["message"])

    def test_says_that_it_may_not_evict(self):
        node = self.watched_node("evict")
        self.api.denied.add("POST " + self.EVICTIONS)
        self.process(node, 1001, 1, 8192, 40)
        eventually("it is refused", lambda: node.metric(
            "kerf_memory_watchdog_evictions_total", outcome="refused"))
        node.await_problem("eviction")

    def test_is_off_by_default(self):
        node = self.watched_node("none")
        self.process(node, 1001, 1, 8192, 40)
        eventually("a metric tells", lambda: self.of(node, "memory_over_limit", 1) == 1)
        self.assertEqual(self.api.count("POST"), 0)


if __name__ == "__main__":
    main()
