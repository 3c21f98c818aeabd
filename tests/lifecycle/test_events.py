"""What the cluster is told about this node's GPUs, and the configuration that the node's label
chooses, against an API server of the test."""

import os
import signal
import sys

import apiserver
import node
from node import KERF, Process, config, eventually

NODES = "/api/v1/nodes"
NODE = f"{NODES}/worker-1"
EVENTS = "/api/v1/namespaces/default/events"
LABEL = "nvidia.com/device-plugin.config"


class ClusterTest(node.NodeTest):
    def start(self, *more, label=None, serve=True, **options):
        self.here = self.node()
        self.api = apiserver.ApiServer(self.here.directory)
        self.addCleanup(self.api.close)
        if serve:
            self.serve(label)
        self.here.start(*more, node_name="worker-1", kubeconfig=self.api.kubeconfig, **options)

    def serve(self, label=None):
        self.api.collections.update({NODES, EVENTS})
        self.label(label)

    def label(self, value):
        labels = {} if value is None else {LABEL: value}
        old = self.api.objects.get(NODE, {})
        self.api.set(NODE, {**old, "metadata": {"name": "worker-1", "labels": labels}})

    def events(self, reason):
        with self.api.lock:
            return [event for event in self.api.children(EVENTS) if event["reason"] == reason]

    def await_event(self, reason, text):
        def found():
            return next((e for e in self.events(reason) if text in e["message"]), None)
        try:
            return eventually(f"an Event {reason} with {text}", found)
        except AssertionError as late:
            raise AssertionError(f"{late}; there are {self.api.children(EVENTS)}\n"
                                 f"{self.here.log()}") from None

    def condition(self):
        with self.api.lock:
            conditions = self.api.objects[NODE].get("status", {}).get("conditions", [])
            return next((c for c in conditions if c["type"] == "NVIDIAGPUHealthy"), {})

    def await_condition(self, status, reason):
        try:
            return eventually(f"condition {status} {reason}", lambda: (
                self.condition().get("status"), self.condition().get("reason")) == (status, reason)
                and self.condition())
        except AssertionError as late:
            raise AssertionError(f"{late}; it is {self.condition()}\n{self.here.log()}") from None


class TheClusterIsTold(ClusterTest):
    COMPONENTS = "devices,http,events"

    def test_of_a_gpu_that_falls_ill_and_recovers(self):
        self.start(components=self.COMPONENTS, devices=8)
        healthy = self.await_condition("True", "AllGPUsHealthy")
        self.here.fault("lost", "--gpu", "0")
        event = self.await_event("GPUUnhealthy", "GPU-")
        self.assertEqual(event["type"], "Warning")
        self.assertEqual(event["involvedObject"]["name"], "worker-1")
        ill = self.await_condition("False", "GPUUnhealthy")
        self.assertIn("1 of 2 GPUs", ill["message"])
        self.assertTrue(healthy["lastTransitionTime"])
        self.here.sim("clear", "--gpu", "0")
        self.await_event("GPURecovered", "GPU-")
        self.await_condition("True", "AllGPUsHealthy")

    def test_once_of_a_driver_that_fails_as_a_whole(self):
        self.start(components=self.COMPONENTS, devices=8)
        self.await_condition("True", "AllGPUsHealthy")
        self.here.fault("error", "--call", "*", "--code", "999")
        self.here.agent.signal(signal.SIGHUP)
        self.here.await_allocatable(0)
        self.assertEqual(self.await_event("DriverLost", "driver")["type"], "Warning")
        self.await_condition("False", "DriverLost")
        # The devices are away with it, which is no news of each.
        self.assertEqual(self.events("GPURemoved"), [])
        self.here.sim("clear")
        self.await_event("DriverRecovered", "answers again")
        self.await_condition("True", "AllGPUsHealthy")
        self.here.await_allocatable(8)
        self.assertEqual(len(self.events("DriverLost")), 1)

    def test_of_configurations(self):
        self.start(components=self.COMPONENTS, devices=8)
        self.await_condition("True", "AllGPUsHealthy")
        self.here.write_config(config(5))
        self.await_event("ConfigApplied", "config.yaml")
        self.here.write_config("version: v2\n")
        self.await_event("ConfigRefused", "unknown version")
        self.here.await_allocatable(10)

    def test_once_of_a_condition_that_stays_the_same(self):
        self.start(components=self.COMPONENTS, devices=8)
        since = self.await_condition("True", "AllGPUsHealthy")["lastTransitionTime"]
        patches = self.api.count("PATCH")
        self.here.stop_agent()
        self.here.start(node_name="worker-1", kubeconfig=self.api.kubeconfig,
                        components=self.COMPONENTS, devices=8)
        eventually("the Node is read", lambda: self.api.count(f"GET {NODE}") >= 2)
        self.here.fault("lost", "--gpu", "1")
        self.await_condition("False", "GPUUnhealthy")
        self.assertEqual(self.api.count("PATCH"), patches + 1)
        self.assertTrue(since)

    def test_as_far_as_its_rights_go(self):
        self.start(components=self.COMPONENTS, serve=False)
        self.here.await_allocatable(8)
        self.here.await_problem("node condition")
        self.api.denied.add(f"POST {EVENTS}")
        self.serve()
        self.here.fault("lost", "--gpu", "0")
        self.here.await_problem("Events", "403")

    def test_nothing_without_an_api_server(self):
        here = self.node()
        here.start(components=self.COMPONENTS, devices=8)
        problem = here.await_problem("Events and the node condition cannot be sent", "node-name")
        self.assertIn("NODE_NAME", problem["remedy"])
        here.fault("lost", "--gpu", "0")
        here.await_allocatable(4)


