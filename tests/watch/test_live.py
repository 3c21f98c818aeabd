"""Every query of the dashboards and every alert, asked of a real Prometheus that scrapes really running
agents: on nodes where all is well, and then on the same nodes in trouble. A query that never finds
anything, a metric that is not emitted, a label or value that no series has: each fails here."""

import re
import shutil
import time
import unittest

import pictures
from watched import PATIENCE, WatchTest, eventually, lifecycle

# What shows only what went wrong is empty where all is well; in trouble it is not.
EMPTY_WHEN_WELL = {
    ("kerf-node.json", "Out of service", "A"),
    ("kerf-node.json", "XIDs", "A"),
    ("kerf-gpu.json", "Reasons for lower clocks", "A"),
    ("kerf-power.json", "Limit", "B"),
    ("kerf-power.json", "Failures", "A"),
}
# Alerts that these nodes cannot raise here, and why; what they ask for is looked at all the same.
NOT_RAISED = {
    "KerfAgentAbsent": "there are agents",
    "KerfRestarting": "an agent that is started again listens elsewhere here",
    "KerfDriverHung": "takes a minute",
    "KerfPcieReplays": "the simulated machine's PCIe has no faults",
    "KerfUsageStale": "the component goes on whatever the driver does",
    "KerfExporterIdle": "the component goes on whatever the driver does",
    "KerfGpuGone": "the driver lists these GPUs whatever happens to them",
}
# Alerts whose state is part of these nodes from the start: pods hold GPUs and do nothing.
FROM_THE_START = {"KerfGpuHeldIdle"}
# Values that expressions name and no series of this test has.
UNSEEN = {
    ("DCGM_EXP_CLOCK_EVENTS_COUNT", "clock_event", "hw_power_brake"),
    ("DCGM_EXP_CLOCK_EVENTS_COUNT", "clock_event", "hw_slowdown"),
}
CONFIG = lifecycle.config(4, timeSlicing={"failRequestsGreaterThanOne": True})
POWER = 'power: {"limit": 500, "reapply": "2s", "budget": {"total": "%s", "interval": "2s"}, "gpus": [%s]}\n'
USAGE = "usage:\n  interval: 1s\n  memoryWatchdog: {action: none, window: 2s}\n"


class Asked:
    """What expressions name, against all series that Prometheus has seen in this test."""

    def __init__(self, server):
        self.server, self.since, self.found = server, time.time() - 600, {}

    def series(self, metric):
        if metric not in self.found:
            self.found[metric] = self.server.api("series", **{
                "match[]": metric, "start": self.since, "end": time.time() + 60})
        return self.found[metric]

    def lacks(self, expression):
        """Sentences about what is emitted by nothing."""
        out, labels = [], set()
        for metric, matchers in pictures.selectors(expression):
            series = self.series(metric)
            labels |= {label for one in series for label in one}
            if not series:
                out.append(f"{metric} is emitted by nothing")
            for label, operator, value in matchers:
                values = {one[label] for one in series if label in one}
                if not values:
                    out.append(f"{metric} has no label {label}")
                out += [f"{metric} has no {label} {each}" for each in pictures.alternatives(operator, value)
                        if each not in values and (metric, label, each) not in UNSEEN]
        made = set(re.findall(r'label_replace\(.*?, "(\w+)"', expression))
        return out + [f"nothing has the label {label}"
                      for label in pictures.grouped(expression) - labels - made]


