"""What the kubelet asks kerf's own page: whether to send traffic, and whether to restart."""

import unittest

import yaml

import trees

# Every container that serves the page by that port, whichever component brings it.
PORT = "http-metrics"


def workloads():
    for file in sorted((trees.REPOSITORY / "deploy" / "kustomize").rglob("*.yaml")):
        for thing in yaml.safe_load_all(file.read_text()):
            spec = ((thing or {}).get("spec") or {}).get("template", {}).get("spec", {})
            for container in spec.get("containers", []):
                yield f"{file.parent.name}/{container['name']}", container


class Probes(unittest.TestCase):
    def test_no_gpu_is_a_reason_to_restart_what_watches_it(self):
        asked = 0
        for name, container in workloads():
            get = container.get("livenessProbe", {}).get("httpGet", {})
            if get.get("port") != PORT:
                continue
            asked += 1
            with self.subTest(container=name):
                self.assertEqual(get["path"], "/health")
                self.assertEqual(get.get("httpHeaders"),
                                 [{"name": "Kerf-Probe", "value": "liveness"}])
                ready = container["readinessProbe"]["httpGet"]
                self.assertEqual(ready, {"path": "/health", "port": PORT})
        self.assertGreaterEqual(asked, 1)


if __name__ == "__main__":
    unittest.main()
