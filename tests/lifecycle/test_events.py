"""What the cluster is told about this node's GPUs, and the configuration that the node's label
chooses, against an API server of the test."""

import apiserver
import node
from node import config, eventually

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


if __name__ == "__main__":
    node.main()