@unittest.skipIf(shutil.which("prometheus") is None, "prometheus is not installed")
class Live(WatchTest):
    maxDiff = None

    def nodes(self):
        many = self.watched("node-1", "h200x8-hgx", CONFIG + POWER % ("4000W", "") + USAGE)
        mig = self.watched("node-2", "a100-80x1-mig", CONFIG + USAGE)
        few = self.watched("node-3", "mixed",
                           CONFIG + 'power: {"limit": "90%", "reapply": "2s"}\n' + USAGE)
        many.await_allocatable(32)
        for number in range(1, 11):
            many.pod(f"train-{number}")
        for number in (1, 2, 3, 4):
            self.process(many, 1000 + number, number, 2000 * number, 10 * number, gpu=number - 1)
        return many, mig, few

    def results(self, server):
        """{(file, panel, reference): (labels that are shown, its results)}"""
        return {(name, panel, reference): (pictures.shown(board, panel, reference), server.ask(expression))
                for name, board in pictures.boards().items()
                for panel, reference, expression in pictures.queries(board)}

    def raised(self, server):
        return {name for name, rule in pictures.alerts().items() if server.ask(rule["expr"])}

    def test_every_query_and_alert_in_a_real_prometheus(self):
        many, mig, few = self.nodes()
        server = self.prometheus(many, mig, few)
        for job, address in [(j, a) for n in (many, mig, few) for j, (_, a) in n.pages.items()]:
            server.await_some(f'up{{job="{job}", instance="{address}"}} == 1')
        self.all_is_well(server)
        self.make_trouble(server, many, mig, few)
        self.trouble_shows(server)
        self.everything_asked_for_exists(server)
        self.rules_are_evaluated(server)

    def all_is_well(self, server):
        def empty():
            return {key for key, (_, found) in self.results(server).items() if not found}
        # Rates need two scrapes, energy and activity a look or two.
        try:
            eventually("the panels fill", lambda: empty() <= EMPTY_WHEN_WELL)
        except AssertionError:
            pass  # What differs is said next.
        self.assertEqual(empty(), EMPTY_WHEN_WELL)
        self.labels_shown_exist(self.results(server))
        # A scrape that a busy machine was too slow for is over with the next one.
        eventually("no alert", lambda: self.raised(server) == FROM_THE_START)

    def make_trouble(self, server, many, mig, few):
        self.shared_memory_is_short(many)
        for number in range(3):  # More than one slice is refused.
            many.pod(f"greedy-{number}", 2)
        many.fault("xid", "79", "--gpu", "7")
        many.fault("remap", "--gpu", "6")
        many.fault("remap", "--failed", "--gpu", "5")
        many.fault("ecc", "--gpu", "4", "--count", "2")
        many.fault("ecc", "--corrected", "--gpu", "4", "--count", "500")
        many.fault("temperature", "95", "--gpu", "3")
        many.fault("throttle", "0x40", "--gpu", "2")
        many.fault("enforced-limit", "150", "--gpu", "2")
        many.fault("setter", "3", "--gpu", "1")
        many.fault("limit-drift", "700", "--gpu", "1")
        uuid = many.status()["gpus"][5]["uuid"]
        many.write_config(CONFIG + POWER % ("1500W", '{"uuid": "%s", "limit": 50}' % uuid) + USAGE)
        self.limit_is_set_by_two(server, few)
        few.write_config(CONFIG + "power: [")
        few.pages["monitoring/gpu-usage"][0].end()
        few.fault("hang", "--call", "nvmlDeviceGetPowerUsage", "--gpu", "1")
        mig.tell_kubelet("stop")
        mig.fault("driver-unload")

    def shared_memory_is_short(self, node):
        """Two pods share the first GPU, and one takes nearly all of its memory."""
        (gpu,) = [gpu for gpu in node.status()["gpus"] if gpu["index"] == 0]
        self.assertGreater(sum(1 for s in gpu["slices"] if s.get("use")), 1)
        self.process(node, 1001, 1, 140000, 10, gpu=0)

    def limit_is_set_by_two(self, server, node):
        drifts = f'kerf_power_drifts_total{{node="{node.name}", gpu="0"}}'
        for times in range(1, 5):
            node.fault("limit-drift", str(200 + times), "--gpu", "0")
            server.await_some(f"{drifts} >= {times}")

    def trouble_shows(self, server):
        """Each alert that can be raised is, and its words use labels that it has."""
        wanted = set(pictures.alerts()) - set(NOT_RAISED)
        labels = {}

        def all_raised():
            for name, rule in pictures.alerts().items():
                found = server.ask(rule["expr"])
                if found:
                    labels[name] = set.intersection(*(set(each) for each, _ in found))
            return set(labels) >= wanted
        try:
            eventually("alerts", all_raised, 2 * PATIENCE)
        except AssertionError:
            pass  # What differs is said next.
        self.assertEqual(set(labels), wanted, f"raised, wanted; not raised: {NOT_RAISED}")
        for name, has in labels.items():
            words = " ".join(pictures.alerts()[name]["annotations"].values())
            self.assertLessEqual(set(re.findall(r"\$labels\.(\w+)", words)), has, name)
        for key in EMPTY_WHEN_WELL:
            server.await_some({(name, panel, reference): expression
                               for name, board in pictures.boards().items()
                               for panel, reference, expression in pictures.queries(board)}[key])
        self.labels_shown_exist(self.results(server))

    def everything_asked_for_exists(self, server):
        """Metrics, labels and values, also of expressions that found nothing."""
        expressions = [rule["expr"] for rule in pictures.alerts().values()]
        expressions += [e for board in pictures.boards().values() for _, _, e in pictures.queries(board)]
        asked = Asked(server)
        for expression in expressions:
            self.assertEqual(asked.lacks(expression), [], expression)
        # It would have noticed.
        for wrong in ("kerf_gpu_heathy", 'kerf_gpu_healthy{host=~".*"}', 'kerf_gpu_healthy{host!=""}',
                      'kerf_power_state{state="hold"}', 'sum(rate(kerf_pod_gpu_energy_joules{pod="a"}[5m]))',
                      'kerf_devices{health=~"healthy|sick"}', "sum by (nodes) (kerf_build_info)"):
            self.assertNotEqual(asked.lacks(wrong), [], wrong)

    def labels_shown_exist(self, results):
        """Those in legends and in the columns of tables."""
        for (name, panel, reference), (shown, found) in results.items():
            has = {label for labels, _ in found for label in labels}
            for label in shown:
                self.assertTrue(not found or label in has, f"{name}: {panel} {reference}: {label}")
        for name, board in pictures.boards().items():
            for title, columns in pictures.all_columns(board).items():
                has = {label for (where, panel, _), (_, found) in results.items()
                       if (where, panel) == (name, title) for labels, _ in found for label in labels}
                self.assertLessEqual(columns, has, f"{name}: {title}")

    def rules_are_evaluated(self, server):
        rules = [rule for group in server.api("rules")["groups"] for rule in group["rules"]]
        self.assertEqual({rule["name"] for rule in rules}, set(pictures.alerts()))
        for rule in rules:
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])


if __name__ == "__main__":
    lifecycle.main()
