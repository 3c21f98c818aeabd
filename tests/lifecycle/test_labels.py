"""Node labels: in the feature file, in a NodeFeature object and on the Node, as the machine, the
configuration and the driver change."""

import json
import os
import signal
import subprocess

import apiserver
import node
from node import KERF, NVML_LIBRARY, PATIENCE, config, eventually

FEATURES = "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/gpus/nodefeatures"
FEATURE = f"{FEATURES}/nvidia-features-for-worker-1"
NODE = "/api/v1/nodes/worker-1"
PREFIX = "nvidia.com/"
WAIT = "--fail-on-init-error=false"


def parse(text):
    """Without the prefix that nearly all have."""
    return {key.removeprefix(PREFIX): value
            for key, value in (line.split("=", 1) for line in text.splitlines())}


class LabelTest(node.NodeTest):
    def setUp(self):
        self.here = None

    def file(self):
        return self.here.directory / "features.d" / "gfd"

    def labels(self):
        try:
            return parse(self.file().read_text())
        except FileNotFoundError:
            return {}

    def start(self, machine="rtx3090x2", *more, replicas=4, text=None, ready=True, **options):
        """An agent that labels by file, and nothing else unless told."""
        self.here = self.node(machine)
        self.file().parent.mkdir()
        self.here.write_config(text or config(replicas))
        self.run_agent(*more, **options)
        if ready:
            self.await_labels(lambda labels: "gpu.count" in labels)

    def run_agent(self, *more, **options):
        options = {"components": "labels,http", "use_node_feature_api": "false",
                   "output_file": self.file(), **options}
        self.here.start_agent(*more, **options)

    def await_labels(self, holds):
        try:
            return eventually("labels", lambda: holds(self.labels()) and self.labels())
        except AssertionError as late:
            raise AssertionError(f"{late}; there are {self.labels()}\n{self.here.log()}") from None

    def assertHas(self, labels, **wanted):
        self.assertEqual({key: labels.get(key) for key in wanted}, wanted)


