"""Pods are told of the GPUs that they hold: the kubelet says who holds what, the driver what is wrong,
and an API server of the test keeps the Events."""

import apiserver
import node
from node import eventually

EVENTS = "/api/v1/namespaces/default/events"


class PodsAreTold(node.NodeTest):
    def begin(self, serve=True, machine="rtx3090x2", socket=None):
        self.here = self.node(machine, 2)
        self.api = apiserver.ApiServer(self.here.directory)
        self.addCleanup(self.api.close)
        if serve:
            self.api.collections.update({"/api/v1/pods", EVENTS})
        pods = self.here.directory / "pod-resources" / "kubelet.sock"
        self.here.start_kubelet("--pod-resources", str(pods))
        self.here.start(components="devices,http,pod-events", pod_resources_socket=socket or pods,
                        node_name="n1", kubeconfig=self.api.kubeconfig)
        self.here.await_watched()
        return self.here

    def pod(self, name, count=1, known=True):
        """A pod that holds slices, and which GPUs those are of."""
        if known:
            self.known(name)
        return {each.split("::")[0] for each in self.here.pod(name, count)["ids"]}

    def known(self, name):
        self.api.set(f"/api/v1/pods/{name}", {
            "kind": "Pod", "apiVersion": "v1", "spec": {"nodeName": "n1"},
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"}})

    def told(self, name):
        """What `kubectl describe pod` finds: by the pod's name and uid."""
        with self.api.lock:
            return [e for e in self.api.children(EVENTS)
                    if (e["involvedObject"]["kind"], e["involvedObject"]["name"],
                        e["involvedObject"].get("uid")) == ("Pod", name, f"uid-of-{name}")]

    def await_told(self, name, reason):
        def found():
            return next((e for e in self.told(name) if e["reason"] == reason), None)
        try:
            return eventually(f"{name} is told {reason}", found)
        except AssertionError as late:
            raise AssertionError(f"{late}; there are {self.api.children(EVENTS)}\n"
                                 f"{self.here.log()}") from None

    def test_of_a_gpu_that_falls_ill_under_them_and_of_no_other(self):
        here = self.begin()
        here.await_allocatable(4)
        gpus = {name: self.pod(name) for name in ("a", "b", "c")}
        first = gpus["a"]
        others = [name for name in ("b", "c") if gpus[name] != first]
        self.assertTrue(others, gpus)
        sick = next(iter(first))
        here.fault("xid", "79", "--gpu", sick)
        event = self.await_told("a", "GPUUnhealthy")
        self.assertEqual(event["type"], "Warning")
        self.assertIn(sick, event["message"])
        self.assertEqual(event["involvedObject"]["namespace"], "default")
        self.assertRegex(event["involvedObject"]["fieldPath"], r"^spec\.containers\{.+\}$")
        here.fault("back", "--gpu", sick)
        self.await_told("a", "GPURecovered")
        eventually("it is counted", lambda: here.metric("kerf_pod_events_sent_total") >= 2)
        for name in others:
            self.assertEqual(self.told(name), [])
        self.assertEqual(here.problems(), [])

    def test_that_come_to_be_known_while_it_is_ill(self):
        here = self.begin()
        here.await_allocatable(4)
        sick = next(iter(self.pod("late", known=False)))
        here.fault("xid", "94", "--gpu", sick, "--event-only")
        here.await_allocatable(2)
        self.known("late")
        self.assertIn("Xid 94", self.await_told("late", "GPUUnhealthy")["message"])

    def test_of_a_driver_that_fails_as_a_whole(self):
        here = self.begin()
        here.await_allocatable(4)
        for name in ("a", "b", "c", "d"):
            self.pod(name)
        eventually("their uids are known", lambda: self.api.count("GET /api/v1/pods") > 0)
        here.fault("error", "--call", "*", "--code", "999")
        for name in ("a", "b", "c", "d"):
            self.await_told(name, "GPUUnhealthy")
        here.sim("clear")
        for name in ("a", "b", "c", "d"):
            self.await_told(name, "GPURecovered")

    def test_as_far_as_rights_and_mounts_go(self):
        here = self.begin(socket=str(self.node().directory / "missing.sock"))
        here.await_problem("pods cannot be told of their GPUs: the kubelet does not say", "missing.sock")
        here.await_allocatable(4)

    def test_nothing_without_the_right_to_create_events(self):
        here = self.begin()
        here.await_allocatable(4)
        self.api.denied.add(f"POST {EVENTS}")
        sick = next(iter(self.pod("a")))
        here.fault("lost", "--gpu", sick)
        here.await_problem("pods cannot be told of their GPUs", "403")
        here.await_allocatable(2)


if __name__ == "__main__":
    node.main()
