"""What containers are given, as a kubelet sees it."""

import collections

import node
from node import config


class Allocation(node.NodeTest):
    def start(self, devices=8, replicas=4, machine="rtx3090x2", **options):
        here = self.node(machine)
        here.write_config(config(replicas, **options))
        here.start(devices=devices)
        return here

    def uuid(self, here, gpu):
        return here.status()["gpus"][gpu]["uuid"]

    def test_names_one_uuid_in_the_environment(self):
        here = self.start()
        pod = here.pod("one")
        self.assertEqual(pod["phase"], "Running")
        self.assertEqual(pod["envs"], {"NVIDIA_VISIBLE_DEVICES": pod["ids"][0].split("::")[0]})
        self.assertEqual((pod["mounts"], pod["devices"], pod["annotations"], pod["cdi_devices"]),
                         ([], [], {}, []))

    def test_names_an_index_when_told_to(self):
        here = self.start(plugin={"deviceIDStrategy": "index"})
        self.assertEqual({here.pod(f"p{n}")["envs"]["NVIDIA_VISIBLE_DEVICES"] for n in range(8)},
                         {"0", "1"})

    def test_gives_volume_mounts_and_device_nodes_when_told_to(self):
        here = self.start(plugin={"deviceListStrategy": ["volume-mounts"], "passDeviceSpecs": True})
        pod = here.pod("one")
        uuid = pod["ids"][0].split("::")[0]
        index = next(g["index"] for g in here.status()["gpus"] if g["uuid"] == uuid)
        self.assertEqual(pod["envs"], {"NVIDIA_VISIBLE_DEVICES":
                                       "/var/run/nvidia-container-devices"})
        self.assertEqual(pod["mounts"], [f"/dev/null:/var/run/nvidia-container-devices/{uuid}"])
        self.assertEqual(pod["devices"], [
            f"/dev/{name}:/dev/{name}:rw" for name in
            ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", f"nvidia{index}")])

    def test_gives_both_when_told_to(self):
        here = self.start(plugin={"deviceListStrategy": ["envvar", "volume-mounts"]})
        pod = here.pod("one")
        self.assertTrue(pod["envs"])
        self.assertEqual(len(pod["mounts"]), 1)

    def test_takes_device_nodes_from_the_device_root(self):
        here = self.start(plugin={"passDeviceSpecs": True}, flags={"nvidiaDevRoot": "/run/host"})
        pod = here.pod("one")
        self.assertIn("/run/host/dev/nvidiactl:/dev/nvidiactl:rw", pod["devices"])

    def test_spreads_over_the_gpus(self):
        here = self.start()
        seen = [here.pod(f"p{n}")["envs"]["NVIDIA_VISIBLE_DEVICES"] for n in range(8)]
        for pair in range(0, 8, 2):
            self.assertEqual(len(set(seen[pair:pair + 2])), 2, seen)

    def test_fills_one_gpu_after_the_other_when_packed(self):
        here = self.start(plugin={"sharedDevicesAllocationPolicy": "packed"})
        seen = [here.pod(f"p{n}")["envs"]["NVIDIA_VISIBLE_DEVICES"] for n in range(8)]
        self.assertEqual(len(set(seen[:4])), 1, seen)
        self.assertEqual(len(set(seen[4:])), 1, seen)
        self.assertEqual(len(set(seen)), 2)

    def test_spreads_again_where_pods_have_ended(self):
        here = self.start()
        for n in range(8):
            here.pod(f"p{n}")
        first = self.uuid(here, 0)
        for pod in here.tell_kubelet("pods"):
            if pod["envs"]["NVIDIA_VISIBLE_DEVICES"] == first:
                here.tell_kubelet(f"pod delete {pod['name']}")
        self.assertEqual({here.pod(f"again{n}")["envs"]["NVIDIA_VISIBLE_DEVICES"] for n in range(4)},
                         {first})

    def test_leaves_the_ninth_pod_pending_until_one_ends(self):
        here = self.start()
        for n in range(8):
            self.assertEqual(here.pod(f"p{n}")["phase"], "Running")
        self.assertEqual(here.pod("ninth")["phase"], "Pending")
        here.tell_kubelet("pod delete p3")
        node.eventually("the ninth runs", lambda: [
            p for p in here.tell_kubelet("pods") if p["name"] == "ninth" and p["phase"] == "Running"])

    def test_refuses_two_replicas_with_nvidias_words_when_told_to(self):
        here = self.start(timeSlicing={"failRequestsGreaterThanOne": True})
        pod = here.pod("greedy", 2)
        self.assertEqual(pod["phase"], "Failed")
        self.assertIn('invalid allocation request for "nvidia.com/gpu": invalid request: maximum '
                      "request size for shared resources is 1; found 2", pod["reason"])
        self.assertIn("UnexpectedAdmissionError", pod["reason"])
        self.assertEqual(here.pod("modest")["phase"], "Running")
        here.await_log('level=warn room=kubelet msg="allocation refused".*found 2')
        self.assertEqual(here.metric("kerf_allocate_errors_total"), 1)

    def test_gives_two_replicas_from_two_gpus_otherwise(self):
        here = self.start(timeSlicing={"failRequestsGreaterThanOne": False})
        pod = here.pod("two", 2)
        self.assertEqual(pod["phase"], "Running")
        self.assertEqual(set(pod["envs"]["NVIDIA_VISIBLE_DEVICES"].split(",")),
                         {self.uuid(here, 0), self.uuid(here, 1)})

    def test_names_a_gpu_once_however_many_of_its_replicas_are_given(self):
        here = self.start()
        pod = here.pod("all", 8)
        visible = pod["envs"]["NVIDIA_VISIBLE_DEVICES"].split(",")
        self.assertEqual(collections.Counter(visible),
                         {self.uuid(here, 0): 1, self.uuid(here, 1): 1})

    def test_works_the_same_at_every_tier(self):
        for replicas in (2, 5, 10, 20, 50):
            with self.subTest(replicas=replicas):
                here = self.start(devices=2 * replicas, replicas=replicas)
                counts = collections.Counter(
                    here.pod(f"p{n}")["envs"]["NVIDIA_VISIBLE_DEVICES"] for n in range(replicas))
                self.assertLessEqual(max(counts.values()) - min(counts.values()), 1)

    def test_of_unshared_gpus_works_too(self):
        here = self.node("h200x8-hgx")
        here.write_config("version: v1\n")
        here.start(devices=8)
        pod = here.pod("four", 4)
        self.assertEqual(len(set(pod["envs"]["NVIDIA_VISIBLE_DEVICES"].split(","))), 4)

    def test_of_mig_devices_names_their_uuids_and_capabilities(self):
        here = self.node("a100-80x1-mig")
        here.write_config(config(flags={"migStrategy": "mixed"}, plugin={"passDeviceSpecs": True}))
        here.start()
        here.await_allocatable(1, "nvidia.com/mig-3g.40gb")
        pod = here.pod("mig", 1, "nvidia.com/mig-3g.40gb")
        self.assertRegex(pod["envs"]["NVIDIA_VISIBLE_DEVICES"], "^MIG-")
        self.assertEqual(sum("nvidia-caps/nvidia-cap" in d for d in pod["devices"]), 2,
                         pod["devices"])

    def test_leaves_a_log_whose_last_lines_say_how_gpus_are_shared(self):
        here = self.start()
        for n in range(20):
            here.pod(f"p{n}")
            here.tell_kubelet(f"pod delete p{n}")
        node.eventually("twenty in the log", lambda: here.log().count("msg=allocated ") == 20)
        # `kubectl logs -l` shows ten.
        self.assertRegex("\n".join(here.log().splitlines()[-10:]), "(?i)time.*slic")

    def test_says_in_the_log_when_nothing_is_shared(self):
        here = self.start(devices=2, replicas=None)
        here.pod("p")
        here.await_log("msg=allocated .*sharing=none")

    def test_is_shown_and_counted(self):
        here = self.start()
        self.assertEqual(here.metric("kerf_replicas"), 8)
        self.assertEqual(here.metric("kerf_replicas_allocated"), 0)
        pods = [here.pod(f"p{n}") for n in range(3)]
        node.eventually("in use", lambda: here.status()["resources"][0]["in_use"] == 3)
        self.assertEqual(here.metric("kerf_replicas_allocated"), 3)
        for gpu in here.status()["gpus"]:
            held = sum(each.startswith(gpu["uuid"]) for pod in pods for each in pod["ids"])
            of_this = {"gpu": str(gpu["index"]), "uuid": gpu["uuid"]}
            self.assertEqual(here.metric("kerf_replicas", **of_this), 4)
            self.assertEqual(here.metric("kerf_replicas_allocated", **of_this), held)
        self.assertEqual(here.metric("kerf_devices", resource=node.GPU, health="healthy"), 8)
        self.assertEqual(here.metric("kerf_devices", resource=node.GPU, health="unhealthy"), 0)
        self.assertEqual(here.metric("kerf_allocate_duration_seconds_count"), 3)
        self.assertEqual(here.metric("kerf_preferred_allocation_duration_seconds_count"), 3)
        shown = here.kerf("status", "--address", here.address()).stdout
        self.assertEqual(shown.count("■"), 3)
        self.assertRegex(shown, "Gave out GPU-")


if __name__ == "__main__":
    node.main()
