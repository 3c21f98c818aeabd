"""From starting the agent to devices in the kubelet, and what can be read about them meanwhile."""

import json
import os
import re
import shutil
import subprocess
import unittest

import node
from node import GPU, KERF, MACHINES, NVML_LIBRARY, config, eventually


def ids_per_gpu(devices):
    counts = {}
    for device in devices:
        uuid = device["id"].split("::")[0]
        counts[uuid] = counts.get(uuid, 0) + 1
    return counts


class ATwoGpuNodeAtFourSlices(node.NodeTest):
    def setUp(self):
        self.here = self.node()
        self.here.start(devices=8)

    def test_has_eight_healthy_replica_ids_four_a_gpu_in_a_stable_order(self):
        resource = self.here.resource()
        ids = [device["id"] for device in resource["devices"]]
        self.assertEqual(len(set(ids)), 8)
        self.assertEqual(sorted(ids_per_gpu(resource["devices"]).values()), [4, 4])
        self.assertEqual(ids, sorted(ids, key=lambda i: (ids.index(i.split("::")[0] + "::0"),
                                                         int(i.split("::")[1]))))
        for device in resource["devices"]:
            self.assertRegex(device["id"], r"^GPU-[0-9a-f-]{36}::[0-3]$")
            self.assertTrue(device["healthy"])
            self.assertEqual(device["numa"], [0])
        self.assertEqual(resource["endpoint"], "nvidia-gpu.sock")
        self.assertEqual((resource["registrations"], resource["updates"]), (1, 1))

    def test_says_in_the_log_that_time_slicing_is_on(self):
        self.assertRegex(self.here.log(), r"(?i)time.*slic.*resource=nvidia\.com/gpu devices=8")

    @unittest.skipUnless(shutil.which("promtool"), "needs promtool (Debian's package prometheus)")
    def test_has_metrics_that_promtool_accepts(self):
        status, text = self.here.get("/metrics")
        self.assertEqual(status, 200)
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                 capture_output=True, check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

    def test_counts_its_devices_in_the_metrics(self):
        text = self.here.get("/metrics")[1]
        self.assertRegex(text, r'kerf_build_info\{[^}]*version="')
        self.assertEqual(self.here.metric("kerf_registrations_total", result="ok"), 1)

    def test_is_healthy_and_ready(self):
        eventually("ready", lambda: self.here.get("/readyz")[0] == 200)
        self.assertEqual(self.here.health(), (200, {"status": "ok", "ready": True, "problems": []}))
        self.assertEqual(self.here.get("/healthz")[0], 200)

    def test_shows_both_gpus_on_the_page(self):
        status, text = self.here.get("/")
        self.assertEqual(status, 200)
        self.assertEqual(text.count("NVIDIA GeForce RTX 3090"), 2)
        self.assertEqual(self.here.get("/nowhere")[0], 404)

    def test_is_shown_by_kerf_status(self):
        self.here.await_log(r"msg=registered resource=\S+ endpoint=\S+ sharing=time-slicing replicas=4")
        eventually("registered", lambda: self.here.health()[1]["ready"])
        shown = self.here.kerf("status", "--address", self.here.address())
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertRegex(shown.stdout, r"nvidia\.com/gpu +8 +8 +0 +time-slicing x 4 +registered")

    def test_is_shown_by_kerf_status_as_json(self):
        shown = self.here.kerf("status", "--json", "--address", self.here.address())
        status = json.loads(shown.stdout)
        self.assertEqual(len(status["gpus"]), 2)
        self.assertEqual(status["resources"][0]["name"], GPU)


class KerfStatus(node.NodeTest):
    def test_names_the_address_and_the_remedy_when_nobody_listens(self):
        here = self.node()
        shown = here.kerf("status", "--address", "127.0.0.1:1")
        self.assertEqual(shown.returncode, 2)
        self.assertRegex(shown.stderr, r"127\.0\.0\.1:1.*--listen")

    def test_says_what_it_takes(self):
        self.assertEqual(self.node().kerf("status", "--help").returncode, 0)