class TheFeatureFile(LabelTest):
    def test_says_what_two_shared_gpus_are(self):
        self.start()
        labels = self.labels()
        self.assertHas(labels, **{
            "gpu.product": "NVIDIA-GeForce-RTX-3090-SHARED", "gpu.count": "2", "gpu.replicas": "4",
            "gpu.sharing-strategy": "time-slicing", "gpu.memory": "24576", "gpu.family": "ampere",
            "gpu.compute.major": "8", "gpu.compute.minor": "6", "gpu.mode": "graphics",
            "mig.capable": "false", "mps.capable": "false"})
        self.assertNotIn("mig.strategy", labels)
        self.assertEqual(self.file().stat().st_mode & 0o777, 0o644)
        self.assertEqual(os.listdir(self.file().parent), ["gfd"])

    def test_follows_the_configuration_and_is_removed_at_the_end(self):
        self.start()
        self.here.write_config(config(10))
        self.await_labels(lambda labels: labels["gpu.replicas"] == "10")
        self.here.write_config("version: v1\n")
        labels = self.await_labels(lambda labels: labels["gpu.replicas"] == "1")
        self.assertHas(labels, **{"gpu.product": "NVIDIA-GeForce-RTX-3090",
                                  "gpu.sharing-strategy": "none"})
        self.here.agent.signal(signal.SIGHUP)
        self.here.await_log("reloading on SIGHUP")
        self.assertTrue(self.labels())
        self.assertEqual(self.here.stop_agent(), 0)
        self.assertEqual(os.listdir(self.file().parent), [])

    def test_stays_at_the_end_when_it_is_never_looked_at_again(self):
        self.start("rtx3090x2", "--sleep-interval=infinite")
        self.assertEqual(self.here.stop_agent(), 0)
        self.assertTrue(self.labels())

    def test_has_one_time_for_as_long_as_the_configuration(self):
        self.start("rtx3090x2", "--sleep-interval=1s")
        before = self.labels()["gfd.timestamp"]
        self.file().unlink()
        self.await_labels(lambda labels: labels.get("gfd.timestamp") == before)
        self.file().write_text("by=hand\n")
        self.await_labels(lambda labels: labels.get("gfd.timestamp") == before)
        self.here.agent.signal(signal.SIGHUP)
        self.await_labels(lambda labels: int(labels["gfd.timestamp"]) > int(before))

    def test_may_do_without_the_time(self):
        self.start("rtx3090x2", "--no-timestamp")
        self.assertNotIn("gfd.timestamp", self.labels())

    def test_says_where_it_cannot_be_written(self):
        self.start(text=config(4), output_file=None, use_node_feature_api=None, ready=False,
                   env={"GFD_OUTPUT_FILE": "/nowhere/gfd", "USE_NODE_FEATURE_API": "false"})
        problem = self.here.await_problem("labels cannot be set", "/nowhere/gfd")
        self.assertIn("features.d", problem["remedy"])

    def test_moves_when_the_configuration_says_so(self):
        self.here = self.node()
        self.file().parent.mkdir()
        other = self.file().with_name("other")

        def settings(path):
            return config(4, flags={"useNodeFeatureAPI": False, "gfd": {"outputFile": str(path)}})

        self.here.write_config(settings(self.file()))
        self.run_agent(output_file=None, use_node_feature_api=None)
        self.await_labels(lambda labels: "gpu.count" in labels)
        self.here.write_config(settings(other))
        eventually("the file moves", lambda: other.exists() and not self.file().exists())

    def test_is_written_once_its_directory_is_there(self):
        self.here = self.node()
        self.run_agent()
        problem = self.here.await_problem("labels cannot be set", str(self.file()))
        self.assertIn("features.d", problem["remedy"])
        self.file().parent.mkdir()
        self.await_labels(lambda labels: "gpu.count" in labels)
        self.here.await_health("ok")

    def test_is_left_alone_by_trouble_with_gpu_and_driver(self):
        self.start()
        before = self.file().stat()
        self.here.fault("lost", "--gpu", "0")
        self.here.await_problem("unhealthy|lost")
        self.here.sim("clear")
        self.here.await_health("ok")
        self.here.fault("driver-unload", "--code", "9")
        self.here.await_health("failed")
        now = self.file().stat()
        self.assertEqual((now.st_ino, now.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        self.here.sim("clear")
        self.here.await_health("ok")
        now = self.file().stat()
        self.assertEqual((now.st_ino, now.st_mtime_ns), (before.st_ino, before.st_mtime_ns))

    def test_has_no_gpu_before_there_is_one(self):
        self.start("none", WAIT, ready=False)
        labels = self.await_labels(lambda labels: "gfd.timestamp" in labels)
        self.assertEqual({key: labels[key] for key in labels if key != "gfd.timestamp"},
                         {"vgpu.present": "false"})

    def test_knows_a_virtual_gpu_and_the_machine(self):
        self.here = self.node("t4")
        self.file().parent.mkdir()
        (device,) = [d for d in (self.here.root / "sys/bus/pci/devices").iterdir()
                     if (d / "vendor").read_text().strip() == "0x10de"]
        space = bytearray(256)
        space[0x06], space[0x34] = 0x10, 0x40
        record = bytes([0, 22]) + b"460.16".ljust(10, b"\0") + b"r460_00".ljust(10, b"\0")
        space[0x40:0x40 + 27] = bytes([0x09, 0, 27]) + b"VF" + record
        (device / "config").write_bytes(bytes(space))
        dmi = self.here.root / "sys/class/dmi/id"
        dmi.mkdir(parents=True)
        (dmi / "product_name").write_text("Standard PC (Q35 + ICH9, 2009)\n")
        self.run_agent("--pci-labels")
        labels = self.await_labels(lambda labels: "gpu.count" in labels)
        self.assertHas(labels, **{
            "vgpu.present": "true", "vgpu.host-driver-version": "460.16",
            "vgpu.host-driver-branch": "r460_00", "gpu.machine": "Standard-PC-Q35-ICH9-2009",
            "gpu.mode": "compute", "gpu.family": "turing",
            "feature.node.kubernetes.io/pci-10de.present": "true",
            "feature.node.kubernetes.io/pci-0302_10de.present": "true"})

    def test_leaves_out_memory_that_is_the_systems(self):
        self.start("dgx-spark-gb10")
        self.assertHas(self.labels(), **{"gpu.family": "blackwell", "gpu.count": "1"})
        self.assertNotIn("gpu.memory", self.labels())

    def test_describes_one_of_two_models(self):
        self.start("mixed", replicas=2)
        self.assertHas(self.labels(), **{"gpu.product": "NVIDIA-GeForce-RTX-3090-SHARED",
                                         "gpu.count": "1", "gpu.mode": "unknown"})
        self.here.await_log("several models")


class MigLabels(LabelTest):
    def test_of_the_mixed_strategy_follow_the_layout(self):
        self.start("a100-80x1-mig", "--mig-strategy=mixed", text="version: v1\n")
        labels = self.labels()
        self.assertHas(labels, **{
            "mig.strategy": "mixed", "gpu.replicas": "0", "mig-1g.10gb.count": "2",
            "mig-1g.10gb.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "mig-2g.20gb.count": "1",
            "mig-3g.40gb.memory": "40192", "mig-3g.40gb.multiprocessors": "42",
            "mig-3g.40gb.slices.gi": "3", "mig-3g.40gb.engines.copy": "3"})
        self.here.sim("mig", "destroy", "--gpu", "0", "--gpu-instance", "1")  # 3g.40gb
        self.here.agent.signal(signal.SIGHUP)  # sooner than the next look at the driver
        labels = self.await_labels(lambda labels: "mig-3g.40gb.count" not in labels)
        self.assertHas(labels, **{"mig-1g.10gb.count": "2"})

    def test_of_the_single_strategy_say_when_the_layout_does_not_fit(self):
        self.start("a100-80x1-mig", "--mig-strategy=single", text="version: v1\n")
        self.assertHas(self.labels(), **{
            "mig.strategy": "single", "gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-INVALID",
            "gpu.count": "0", "gpu.replicas": "0", "gpu.sharing-strategy": "", "gpu.memory": "0"})


class FeatureDiscovery(LabelTest):
    """Called as NVIDIA's program."""

    def run_once(self, *more, machine="rtx3090x2", env=None):
        here = self.node(machine)
        library = [f"--root={here.root}", f"--nvml-library={NVML_LIBRARY}"]
        return subprocess.run(["gpu-feature-discovery", *library, *more], executable=KERF,
                              env={**here.environment, **(env or {})}, capture_output=True,
                              text=True, timeout=PATIENCE, check=False)

    def test_prints_once_and_ends(self):
        done = self.run_once("--oneshot", "-o", "", "--use-node-feature-api=false")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertHas(parse(done.stdout), **{"gpu.count": "2", "gpu.replicas": "1"})

    def test_takes_its_own_variables_first(self):
        env = {"GFD_ONESHOT": "true", "GFD_OUTPUT_FILE": "", "GFD_USE_NODE_FEATURE_API": "false",
               "USE_NODE_FEATURE_API": "true", "GFD_MIG_STRATEGY": "single", "MIG_STRATEGY": "mixed",
               "GFD_NO_TIMESTAMP": "true", "GFD_SLEEP_INTERVAL": "5m"}
        done = self.run_once(machine="a100-80x1-mig", env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        labels = parse(done.stdout)
        self.assertHas(labels, **{"mig.strategy": "single"})
        self.assertNotIn("gfd.timestamp", labels)

    def test_ends_with_an_error_where_the_file_cannot_be_written(self):
        done = self.run_once("--oneshot", "--output=/nowhere/gfd", "--use-node-feature-api=false")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/gfd", done.stderr)

    def test_needs_the_nodes_name_for_a_node_feature(self):
        done = self.run_once()
        self.assertEqual(done.returncode, 1)
        self.assertIn("required flag node-name not set", done.stderr)
        self.assertIn("NODE_NAME", done.stderr)

    def test_fails_on_an_init_error_only_when_told_to(self):
        to_stdout = ("--oneshot", "--output=", "--use-node-feature-api=false")
        for machine, fail, strategy, wanted in (
                ("none", "true", "none", 1), ("none", "true", "bogus", 1),
                ("none", "false", "none", 0), ("rtx3090x2", "true", "none", 0),
                ("rtx3090x2", "false", "none", 0), ("rtx3090x2", "true", "bogus", 1),
                ("rtx3090x2", "false", "bogus", 1)):
            with self.subTest(machine=machine, fail=fail, strategy=strategy):
                done = self.run_once(*to_stdout, f"--fail-on-init-error={fail}",
                                     f"--mig-strategy={strategy}", machine=machine)
                self.assertEqual(done.returncode, wanted, done.stderr)
                if strategy == "bogus":
                    self.assertIn("unknown MIG strategy: bogus", done.stderr)

    def test_shows_its_flags(self):
        done = self.run_once("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--use-node-feature-api", "GFD_USE_NODE_FEATURE_API", "-o"):
            self.assertIn(word, done.stdout)

    def test_labels_are_shown_without_setting_them(self):
        here = self.node()
        here.write_config(config(4))
        shown = here.kerf("labels", "--json", f"--root={here.root}",
                          f"--nvml-library={NVML_LIBRARY}", f"--config-file={here.config_file}")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(json.loads(shown.stdout)["nvidia.com/gpu.replicas"], "4")


class InTheCluster(LabelTest):
    def start_with_server(self, *more, served=True, **options):
        self.here = self.node()
        self.here.write_config(config(4))
        self.server = apiserver.ApiServer(self.here.directory)
        self.addCleanup(self.server.close)
        self.server.objects[NODE] = {"kind": "Node", "metadata": {
            "name": "worker-1", "labels": {"mine": "x"}}}
        if served:
            self.server.collections.add(FEATURES)
        self.here.start_agent(*more, components="labels,http", node_name="worker-1",
                              kubeconfig=self.server.kubeconfig, **options)

    def await_object(self, path, holds):
        try:
            return eventually(path, lambda: holds(self.server.objects.get(path, {})))
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.server.objects}\n{self.here.log()}") from None

    def test_a_node_feature_is_made_kept_and_left(self):
        self.start_with_server("--sleep-interval=1s", "--no-timestamp")
        self.await_object(FEATURE, lambda o: o.get("spec"))
        made = self.server.objects[FEATURE]
        self.assertEqual(made["metadata"]["labels"], {"nfd.node.kubernetes.io/node-name": "worker-1"})
        self.assertEqual(made["spec"]["labels"]["nvidia.com/gpu.replicas"], "4")
        self.here.write_config(config(10))
        self.await_object(FEATURE, lambda o: o["spec"]["labels"]["nvidia.com/gpu.replicas"] == "10")
        # Looked at again and again, written only when somebody else changed it.
        seen = self.server.count("GET")
        eventually("it is looked at", lambda: self.server.count("GET") > seen)
        self.assertEqual(self.server.count("PUT"), 1)
        with self.server.lock:
            del self.server.objects[FEATURE]["spec"]["labels"]["nvidia.com/gpu.count"]
        self.await_object(FEATURE, lambda o: "nvidia.com/gpu.count" in o["spec"]["labels"])
        self.assertEqual(self.here.stop_agent(), 0)
        self.assertIn(FEATURE, self.server.objects)

    def test_without_node_features_there_is_one_problem_with_a_remedy(self):
        self.start_with_server(served=False)
        problem = self.here.await_problem("labels cannot be set", "NodeFeatures")
        self.assertRegex(problem["remedy"], "node-feature-discovery.*nodeLabels")
        self.assertEqual(len(self.here.problems()), 1)
        self.assertEqual(self.here.health()[0], 200)

    def test_a_node_is_labelled_itself_where_asked_to(self):
        self.start_with_server("--node-labels", "--pci-labels")
        self.await_object(NODE, lambda o: len(o["metadata"]["labels"]) > 1)
        labels = self.server.objects[NODE]["metadata"]["labels"]
        self.assertEqual(labels["mine"], "x")
        self.assertEqual(labels["nvidia.com/gpu.count"], "2")
        self.assertEqual(labels["feature.node.kubernetes.io/pci-0300_10de.present"], "true")
        self.assertEqual(self.here.stop_agent(), 0)
        self.assertEqual(self.server.count("POST") + self.server.count("PUT"), 0)

    def test_once_is_enough_where_asked_to(self):
        self.start_with_server("--oneshot")
        self.assertEqual(self.here.agent.wait(), 0, self.here.log())
        self.assertIn(FEATURE, self.server.objects)


if __name__ == "__main__":
    node.main()
