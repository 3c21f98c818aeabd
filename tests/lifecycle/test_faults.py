"""GPUs that fail, fall off the bus, hang and come back: what the kubelet, the page and /health say."""

import http.client
import json
import signal

import node
from node import eventually

# Every call that reading one GPU takes.
READING = ("DeviceGetUUID", "DeviceGetName", "DeviceGetMinorNumber", "DeviceGetPciInfo_v3",
           "DeviceGetMemoryInfo*", "DeviceGetMigMode", "DeviceGetArchitecture",
           "DeviceGetCudaComputeCapability")
# Calls that concern the driver as a whole.
WHOLE = ("DeviceGetCount_v2", "DeviceGetHandleByIndex_v2")


def unhealthy(here):
    """Indices of the GPUs with an unhealthy replica, and of those with a healthy one."""
    index = {gpu["uuid"]: gpu["index"] for gpu in here.status()["gpus"]}
    sick, well = set(), set()
    for device in here.resource()["devices"]:
        (well if device["healthy"] else sick).add(index[device["id"].split("::")[0]])
    return sick, well


class AFailingGpu(node.NodeTest):
    def setUp(self):
        self.here = self.node()
        self.here.start(devices=8)
        self.here.await_watched()

    def only_gpu_0_is_sick(self, *said):
        self.here.await_allocatable(4)
        self.assertEqual(unhealthy(self.here), ({0}, {1}))
        for health in ("healthy", "unhealthy"):
            self.assertEqual(self.here.metric("kerf_devices", resource=node.GPU, health=health), 4)
        uuid = self.here.status()["gpus"][0]["uuid"]
        problem = self.here.await_problem(uuid, *said)
        self.assertEqual(problem["severity"], "degraded")
        self.assertEqual(self.here.health()[0], 200)
        self.assertIn(uuid, self.here.get("/")[1])
        health = self.here.status()["gpus"][0]["health"]
        self.assertFalse(health["ok"])
        self.assertTrue(health["reason"] and health["detail"] and health["since_ms"])
        shown = self.here.kerf("status", "--address", self.here.address())
        self.assertEqual(shown.returncode, 1)
        self.assertIn("××××", shown.stdout)
        self.here.await_log(rf"level=warn .*{uuid}")
        # New pods go to the other one.
        pod = self.here.pod("new")
        self.assertEqual(pod["phase"], "Running")
        self.assertNotIn(uuid, pod["envs"]["NVIDIA_VISIBLE_DEVICES"])
        self.here.tell_kubelet("pod delete new")

    def all_is_well(self):
        self.here.await_allocatable(8)
        self.here.await_health("ok")

    def test_that_fell_off_the_bus_is_named_with_its_xid(self):
        self.here.fault("xid", "79", "--gpu", "0")
        self.only_gpu_0_is_sick("(?i:xid 79)")
        self.here.fault("back", "--gpu", "0")
        self.here.sim("clear")
        self.here.agent.signal(signal.SIGHUP)
        self.all_is_well()

    def test_with_a_critical_xid_stays_unhealthy(self):
        self.here.fault("xid", "48", "--gpu", "0", "--event-only")
        self.only_gpu_0_is_sick("(?i:xid 48)")
        self.here.agent.signal(signal.SIGHUP)
        self.here.await_log("reloaded")
        self.assertEqual(self.here.resource()["allocatable"], 4)

    def test_whose_program_failed_is_still_healthy(self):
        """XID 31 and its like are the program's fault, not the GPU's."""
        for xid in ("13", "31", "43", "45", "68", "109"):
            self.here.fault("xid", xid, "--gpu", "0", "--event-only")
        self.here.fault("xid", "48", "--gpu", "1", "--event-only")  # comes after them
        self.here.await_allocatable(4)
        self.assertEqual(unhealthy(self.here), ({1}, {0}))

    def test_that_is_lost_without_a_word_is_noticed(self):
        self.here.fault("lost", "--gpu", "0")
        self.here.agent.signal(signal.SIGHUP)
        self.only_gpu_0_is_sick("fallen off the bus")
        self.here.fault("back", "--gpu", "0")
        self.here.sim("clear")
        self.here.agent.signal(signal.SIGHUP)
        self.all_is_well()

    def test_that_vanished_from_the_list_is_noticed_and_known_when_back(self):
        self.here.fault("lost", "--gpu", "0", "--vanish")
        self.here.await_allocatable(4)
        self.here.fault("back", "--gpu", "0")
        self.here.sim("clear")
        self.all_is_well()

    def test_whose_partner_fails_too_makes_the_node_fail(self):
        self.here.fault("xid", "79", "--gpu", "0")
        self.here.fault("xid", "79", "--gpu", "1")
        self.here.await_allocatable(0)
        self.here.await_health("failed")
        self.assertEqual(self.here.health()[0], 503)
        self.assertEqual(self.here.resource()["capacity"], 8)

    def test_is_told_to_who_follows_the_events(self):
        host, port = self.here.address().rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=node.PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/api/events")
        answer = connection.getresponse()
        self.assertEqual(answer.getheader("Content-Type").split(";")[0], "text/event-stream")
        self.here.fault("xid", "79", "--gpu", "0")
        while True:
            line = answer.readline().decode()
            if line.startswith("data: "):
                gpu = json.loads(line[6:])["gpus"][0]
                if not gpu["health"]["ok"]:
                    break
        self.assertIn("unhealthy", [each["state"] for each in gpu["slices"]])

    def test_keeps_running_pods_on_record(self):
        pod = self.here.pod("runs", 1)
        self.here.fault("xid", "79", "--gpu", "0")
        self.here.fault("xid", "79", "--gpu", "1")
        self.here.await_allocatable(0)
        self.assertEqual(self.here.tell_kubelet("pods")[0]["ids"], pod["ids"])