class TheNodesLabel(ClusterTest):
    def setUp(self):
        self.configs = None

    def follow(self, label=None, files=("two", "ten"), **options):
        """An agent with named configurations, before the API server knows anything of the node."""
        self.here = self.node()
        self.configs = self.here.directory / "configs"
        self.configs.mkdir()
        for name in files:
            self.put(name)
        self.api = apiserver.ApiServer(self.here.directory)
        self.addCleanup(self.api.close)
        if label is not False:
            self.serve(label)
        self.here.start(config_file=None, config_file_srcdir=self.configs, node_name="worker-1",
                        kubeconfig=self.api.kubeconfig, **options)

    def put(self, name, replicas=None):
        number = replicas or {"two": 2, "ten": 10, "default": 4}[name]
        partial = self.configs / f"..{name}"
        partial.write_text(config(number))
        partial.rename(self.configs / name)

    def test_chooses_and_switches(self):
        self.follow("two")
        self.here.await_allocatable(4)
        self.label("ten")
        self.here.await_allocatable(20)
        self.assertEqual(self.here.problems(), [])

    def test_is_waited_for(self):
        self.follow(False, files=("two", "ten", "default"), fallback_strategies="named")
        self.here.await_problem("the node's label")
        self.assertEqual(self.here.resource()["capacity"], 0)
        self.assertNotIn("chosen", self.here.log())
        self.serve("ten")
        self.here.await_allocatable(20)
        eventually("no problem is left", lambda: not self.here.problems())

    def test_of_an_unknown_name_changes_nothing_and_is_told(self):
        self.follow("two")
        self.here.await_allocatable(4)
        self.label("eleven")
        self.await_event("ConfigRefused", "specified config eleven does not exist")
        problem = self.here.await_problem("eleven")
        self.assertIn("available: ten, two", problem["remedy"])
        self.assertEqual(self.here.resource()["allocatable"], 4)
        self.put("eleven", 3)
        self.here.await_allocatable(6)
        eventually("no problem is left", lambda: not self.here.problems())

    def test_of_an_unknown_name_at_first_counts_as_none(self):
        self.follow("eleven", default_config="two")
        self.here.await_allocatable(4)
        self.here.await_problem("eleven")

    def test_may_be_missing(self):
        self.follow(None, files=("two",), fallback_strategies="named,single")
        self.here.await_allocatable(4)

    def test_leaves_a_file_to_be_edited(self):
        self.follow("two")
        self.here.await_allocatable(4)
        self.put("two", 3)
        self.here.await_allocatable(6)
        self.put("two", -1)
        self.here.await_problem("replicas")
        self.assertEqual(self.here.resource()["allocatable"], 6)

    def test_may_be_switched_as_often_as_one_likes(self):
        self.follow("two")
        self.here.await_allocatable(4)
        for _ in range(250):
            self.label("ten")
            self.label("two")
        self.label("ten")
        self.here.await_allocatable(20)
        chosen = self.here.log().count("msg=chosen")
        self.assertLess(chosen, 100)
        self.assertEqual(self.here.log().count("msg=starting"), 1)