class KerfGpus(node.NodeTest):
    def flags(self, here):
        return f"--root={here.root}", f"--nvml-library={NVML_LIBRARY}"

    def test_lists_the_gpus_with_their_pci_addresses(self):
        here = self.node()
        shown = here.kerf("gpus", *self.flags(here))
        self.assertEqual(shown.returncode, 0, shown.stderr)
        lines = shown.stdout.splitlines()
        self.assertEqual(len(lines), 2)
        for index, line in enumerate(lines):
            self.assertRegex(line, rf"^0000:0\d:00\.0  NVIDIA nvidia  GPU {index}: NVIDIA GeForce "
                                   r"RTX 3090 \(GPU-")

    def test_writes_json(self):
        here = self.node()
        shown = json.loads(here.kerf("gpus", "--json", *self.flags(here)).stdout)
        self.assertEqual([gpu["index"] for gpu in shown["gpus"]], [0, 1])
        self.assertEqual(shown["driver"], "ready")

    def test_takes_a_value_behind_a_space_too(self):
        here = self.node()
        shown = here.kerf("gpus", "--root", str(here.root), "--nvml-library", NVML_LIBRARY)
        self.assertEqual((shown.returncode, len(shown.stdout.splitlines())), (0, 2), shown.stderr)

    def test_lists_what_is_on_the_bus_even_without_a_driver(self):
        here = self.node()
        shown = here.kerf("gpus", f"--root={here.root}", "--nvml-library=/nowhere/library.so")
        self.assertEqual(shown.returncode, 0)
        self.assertRegex(shown.stdout, r"0000:01:00\.0  NVIDIA(.|\n)*driver: cannot load.*"
                                       r"/nowhere/library\.so")

    def test_says_what_it_takes(self):
        here = self.node()
        self.assertEqual(here.kerf("gpus", "--help").returncode, 0)
        refused = here.kerf("gpus", "--bogus")
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stderr, r"--bogus.*usage")


class TheCommand(node.NodeTest):
    def test_prints_its_version_in_every_usual_way(self):
        here = self.node()
        expected = here.kerf("version").stdout
        self.assertRegex(expected, r"^kerf \d+\.\d+\.\d+\n.*k8s-device-plugin v0\.17\.2 \.\.\. "
                                   r"v0\.20\.0\n$")
        for way in (("--version",), ("-v",), ("agent", "--version")):
            with self.subTest(way=way):
                shown = here.kerf(*way)
                self.assertEqual((shown.returncode, shown.stdout), (0, expected))

    def test_has_help_for_every_subcommand_that_it_lists(self):
        here = self.node()
        listed = re.findall(r"^  (\w+) ", here.kerf("--help").stdout, re.MULTILINE)
        self.assertIn("agent", listed)
        for name in listed:
            with self.subTest(command=name):
                shown = here.kerf(name, "--help")
                self.assertEqual((shown.returncode, shown.stderr), (0, ""))
                self.assertRegex(shown.stdout, r"(?i)usage: *kerf " + name)

    def test_suggests_the_command_that_was_meant(self):
        here = self.node()
        refused = here.kerf("statsu")
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stderr, r"unknown command 'statsu'.*did you mean status\?")
        self.assertEqual(here.kerf().returncode, 2)


class TheLog(node.NodeTest):
    def test_is_json_when_told_to(self):
        here = self.node()
        here.start_kubelet()
        here.start_agent("--log-format=json")
        here.await_allocatable(8)
        eventually("registered", lambda: '"msg":"registered"' in here.log())
        self.assertEqual(here.stop_agent(), 0)
        for line in here.log().splitlines():
            self.assertLessEqual({"ts", "level", "room", "msg"}, set(json.loads(line)))

    def test_is_silent_when_only_errors_are_wanted_and_there_are_none(self):
        here = self.node()
        here.start_kubelet()
        here.start_agent("--log-level=error")
        here.await_allocatable(8)
        self.assertEqual(here.stop_agent(), 0)
        self.assertEqual(here.log(), "")

    def test_names_each_step_and_its_duration_when_details_are_wanted(self):
        here = self.node()
        here.start("--log-level=debug", devices=8)
        self.assertEqual(here.stop_agent(), 0)
        steps = re.findall(r'msg="step (\w+)" step="([^"]+)" took_ms=\d+', here.log())
        done = [step for what, step in steps if what == "done"]
        undone = [step for what, step in steps if what == "undone"]
        self.assertGreaterEqual(len(done), 4)
        self.assertEqual(undone, [step for step in reversed(done) if step in undone])


class Tiers(node.NodeTest):
    def test_are_advertised_in_full(self):
        here = self.node()
        here.start(devices=8)
        for replicas in (2, 5, 10, 20, 50):
            with self.subTest(replicas=replicas):
                here.write_config(config(replicas))
                here.await_allocatable(2 * replicas)
                counts = ids_per_gpu(here.resource()["devices"])
                self.assertEqual(set(counts.values()), {replicas})
        self.assertEqual(here.resource()["registrations"], 1)