class HealthChecksSwitchedOff(node.NodeTest):
    def test_ignore_the_xids_that_are_named(self):
        here = self.node()
        here.start(devices=8, env={"DP_DISABLE_HEALTHCHECKS": "48"})
        here.await_watched()
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.fault("xid", "94", "--gpu", "1", "--event-only")
        here.await_allocatable(4)
        self.assertEqual(unhealthy(here), ({1}, {0}))


class AHungDriver(node.NodeTest):
    def test_concerns_one_gpu_when_only_its_calls_hang(self):
        """Each call on a node of its own, all at the same time: the agent gives a call 10 s."""
        nodes = {}
        for call in READING:
            here = self.node()
            here.start(devices=8)
            here.fault("hang", "--call", call, "--gpu", "0")
            here.agent.signal(signal.SIGHUP)
            nodes[call] = here
        for call, here in nodes.items():
            with self.subTest(call=call):
                here.await_allocatable(4)
                self.assertEqual(unhealthy(here), ({0}, {1}))
                here.await_problem("(?i:hang|answer|stuck)", here.status()["gpus"][0]["uuid"])
                self.assertGreater(here.metric("kerf_nvml_stuck_seconds"), 0)
                self.assertEqual(here.pod("new")["phase"], "Running")
                here.sim("clear")
                here.await_allocatable(8)
                here.await_health("ok")
                self.assertEqual(here.stop_agent(), 0)

    def test_concerns_all_gpus_when_nothing_can_be_asked(self):
        nodes = {}
        for call in WHOLE:
            here = self.node()
            here.start(devices=8)
            here.fault("hang", "--call", call)
            here.agent.signal(signal.SIGHUP)
            nodes[call] = here
        for call, here in nodes.items():
            with self.subTest(call=call):
                here.await_allocatable(0)
                here.await_problem("(?i:driver does not answer|hang)")
                self.assertEqual(here.health()[0], 503)
                self.assertEqual(here.resource()["capacity"], 8)
                here.sim("clear")
                here.await_allocatable(8)
                here.await_health("ok")
                self.assertEqual(here.stop_agent(), 0)

    def test_is_no_trouble_for_pages_and_allocations(self):
        here = self.node()
        here.start(devices=8)
        here.fault("hang", "--call", "Device*")
        here.agent.signal(signal.SIGHUP)
        for turn in range(8):
            self.assertEqual(here.pod(f"p{turn}")["phase"], "Running")
            self.assertEqual(here.get("/metrics")[0], 200)
        self.assertEqual(here.stop_agent(), 0)


class AnErringDriver(node.NodeTest):
    def test_that_fails_for_one_gpu_keeps_the_other(self):
        here = self.node()
        here.start(devices=8)
        here.fault("error", "--call", "DeviceGetUUID", "--gpu", "0", "--code", "999")
        here.agent.signal(signal.SIGHUP)
        eventually("sick", lambda: here.resource()["allocatable"] < 8)
        self.assertGreater(here.metric("kerf_nvml_errors_total"), 0)
        here.sim("clear")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(8)
        here.await_health("ok")

    def test_that_cannot_do_less_important_things_is_served_as_it_is(self):
        for call in ("DeviceGetMemoryInfo*", "DeviceGetArchitecture",
                     "SystemGetCudaDriverVersion*", "DeviceGetNvLinkState",
                     "DeviceGetTopologyCommonAncestor", "DeviceGetSupportedEventTypes",
                     "DeviceRegisterEvents", "EventSetCreate"):
            with self.subTest(call=call):
                here = self.node()
                here.fault("error", "--call", call, "--code", "3")
                here.start(devices=8)
                self.assertEqual(here.pod("one")["phase"], "Running")


if __name__ == "__main__":
    node.main()
