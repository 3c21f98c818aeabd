"""The metrics exporter from end to end: the real binary on the simulated machine, a simulated kubelet
that says who holds which device, faults, other counter lists, HTTPS, and Prometheus itself."""

import base64
import http.client
import json
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

import apiserver
import node
from node import KERF, NVML_LIBRARY, PATIENCE, Process, eventually
from test_usage import UsageTest

LIST = ("# a list of the test\nDCGM_FI_DEV_GPU_TEMP, gauge, Temperature\n"
        "DCGM_FI_DEV_POWER_USAGE, gauge, Power\nDCGM_FI_DEV_XID_ERRORS, gauge, XID\n"
        "DCGM_FI_DRIVER_VERSION, label, Driver\n")
LINE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)+)\} (\S+)')
# bcrypt of "test".
TEST_PASSWORD = "$2b$04$ljSz1CG8C91pP2uGpANB8uvnPe7pH1Eyi1R7TuU0OlHaF/Og/W5MK"


def samples(text):
    """[(name, labels, value)] of an exposition, none of them twice."""
    found, seen = [], set()
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        assert match, f"no sample: {line}"
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2))
        assert len({name for name, _ in labels}) == len(labels), f"a label twice: {line}"
        key = (match.group(1), match.group(2))
        assert key not in seen, f"twice: {line}"
        seen.add(key)
        found.append((match.group(1), dict(labels), float(match.group(3))))
    return found


class Exporter(node.Node):
    """A node whose agent is `dcgm-exporter`."""

    def __init__(self, machine="rtx3090x2", counters=LIST):
        super().__init__(machine)
        self.list = self.directory / "counters" / "list.csv"
        self.list.parent.mkdir()
        self.list.write_text(counters)

    def start_exporter(self, *more, interval=200, counters=True, program=(KERF, "dcgm-exporter"),
                       executable=None, env=None):
        arguments = ["-a", "127.0.0.1:0", "-c", str(interval), "--root", str(self.root),
                     "--nvml-library", NVML_LIBRARY, *more]
        if counters:
            arguments = ["-f", str(self.list), *arguments]
        self.agents += 1
        self.agent = Process([*program, *arguments], self.directory / f"agent{self.agents}.log",
                             executable=executable,
                             env={**self.environment, "NODE_NAME": "node-1", **(env or {})})
        self.others.append(self.agent)

    def exporter_address(self):
        return self.await_log(r'room=exporter msg="serving metrics" address=(\S+)').group(1)

    def fetch(self, path="/metrics", context=None, headers=None, method="GET"):
        """(status, headers, body)"""
        host, port = self.exporter_address().rsplit(":", 1)
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        options = {"context": context} if context else {}
        connection = kind(host, int(port), timeout=PATIENCE, **options)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def samples(self, name=None, **labels):
        return [(n, found, value) for n, found, value in samples(self.fetch()[2])
                if (name is None or n == name)
                and all(found.get(key) == wanted for key, wanted in labels.items())]

    def await_samples(self, count, name=None, seconds=PATIENCE, **labels):
        def there():
            found = self.samples(name, **labels)
            return (found,) if len(found) == count else None
        try:
            return eventually(f"{count} samples of {name} {labels}", there, seconds)[0]
        except AssertionError as late:
            raise AssertionError(f"{late}; there are\n{self.fetch()[2]}\n{self.log()}") from None


class ExporterTest(node.NodeTest):
    def exporter(self, *arguments, **options):
        here = Exporter(*arguments, **options)
        self.addCleanup(here.close)
        return here


