"""Nodes with everything running on them, each its own process, and a real Prometheus that scrapes
them as the monitors of deploy/kustomize/components/prometheus-operator would: same job names, same
relabelings, same labels of a target, which it is given instead of finding them in a cluster."""

import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

import pictures

sys.path.insert(0, str(pictures.REPOSITORY / "tests/lifecycle"))

import node as lifecycle  # noqa: E402
from node import PATIENCE, Process, eventually  # noqa: E402
from test_usage import UsageTest  # noqa: E402

COUNTERS = "/etc/dcgm-exporter/kerf-counters.csv"


def relabeling(given):
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names[key]: value for key, value in given.items()}


def free_port():
    """Prometheus chooses none by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """`targets`: [(job, node name, address)]."""

    def __init__(self, directory, targets):
        self.log = directory / "prometheus.log"
        known = pictures.monitors()
        jobs = []
        for job in dict.fromkeys(job for job, _, _ in targets):
            endpoint = known.get(job, known["nvidia-device-plugin-metrics"])
            jobs.append({
                "job_name": job, "honor_labels": endpoint.get("honorLabels", False),
                "relabel_configs": [relabeling(r) for r in endpoint["relabelings"]],
                "static_configs": [
                    {"targets": [address],
                     "labels": {"namespace": "gpu-device-plugin", "pod": f"{job.split('/')[-1]}-{name}",
                                "container": job.split("/")[-1], "__meta_kubernetes_pod_node_name": name}}
                    for each, name, address in targets if each == job]})
        settings = directory / "prometheus.yml"
        settings.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(pictures.RULES)],
            "scrape_configs": jobs}))
        self.address = f"127.0.0.1:{free_port()}"
        self.process = Process(["prometheus", f"--config.file={settings}",
                                f"--storage.tsdb.path={directory / 'tsdb'}",
                                f"--web.listen-address={self.address}"], self.log)

    def api(self, path, **parameters):
        """The field `data` of the answer. Raises ValueError with its words where it is an error."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode()}") from None

    def ask(self, expression):
        """[(labels, value)] of an instant query."""
        return [(one["metric"], float(one["value"][1]))
                for one in self.api("query", query=expression)["result"]]

    def await_some(self, expression, seconds=PATIENCE):
        try:
            return eventually(expression, lambda: self.answer(expression), seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.log.read_text()}") from None

    def answer(self, expression):
        """As `ask`; nothing while it is not up and ready."""
        try:
            return self.ask(expression)
        except (OSError, ValueError):
            return []


class WatchTest(UsageTest):
    """Tests that make watched nodes."""

    def watched(self, name, machine, config):
        """A node with the agent of each component of deploy/, and with pods that hold devices."""
        node = self.node(machine)
        node.name = name
        node.environment["NODE_NAME"] = name
        node.write_config(config)
        node.pod_resources = node.directory / "pod-resources" / "kubelet.sock"
        node.start_kubelet("--pod-resources", str(node.pod_resources))
        node.pages = {}
        for job, components, more in (
                ("monitoring/nvidia-powerlimit", "power,http", ()),
                ("monitoring/gpu-usage", "usage,http",
                 (f"--pod-resources-socket={node.pod_resources}",)),
                ("exporter-pages", "exporter,http",
                 ("--exporter-address=127.0.0.1:0", "--exporter-collect-interval=500",
                  f"--exporter-collectors={COUNTERS}", "--exporter-kubernetes",
                  "--exporter-kubernetes-virtual-gpus", f"--pod-resources-socket={node.pod_resources}")),
                ("nvidia-device-plugin-metrics", "devices,http", ())):
            node.start_agent(*more, components=components)
            node.pages[job] = (node.agent, node.address())
            if job == "exporter-pages":
                address = node.await_log(r'room=exporter msg="serving metrics" address=(\S+)').group(1)
                node.pages["monitoring/nvidia-dcgm-exporter"] = (node.agent, address)
        return node

    @staticmethod
    def targets(*nodes):
        return [(job, node.name, address) for node in nodes for job, (_, address) in node.pages.items()]

    def prometheus(self, *nodes):
        server = Prometheus(nodes[0].directory, self.targets(*nodes))
        nodes[0].others.append(server.process)
        return server


__all__ = ["PATIENCE", "Prometheus", "WatchTest", "eventually", "lifecycle"]