# Writes a line for each SIGHUP.
LISTENER = """
import signal
signal.signal(signal.SIGHUP, lambda *_: print("told", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


class TheConfigManager(ClusterTest):
    def setUp(self):
        self.here = self.node()
        self.configs = self.here.directory / "configs"
        self.configs.mkdir()
        for name in ("a", "b"):
            (self.configs / name).write_text(name)
        self.link = self.here.directory / "chosen.yaml"
        self.api = apiserver.ApiServer(self.here.directory)
        self.addCleanup(self.api.close)

    def begin(self, name, arguments, **options):
        process = Process(arguments, self.here.directory / f"{name}.log", **options)
        self.here.others.append(process)
        return process

    def manage(self, *more, **env):
        environment = {**self.here.environment, "NODE_NAME": "worker-1",
                       "KUBECONFIG": str(self.api.kubeconfig), "CONFIG_FILE_SRCDIR": str(self.configs),
                       "CONFIG_FILE_DST": str(self.link), **env}
        return self.begin("manager", ["config-manager", *more], executable=KERF, env=environment)

    def listen(self):
        # A name of its own: all processes of the machine are looked at.
        self.name = f"listener-{os.getpid()}-{id(self)}"
        listener = self.begin("listener", [self.name, "-c", LISTENER], executable=sys.executable)
        eventually("the listener is ready", lambda: "ready" in listener.text())
        return listener

    def await_link(self, name):
        eventually(f"the link leads to {name}",
                   lambda: self.link.is_symlink() and os.readlink(self.link) == name)

    def test_links_what_the_label_names_and_tells_the_process(self):
        listener = self.listen()
        self.serve("a")
        manager = self.manage(f"--process-to-signal={self.name}")
        self.await_link(str(self.configs / "a"))
        eventually("a signal", lambda: listener.text().count("told") == 1)
        self.label("b")
        self.await_link(str(self.configs / "b"))
        eventually("a signal", lambda: listener.text().count("told") == 2)
        self.await_event("ConfigApplied", "/b is in force")
        (self.configs / "b").write_text("edited")
        eventually("a signal", lambda: listener.text().count("told") == 3)
        self.label("c")
        self.await_event("ConfigRefused", "specified config c does not exist")
        self.assertEqual(os.readlink(self.link), str(self.configs / "b"))
        self.assertTrue(manager.running())
        manager.signal(15)
        self.assertEqual(manager.wait(), 0)

    def test_waits_for_the_label_also_when_it_runs_once(self):
        manager = self.manage("--oneshot", DEFAULT_CONFIG="a", SEND_SIGNAL="false")
        eventually("the API server was asked", lambda: self.api.count(f"GET {NODES}") >= 2)
        self.assertFalse(self.link.exists())
        self.serve("b")
        self.assertEqual(manager.wait(), 0)
        self.await_link(str(self.configs / "b"))

    def test_fails_when_it_runs_once_and_nothing_can_be_chosen(self):
        self.serve()
        manager = self.manage("--oneshot", SEND_SIGNAL="false", FALLBACK_STRATEGIES="named,single")
        self.assertEqual(manager.wait(), 1)
        self.assertIn("all fallbacks failed", manager.text())

    def test_links_nothing_for_the_empty_fallback(self):
        self.serve()
        manager = self.manage("--oneshot", "--send-signal=false", "--fallback-strategies", "empty")
        self.assertEqual(manager.wait(), 0)
        self.await_link("/dev/null")

    def test_names_what_is_missing(self):
        for variable in ("NODE_NAME", "CONFIG_FILE_SRCDIR", "CONFIG_FILE_DST", "NODE_LABEL"):
            manager = self.manage(**{variable: ""})
            self.assertEqual(manager.wait(), 1)
            self.assertIn("must not be empty string", manager.text())


if __name__ == "__main__":
    node.main()