class Text(ExporterTest):
    def test_it_is_dcgm_exporters_to_the_byte(self):
        here = self.exporter()
        here.start_exporter()
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        text = here.fetch()[2]
        self.assertRegex(text, re.compile(
            r'\A# HELP DCGM_FI_DEV_GPU_TEMP Temperature\n# TYPE DCGM_FI_DEV_GPU_TEMP gauge\n'
            r'DCGM_FI_DEV_GPU_TEMP\{gpu="0",UUID="GPU-[0-9a-f-]{36}",pci_bus_id="00000000:01:00\.0",'
            r'device="nvidia0",modelName="NVIDIA GeForce RTX 3090",Hostname="node-1",'
            r'DCGM_FI_DRIVER_VERSION="[0-9.]+"\} \d+\n'
            r'DCGM_FI_DEV_GPU_TEMP\{gpu="1",.*\} \d+\n'
            r'# HELP DCGM_FI_DEV_POWER_USAGE Power\n# TYPE DCGM_FI_DEV_POWER_USAGE gauge\n'
            r'DCGM_FI_DEV_POWER_USAGE\{gpu="0",.*\} \d+\.\d{6}\n'
            r'DCGM_FI_DEV_POWER_USAGE\{gpu="1",.*\} \d+\.\d{6}\n'
            r'# HELP DCGM_FI_DEV_XID_ERRORS XID\n# TYPE DCGM_FI_DEV_XID_ERRORS gauge\n'
            r'DCGM_FI_DEV_XID_ERRORS\{gpu="0",.*,err_code="0",err_msg="No Error"\} 0\n'
            r'DCGM_FI_DEV_XID_ERRORS\{gpu="1",.*\} 0\n\Z'))

    def test_the_built_in_lists_need_no_file_and_promtool_finds_them_well_formed(self):
        here = self.exporter("h200x8-hgx")
        here.start_exporter(counters=False)
        here.await_log("built in")
        here.await_samples(8, "DCGM_FI_PROF_DRAM_ACTIVE")
        self.assertEqual(len(here.samples("DCGM_FI_DEV_FB_RESERVED")), 8)
        if shutil.which("promtool") is None:
            self.skipTest("promtool is not installed")
        done = subprocess.run(["promtool", "check", "metrics"], input=here.fetch()[2], text=True,
                              capture_output=True, check=False, timeout=PATIENCE)
        # Names that break Prometheus's habits are DCGM's; what does not parse would be ours.
        self.assertNotIn("error while linting", done.stderr)
        habits = ("counter metrics should have", "non-counter metrics should not have",
                  "use base unit", "should not contain abbreviated units", "no help text",
                  "should be written in 'snake_case'", "should not include type")
        for line in done.stderr.splitlines():
            self.assertTrue(any(habit in line for habit in habits), line)

    def test_pages_health_and_index_answer_like_the_original(self):
        here = self.exporter()
        here.start_exporter()
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        status, headers, body = here.fetch("/health")
        self.assertEqual((status, body), (200, "OK"))
        self.assertEqual(headers["X-Registry-Available"], "true")
        self.assertEqual(headers["X-Reload-In-Progress"], "false")
        status, headers, body = here.fetch("/")
        self.assertIn('href="./metrics"', body)
        self.assertEqual(here.fetch()[1]["Content-Type"],
                         "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(here.fetch("/nothing")[0], 404)
        self.assertEqual(here.fetch(method="POST")[0], 405)

    def test_flags_variables_and_the_name_of_the_original_are_understood(self):
        here = self.exporter()
        here.start_exporter("-n", "--use-old-namespace", "--replace-blanks-in-model-name",
                            "-d", "g:1", "-r", "localhost:5555", program=("dcgm-exporter",),
                            executable=KERF, env={"DCGM_EXPORTER_ENABLE_DCGM_LOG": "true"})
        found = here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP")[0][1]
        self.assertNotIn("Hostname", found)
        self.assertIn("uuid", found)
        self.assertEqual((found["gpu"], found["modelName"]), ("1", "NVIDIA-GeForce-RTX-3090"))
        self.assertRegex(here.log(), "--remote-hostengine-info has no effect: there is no DCGM")
        self.assertRegex(here.log(), "DCGM_EXPORTER_ENABLE_DCGM_LOG has no effect")

    def test_variables_count_where_no_flag_is_given(self):
        here = self.exporter()
        here.start_exporter(env={"DCGM_EXPORTER_DEVICES_STR": "g:0", "DCGM_EXPORTER_LOG_FORMAT": "text",
                                 "KERF_EXPORTER_HOSTNAME_LABEL": "both"})
        found = here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP")[0][1]
        self.assertEqual((found["Hostname"], found["hostname"]), ("node-1", "node-1"))

    def test_a_mistake_in_the_list_ends_it_with_file_line_and_remedy(self):
        here = self.exporter(counters="DCGM_FI_DEV_GPU_TMP, gauge, t\n")
        here.start_exporter()
        self.assertEqual(here.agent.wait(), 1)
        self.assertRegex(here.log(), r"'DCGM_FI_DEV_GPU_TMP' is no field")
        self.assertRegex(here.log(), r"list.csv:1")
        self.assertRegex(here.log(), r"did you mean DCGM_FI_DEV_GPU_TEMP")

    def test_mig_instances_have_lines_of_their_own(self):
        here = self.exporter("a100-80x1-mig", counters="DCGM_FI_DEV_FB_TOTAL, gauge, m\n")
        here.start_exporter()
        found = here.await_samples(4, "DCGM_FI_DEV_FB_TOTAL")
        self.assertEqual(sorted(labels["GPU_I_PROFILE"] for _, labels, _ in found),
                         ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"])
        self.assertEqual(len({labels["GPU_I_ID"] for _, labels, _ in found}), 4)
        self.assertEqual(len({labels["UUID"] for _, labels, _ in found}), 1)

    def test_unified_memory_has_no_framebuffer(self):
        here = self.exporter("dgx-spark-gb10")
        here.start_exporter(counters=False)
        here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP")
        self.assertNotIn("DCGM_FI_DEV_FB_", here.fetch()[2])


class Faults(ExporterTest):
    def test_a_gpu_that_hangs_costs_itself_alone_and_no_scrape_waits(self):
        here = self.exporter()
        here.start_exporter(interval=500)
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        here.fault("hang", "--call", "nvmlDeviceGetPowerUsage", "--gpu", "0")
        here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP", gpu="1")
        here.await_samples(0, "DCGM_FI_DEV_GPU_TEMP", gpu="0")
        self.assertEqual(here.fetch("/health")[0], 200)
        here.sim("clear")
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")

    def test_a_lost_gpu_loses_its_lines_and_the_others_keep_theirs(self):
        here = self.exporter("h200x8-hgx")
        here.start_exporter()
        here.await_samples(8, "DCGM_FI_DEV_GPU_TEMP")
        here.fault("xid", "79", "--gpu", "3")
        found = here.await_samples(7, "DCGM_FI_DEV_GPU_TEMP")
        self.assertNotIn("3", [labels["gpu"] for _, labels, _ in found])

    def test_a_driver_that_is_loaded_again_is_used_again(self):
        here = self.exporter()
        here.start_exporter()
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        here.fault("driver-unload")
        here.await_samples(0, "DCGM_FI_DEV_GPU_TEMP")
        here.fault("driver-reload")
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP", seconds=2 * PATIENCE)

    def test_it_starts_without_a_driver_and_ends_at_once(self):
        here = self.exporter("none")
        here.start_exporter()
        self.assertEqual(here.fetch()[2], "")
        self.assertEqual(here.stop_agent(), 0)

    def test_sigterm_ends_it_while_the_driver_hangs(self):
        here = self.exporter()
        here.start_exporter()
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        here.fault("hang", "--call", "*")
        eventually("somebody hangs", lambda: "could not be read" in here.log())
        self.assertEqual(here.stop_agent(), 0)

    def test_the_same_xid_twice_is_counted_twice(self):
        here = self.exporter(counters=LIST + "DCGM_EXP_XID_ERRORS_COUNT, gauge, n\n")
        here.start_exporter()
        here.await_samples(2, "DCGM_EXP_XID_ERRORS_COUNT", xid="0")
        # What happened before the driver was asked to report is never reported.
        eventually("an XID arrives", lambda: here.fault("xid", "31", "--gpu", "1", "--event-only") and
                   False or here.samples("DCGM_EXP_XID_ERRORS_COUNT", xid="31"))
        before = here.samples("DCGM_EXP_XID_ERRORS_COUNT", xid="31")[0][2]
        here.fault("xid", "31", "--gpu", "1", "--event-only")
        eventually("it counts", lambda: here.samples("DCGM_EXP_XID_ERRORS_COUNT", xid="31")[0][2]
                   > before)
        found = here.samples("DCGM_FI_DEV_XID_ERRORS", gpu="1")[0]
        self.assertEqual((found[1]["err_code"], found[2]), ("31", 31))


class Lists(ExporterTest):
    def test_a_changed_list_is_taken_and_a_wrong_one_refused(self):
        here = self.exporter()
        here.start_exporter()
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        here.list.write_text("DCGM_FI_DEV_SM_CLOCK, gauge, c\n")
        here.await_samples(2, "DCGM_FI_DEV_SM_CLOCK")
        self.assertEqual(here.samples("DCGM_FI_DEV_GPU_TEMP"), [])
        here.list.write_text("DCGM_FI_DEV_SM_CLOCK, gauge\n")
        here.await_log("counter list refused, the one before stays in force")
        self.assertEqual(len(here.samples("DCGM_FI_DEV_SM_CLOCK")), 2)

    def test_a_configmap_goes_before_the_file(self):
        here = self.exporter()
        server = apiserver.ApiServer(here.directory)
        self.addCleanup(server.close)
        path = "/api/v1/namespaces/gpu/configmaps/counters"
        server.set(path, {"metadata": {"name": "counters"},
                          "data": {"metrics": "DCGM_FI_DEV_MEM_CLOCK, gauge, m\n"}})
        here.start_exporter("-m", "gpu:counters", "--kubeconfig", str(server.kubeconfig))
        here.await_samples(2, "DCGM_FI_DEV_MEM_CLOCK")
        self.assertEqual(here.samples("DCGM_FI_DEV_GPU_TEMP"), [])


class PodsTest(ExporterTest):
    def shared(self, machine="rtx3090x1", replicas=4):
        """A node with agent and kubelet, beside which an exporter is started."""
        plugin = self.node(machine, replicas)
        plugin.pod_resources = plugin.directory / "pod-resources" / "kubelet.sock"
        plugin.start_kubelet("--pod-resources", str(plugin.pod_resources))
        plugin.start(devices=replicas)
        here = self.exporter(machine)
        here.environment.update({key: plugin.environment[key]
                                 for key in ("NVML_SIM_STATE", "NVML_SIM_MACHINE")})
        return plugin, here


class Pods(PodsTest):
    def test_the_last_of_several_pods_is_named_as_the_original_does(self):
        plugin, here = self.shared()
        here.start_exporter("-k", "--pod-resources-kubelet-socket", str(plugin.pod_resources))
        self.assertNotIn("pod", here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP")[0][1])
        for name in ("first", "second"):
            plugin.pod(name)
        found = here.await_samples(1, "DCGM_FI_DEV_GPU_TEMP", container="main", namespace="default")
        self.assertIn(found[0][1]["pod"], ("first", "second"))
        self.assertNotIn("vgpu", found[0][1])

    def test_every_pod_that_shares_a_gpu_has_a_line(self):
        plugin, here = self.shared()
        here.start_exporter("-k", "--kubernetes-virtual-gpus", "--pod-resources-kubelet-socket",
                            str(plugin.pod_resources))
        for number in range(3):
            plugin.pod(f"pod-{number}")
        found = here.await_samples(3, "DCGM_FI_DEV_GPU_TEMP", container="main")
        self.assertEqual({labels["pod"] for _, labels, _ in found}, {"pod-0", "pod-1", "pod-2"})
        self.assertEqual(len({labels["vgpu"] for _, labels, _ in found}), 3)
        plugin.tell_kubelet("pod delete pod-1")
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP", container="main")

    def test_without_the_kubelet_metrics_go_on_without_pods(self):
        here = self.exporter()
        here.start_exporter("-k", "--pod-resources-kubelet-socket", str(here.directory / "none.sock"))
        here.await_samples(2, "DCGM_FI_DEV_GPU_TEMP")
        here.await_log("metrics do not say which pod holds a GPU")

    def test_it_is_a_component_of_the_agent(self):
        here = self.node("rtx3090x2", 4)
        here.start("--exporter-address", "127.0.0.1:0", "--exporter-collect-interval", "200",
                   components="devices,http,exporter", devices=8)
        exporter = here.await_log(r'room=exporter msg="serving metrics" address=(\S+)').group(1)

        def scraped():
            with urllib.request.urlopen(f"http://{exporter}/metrics", timeout=PATIENCE) as answer:
                return len([s for s in samples(answer.read().decode())
                            if s[0] == "DCGM_FI_DEV_GPU_TEMP"]) == 2
        eventually("two GPUs", scraped)
        self.assertGreaterEqual(here.metric("kerf_exporter_scrapes_total"), 1)
        self.assertEqual(here.health()[1]["status"], "ok")


class OwnFigures(PodsTest):
    """What pods that share a GPU use of it, each for itself."""

    LOADS = {1: (4000, 40), 2: (3000, 20), 3: (2000, 10), 4: (1000, 5)}
    LIST = ("DCGM_FI_DEV_GPU_UTIL, gauge, u\nDCGM_FI_DEV_FB_USED, gauge, m\n"
            "DCGM_FI_DEV_FB_FREE, gauge, f\nDCGM_FI_DEV_POWER_USAGE, gauge, p\n"
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, e\n")

    def start_shared(self, *more):
        plugin, here = self.shared()
        here.list.write_text(self.LIST)
        here.start_exporter("-k", "--kubernetes-virtual-gpus", *more,
                            "--pod-resources-kubelet-socket", str(plugin.pod_resources))
        for number in self.LOADS:
            plugin.pod(f"train-{number}")
        here.await_samples(4, "DCGM_FI_DEV_FB_FREE", container="main")
        return here

    def work(self, here, visible=True):
        for number, (mem, sm) in self.LOADS.items():
            if visible:
                UsageTest.process(here, 1000 + number, number, mem, sm)
            else:
                here.sim("process", "add", "-g", "0", "--pid", str(1000 + number),
                         "--mem", str(mem), "--sm", str(sm))

    @staticmethod
    def of_pods(here, name):
        """By pod, and under None the device's."""
        return {labels.get("pod"): value for _, labels, value in here.samples(name)}

    def test_four_pods_on_one_gpu_have_four_figures_that_add_up(self):
        here = self.start_shared()
        self.work(here)
        UsageTest.process(here, 9, None, 500, 0)  # the host's

        def told():
            memory = self.of_pods(here, "DCGM_FI_DEV_FB_USED")
            busy = self.of_pods(here, "DCGM_FI_DEV_GPU_UTIL")
            return all(memory.get(f"train-{n}") == mem and
                       abs(busy.get(f"train-{n}", -9) - sm) <= 1
                       for n, (mem, sm) in self.LOADS.items())
        eventually("each has its own", told)
        eventually("and energy", lambda: min(self.of_pods(
            here, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION").values()) > 0)
        for name in ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE",
                     "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"):
            found = self.of_pods(here, name)
            whole = found.pop(None)
            self.assertEqual(len(set(found.values())), 4, name)
            by_number = [found[f"train-{n}"] for n in self.LOADS]
            self.assertEqual(by_number, sorted(by_number, reverse=True), name)
            # What nobody has (the host, idle power, contexts) is the rest.
            self.assertLessEqual(sum(by_number), whole + 1e-3, name)
        self.assertEqual(len(set(self.of_pods(here, "DCGM_FI_DEV_FB_FREE").values())), 1)
        memory = self.of_pods(here, "DCGM_FI_DEV_FB_USED")
        self.assertGreaterEqual(memory.pop(None) - sum(memory.values()), 500)

    def test_they_are_the_figures_of_usage_where_both_run_and_the_kubelet_is_asked_once(self):
        here = self.node("rtx3090x1", 4)
        counters = here.directory / "list.csv"
        counters.write_text(self.LIST)
        UsageTest.start_usage(here, 0, components="devices,http,exporter,usage", more=(
            "--exporter-address", "127.0.0.1:0", "--exporter-collect-interval", "200",
            "--exporter-kubernetes", "--exporter-kubernetes-virtual-gpus",
            "--exporter-collectors", str(counters)))
        for number in self.LOADS:
            here.pod(f"train-{number}")
        self.work(here)
        exporter = here.await_log(r'room=exporter msg="serving metrics" address=(\S+)').group(1)

        def same():
            with urllib.request.urlopen(f"http://{exporter}/metrics", timeout=PATIENCE) as answer:
                memory = {labels.get("pod"): value for name, labels, value in
                          samples(answer.read().decode()) if name == "DCGM_FI_DEV_FB_USED"}
            return all(memory.get(f"train-{n}") == mem and
                       UsageTest.of(here, "memory_bytes", n) == mem << 20
                       for n, (mem, _) in self.LOADS.items())
        eventually("both tell the same", same)
        self.assertEqual(here.log().count("the kubelet tells who holds which device"), 1)
        threads = [path.read_text().strip() for path in
                   pathlib.Path(f"/proc/{here.agent.pid}/task").glob("*/comm")]
        self.assertEqual(threads.count("usage"), 1, threads)

    def test_processes_out_of_sight_leave_pods_the_gpus_figures(self):
        here = self.start_shared()
        self.work(here, visible=False)
        here.await_log("lines of pods that share a GPU have the GPU's figures")

        def repeated():
            found = self.of_pods(here, "DCGM_FI_DEV_FB_USED")
            return len(found) == 4 and len(set(found.values())) == 1 and max(found.values()) >= 10000
        eventually("all have the GPU's", repeated)
        self.assertIn("hostPID", here.log())

    def test_so_do_processes_in_pods_that_nobody_can_name(self):
        here = self.start_shared()
        self.work(here)
        eventually("each has its own", lambda: self.of_pods(here, "DCGM_FI_DEV_FB_USED").get(
            "train-1") == 4000)
        UsageTest.process(here, 2000, 77, 100, 0, logged=False)
        here.await_log("lines of pods that share a GPU have the GPU's figures")
        here.sim("process", "remove", "--pid", "2000")
        eventually("and own ones again", lambda: self.of_pods(here, "DCGM_FI_DEV_FB_USED").get(
            "train-1") == 4000)

    def test_figures_of_the_device_are_repeated_when_asked(self):
        here = self.start_shared("--shared-figures=device")
        self.work(here)

        def repeated():
            found = self.of_pods(here, "DCGM_FI_DEV_FB_USED")
            return len(found) == 4 and len(set(found.values())) == 1 and max(found.values()) >= 10000
        eventually("all have the GPU's", repeated)


class Web(ExporterTest):
    def web(self, here, text):
        path = here.directory / "web.yaml"
        path.write_text(text)
        return str(path)

    def certificate(self, here):
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(here.directory / "tls.key"), "-out", str(here.directory / "tls.crt")],
            capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return ssl.create_default_context(cafile=str(here.directory / "tls.crt"))

    def test_https_and_passwords(self):
        here = self.exporter()
        context = self.certificate(here)
        here.start_exporter("--web-config-file", self.web(
            here, "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n"
                  f"basic_auth_users:\n  prom: {TEST_PASSWORD}\n"))
        status, headers, _ = here.fetch(context=context)
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, "Basic"))
        for word, wanted in (("prom:test", 200), ("prom:no", 401), ("other:test", 401)):
            header = {"Authorization": "Basic " + base64.b64encode(word.encode()).decode()}
            self.assertEqual(here.fetch(context=context, headers=header)[0], wanted, word)
        with self.assertRaises((ConnectionError, http.client.HTTPException, OSError)):
            here.fetch()

    def test_a_renewed_certificate_is_used_without_a_restart(self):
        here = self.exporter()
        self.certificate(here)
        here.start_exporter("--web-config-file", self.web(
            here, "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"))
        here.exporter_address()
        context = self.certificate(here)

        def trusted():
            try:
                return here.fetch(context=context)[0] == 200
            except ssl.SSLError:
                return False
        eventually("the new certificate", trusted)

    def test_a_mistake_in_the_web_configuration_ends_it(self):
        here = self.exporter()
        here.start_exporter("--web-config-file", self.web(here, "tls_server_config: {cert_file: a}\n"))
        self.assertEqual(here.agent.wait(), 1)
        self.assertIn("has only one of cert_file and key_file", here.log())


class Prometheus(ExporterTest):
    def test_prometheus_scrapes_it_and_the_panels_of_dashboard_12239_have_data(self):
        if shutil.which("prometheus") is None:
            self.skipTest("prometheus is not installed")
        here = self.exporter("h200x8-hgx")
        here.start_exporter(counters=False)
        here.await_samples(8, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")
        settings = here.directory / "prometheus.yml"
        settings.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "gpu",
                                "static_configs": [{"targets": [here.exporter_address()]}]}]}))
        log = here.directory / "prometheus.log"
        # It chooses no free port by itself.
        with __import__("socket").socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Process(["prometheus", f"--config.file={settings}",
                          f"--storage.tsdb.path={here.directory / 'tsdb'}",
                          f"--web.listen-address=127.0.0.1:{port}"], log)
        here.others.append(server)

        def ask(expression):
            url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode(
                {"query": expression})
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return json.load(answer)["data"]["result"]
            except OSError:
                return []
        try:
            eventually("Prometheus has scraped", lambda: len(ask("DCGM_FI_DEV_GPU_TEMP")) == 8)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{log.read_text()}") from None
        for expression in ("avg(DCGM_FI_DEV_GPU_TEMP)", "sum(DCGM_FI_DEV_POWER_USAGE)",
                           'DCGM_FI_DEV_SM_CLOCK{gpu=~".*"} * 1000000', "DCGM_FI_DEV_GPU_UTIL",
                           "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_DEV_FB_USED", 'up == 1'):
            self.assertTrue(ask(expression), expression)


if __name__ == "__main__":
    node.main()