class Machines(node.NodeTest):
    def expect(self, machine, gpus, **options):
        here = self.node(machine)
        here.start(devices=4 * gpus, **options)
        self.assertEqual(len(ids_per_gpu(here.resource()["devices"])), gpus)
        self.assertEqual(len(here.status()["gpus"]), gpus)
        self.assertEqual(here.kerf("gpus", f"--root={here.root}",
                                   f"--nvml-library={NVML_LIBRARY}").stdout.count("GPU-"), gpus)
        self.assertEqual(here.stop_agent(), 0)
        return here

    def test_with_one_gpu(self):
        self.expect("rtx3090x1", 1)

    def test_with_a_t4(self):
        self.expect("t4", 1)

    def test_with_two_different_gpus(self):
        self.expect("mixed", 2)

    def test_with_eight_gpus_and_switches(self):
        self.expect("h200x8-hgx", 8)

    def test_with_sixteen_gpus_on_two_numa_nodes(self):
        here = self.node("dual-baseboard-16")
        here.start(devices=64)
        nodes = {tuple(device["numa"]) for device in here.resource()["devices"]}
        self.assertGreater(len(nodes), 1)

    def test_with_unified_memory(self):
        here = self.node("dgx-spark-gb10")
        here.start(devices=4)
        self.assertIsNone(here.status()["gpus"][0]["memory_mib"])
        self.assertEqual(here.kerf("status", "--address", here.address()).returncode, 0)
        self.assertEqual(here.get("/")[0], 200)

    def test_with_mig_devices_under_the_mixed_strategy(self):
        here = self.node("a100-80x1-mig")
        here.write_config(config(flags={"migStrategy": "mixed"}))
        here.start()
        eventually("MIG resources", lambda: set(here.resources()) ==
                   {"nvidia.com/mig-1g.10gb", "nvidia.com/mig-2g.20gb", "nvidia.com/mig-3g.40gb"})
        here.await_allocatable(2, "nvidia.com/mig-1g.10gb")

    def test_without_a_gpu_wait_when_told_to(self):
        here = self.node("none")
        here.start(fail_on_init_error="false")
        here.await_health("waiting")
        self.assertEqual(here.resources(), {})


class TheNameOfNvidiasPlugin(node.NodeTest):
    """argv[0] nvidia-device-plugin, with NVIDIA's flags and variables."""

    def start(self, here, environment, *flags):
        here.start_kubelet()
        # What the variables are to say must not be said by flags.
        nothing = dict.fromkeys(("config_file", "listen", "root", "nvml_library", "kubelet_socket"))
        here.start_agent(*flags, program=("/usr/bin/nvidia-device-plugin",), executable=KERF,
                         env={"KERF_LISTEN": "127.0.0.1:0", "KERF_NVML_LIBRARY": NVML_LIBRARY,
                              "KERF_ROOT": str(here.root), **environment}, **nothing)

    def test_serves_with_nvidias_variables(self):
        here = self.node()
        self.start(here, {"CONFIG_FILE": str(here.config_file), "FAIL_ON_INIT_ERROR": "false",
                          "KUBELET_SOCKET": str(here.kubelet_socket), "MIG_STRATEGY": "single",
                          "PASS_DEVICE_SPECS": "true", "DEVICE_LIST_STRATEGY": "envvar",
                          "DEVICE_ID_STRATEGY": "index", "NVIDIA_DRIVER_ROOT": "/",
                          "NVIDIA_MIG_MONITOR_DEVICES": "all", "NVIDIA_VISIBLE_DEVICES": "void"})
        here.await_allocatable(8)
        pod = here.pod("one")
        self.assertEqual(pod["envs"], {"NVIDIA_VISIBLE_DEVICES": "0"})
        self.assertTrue(pod["devices"])

    def test_serves_with_nvidias_flags(self):
        here = self.node()
        self.start(here, {}, f"--config-file={here.config_file}", "--mig-strategy=none",
                   "--fail-on-init-error=false", "--nvidia-driver-root=/", "--pass-device-specs",
                   f"--kubelet-socket={here.kubelet_socket}", "--device-list-strategy=envvar",
                   "--device-id-strategy=uuid", "--device-discovery-strategy=auto",
                   "--container-driver-root=/driver-root")
        here.await_allocatable(8)

    def test_lets_flags_win_over_variables_and_those_over_the_file(self):
        here = self.node()
        here.write_config(config(4, plugin={"deviceIDStrategy": "uuid"}))
        self.start(here, {"CONFIG_FILE": "/nowhere/else.yaml", "DEVICE_ID_STRATEGY": "index",
                          "KUBELET_SOCKET": str(here.kubelet_socket)},
                   f"--config-file={here.config_file}")
        here.await_allocatable(8)
        self.assertRegex(here.pod("one")["envs"]["NVIDIA_VISIBLE_DEVICES"], r"^[01]$")

    def test_finds_the_library_below_the_driver_root(self):
        here = self.node()
        library = here.directory / "driver" / "usr" / "lib64"
        library.mkdir(parents=True)
        os.symlink(NVML_LIBRARY, library / "libnvidia-ml.so.1")
        self.start(here, {"KERF_NVML_LIBRARY": "", "CONFIG_FILE": str(here.config_file),
                          "KUBELET_SOCKET": str(here.kubelet_socket),
                          "DRIVER_ROOT_CTR_PATH": str(here.directory / "driver")})
        here.await_allocatable(8)


class TheMachinesShipped(unittest.TestCase):
    def test_are_all_known_to_these_tests(self):
        self.assertEqual({path.stem for path in MACHINES.glob("*.yaml")},
                         {"a100-80x1-mig", "a100-80x8", "dgx-spark-gb10", "dual-baseboard-16",
                          "h200x8-hgx", "mixed", "none", "rtx3090x1", "rtx3090x2", "t4"})


if __name__ == "__main__":
    node.main()
