"""What scripts and people of NVIDIA's plugin look for: the configuration in the log, and one bad GPU
that costs the node that GPU alone."""

import json
import re

import node
from node import config


class DropIn(node.NodeTest):
    def test_the_configuration_in_force_is_logged_as_nvidias_plugin_prints_it(self):
        here = self.node("rtx3090x2")
        here.write_config(config(4))
        here.start(devices=8)

        def shown():
            found = []
            for text in re.findall(r'msg=("Running with config: .*")$', here.log(), re.M):
                found.append(json.loads(json.loads(text).split(": ", 1)[1]))
            return found

        (first,) = shown()
        self.assertEqual(list(first), ["version", "flags", "resources", "sharing", "imex"])
        (shared,) = first["sharing"]["timeSlicing"]["resources"]
        self.assertEqual(shared, {"name": "nvidia.com/gpu", "devices": "all", "replicas": 4})
        self.assertNotIn("gfd", first["flags"])
        # After a reload as well: what is in force is the last such line.
        here.write_config(config(2))
        here.agent.signal(1)
        node.eventually("the new one is shown", lambda: len(shown()) == 2)
        (shared,) = shown()[-1]["sharing"]["timeSlicing"]["resources"]
        self.assertEqual(shared["replicas"], 2)

    def test_a_gpu_that_hides_one_answer_costs_that_gpu_and_keeps_its_name(self):
        for call in ("nvmlDeviceGetCudaComputeCapability", "nvmlDeviceGetMinorNumber"):
            with self.subTest(call):
                here = self.node("rtx3090x2")
                here.fault("error", "--gpu", "1", "--call", call, "--code", "999")
                here.start(devices=None)
                here.await_allocatable(4)
                good, bad = here.status()["gpus"]
                self.assertTrue(good["health"]["ok"], good)
                self.assertFalse(bad["health"]["ok"], bad)
                self.assertEqual(bad["name"], "NVIDIA GeForce RTX 3090")
                here.stop_agent()

    def test_metrics_of_cdi_are_there(self):
        here = self.node("rtx3090x2")
        program = here.root / "usr/bin/nvidia-ctk"
        program.write_text("")
        here.write_config(config(plugin={"deviceListStrategy": "cdi-cri"}))
        here.start(devices=2, driver_root_ctr_path=here.root)
        self.assertEqual(here.metric("kerf_cdi_devices", **{"class": "gpu"}), 2)
        self.assertEqual(here.metric("kerf_cdi_writes_total"), 1)


if __name__ == "__main__":
    node.main()
