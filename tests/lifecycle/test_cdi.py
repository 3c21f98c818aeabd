"""Containers that get their devices by CDI name: what is named is in a specification on disk, and
the specification follows the machine."""

import json
import os
import stat

import node
from node import config

VENDOR = "k8s.device-plugin.nvidia.com"


class Cdi(node.NodeTest):
    def start(self, devices=2, replicas=None, machine="rtx3090x2", strategies=("cdi-cri",),
              agent=(), **options):
        here = self.node(machine)
        plugin = {"deviceListStrategy": list(strategies), **options.pop("plugin", {})}
        here.write_config(config(replicas, plugin=plugin, **options))
        self.install_hooks(here)
        here.start(*agent, devices=devices, driver_root_ctr_path=here.root)
        return here

    def install_hooks(self, here):
        program = here.root / "usr/bin/nvidia-ctk"
        program.write_text("")

    def file(self, here, kind="gpu"):
        return here.root / "var/run/cdi" / f"{VENDOR}-{kind}.json"

    def spec(self, here, kind="gpu"):
        return json.loads(self.file(here, kind).read_text())

    def names(self, here, kind="gpu"):
        return [f"{VENDOR}/{kind}={d['name']}" for d in self.spec(here, kind)["devices"]]

    def test_names_devices_that_are_in_the_specification(self):
        here = self.start()
        spec = self.spec(here)
        self.assertEqual(spec["kind"], f"{VENDOR}/gpu")
        self.assertEqual(stat.S_IMODE(os.stat(self.file(here)).st_mode), 0o644)
        self.assertEqual([d["name"] for d in spec["devices"]],
                         sorted(g["uuid"] for g in here.status()["gpus"]))
        named = []
        for pod in (here.pod("one"), here.pod("two")):
            self.assertEqual(pod["phase"], "Running", pod)
            self.assertEqual((pod["envs"], pod["mounts"], pod["devices"], pod["annotations"]),
                             ({}, [], [], {}))
            named += pod["cdi_devices"]
        self.assertEqual(sorted(named), self.names(here))
        self.assertEqual(here.problems(), [])

    def test_names_them_in_an_annotation_that_no_two_containers_share(self):
        here = self.start(devices=8, replicas=4, strategies=["cdi-annotations", "envvar"])
        keys = set()
        for n in range(8):
            pod = here.pod(f"p{n}")
            ((key, value),) = pod["annotations"].items()
            self.assertRegex(key, "^cdi.k8s.io/nvidia-device-plugin_[0-9a-f-]{36}$")
            self.assertIn(value, self.names(here))
            self.assertEqual(value.split("=")[1], pod["envs"]["NVIDIA_VISIBLE_DEVICES"])
            keys.add(key)
        self.assertEqual(len(keys), 8)

    def test_every_file_and_node_of_the_specification_exists(self):
        here = self.start()
        spec = self.spec(here)
        everything = [spec["containerEdits"]] + [d["containerEdits"] for d in spec["devices"]]
        paths = [p for edits in everything for p in
                 [m["hostPath"] for m in edits.get("mounts", [])] +
                 [n.get("hostPath", n["path"]) for n in edits["deviceNodes"]]]
        self.assertGreater(len(paths), 20)
        for path in paths:
            self.assertTrue((here.root / path.lstrip("/")).exists(), path)

    def test_takes_the_host_paths_from_the_configured_roots(self):
        here = self.start(flags={"nvidiaDriverRoot": "/run/nvidia/driver"})
        spec = self.spec(here)
        for mount in spec["containerEdits"]["mounts"]:
            self.assertEqual(mount["hostPath"], "/run/nvidia/driver" + mount["containerPath"])
        for device in spec["containerEdits"]["deviceNodes"]:
            self.assertEqual(device["hostPath"], "/run/nvidia/driver" + device["path"])

    def test_a_lost_gpu_leaves_the_specification_and_comes_back(self):
        here = self.start()
        lost = here.status()["gpus"][1]["uuid"]
        here.fault("lost", "--gpu", "1")
        here.await_allocatable(1)
        node.eventually("the lost GPU is gone", lambda: all(
            not name.endswith(lost) for name in self.names(here)))
        self.assertEqual(here.pod("one")["phase"], "Running")
        here.fault("back", "--gpu", "1")
        here.await_allocatable(2)
        node.eventually("it is back", lambda: len(self.names(here)) == 2)

    def test_follows_mig_devices(self):
        here = self.start(machine="a100-80x1-mig", devices=None, flags={"migStrategy": "mixed"})
        node.eventually("the specification", self.file(here).exists)
        node.eventually("MIG devices", lambda: len(self.names(here)) > 1)
        before = self.names(here)
        for device in self.spec(here)["devices"]:
            self.assertTrue(device["name"].startswith("MIG-"), device["name"])
            paths = [n["path"] for n in device["containerEdits"]["deviceNodes"]]
            self.assertEqual([p.rstrip("0123456789") for p in paths],
                             ["/dev/nvidia", "/dev/nvidia-caps/nvidia-cap",
                              "/dev/nvidia-caps/nvidia-cap"])
        here.sim("mig", "destroy", "--gpu", "0", "--gpu-instance", "3")
        here.agent.signal(1)
        node.eventually("one fewer", lambda: len(self.names(here)) == len(before) - 1)

    def test_writes_only_what_changed_and_removes_what_is_not_wanted(self):
        here = self.node()
        (here.root / "dev/gdrdrv").write_text("")
        self.install_hooks(here)
        here.write_config(config(plugin={"deviceListStrategy": "cdi-cri"},
                                 flags={"gdrcopyEnabled": True, "gdsEnabled": True}))
        here.start(devices=2, driver_root_ctr_path=here.root)
        self.assertEqual(here.pod("one")["cdi_devices"][1:], [f"{VENDOR}/gdrcopy=all"])
        here.await_log("nothing to put into a CDI specification of class gds")
        self.assertFalse(self.file(here, "gds").exists())
        inode = os.stat(self.file(here)).st_ino
        here.write_config(config(plugin={"deviceListStrategy": "cdi-cri"}))
        here.agent.signal(1)
        node.eventually("gdrcopy is removed", lambda: not self.file(here, "gdrcopy").exists())
        self.assertEqual(os.stat(self.file(here)).st_ino, inode)
        here.write_config(config(plugin={"deviceListStrategy": "envvar"}))
        here.agent.signal(1)
        node.eventually("the environment is used", lambda: here.pod("two")["envs"] or
                        here.tell_kubelet("pod delete two") and False)
        self.assertTrue(self.file(here).exists(), "containers of before may start again")

    def test_a_directory_that_cannot_be_written_refuses_pods_and_heals(self):
        here = self.node()
        self.install_hooks(here)
        here.write_config(config(plugin={"deviceListStrategy": ["envvar", "cdi-cri"]}))
        in_the_way = here.root / "var/run/cdi"
        in_the_way.parent.mkdir(parents=True)
        in_the_way.write_text("a file where the directory should be")
        here.start(devices=2, driver_root_ctr_path=here.root)
        pod = here.pod("early")
        self.assertEqual(pod["phase"], "Failed")
        self.assertIn("failed to get allocate response for CDI: no CDI specification offers",
                      pod["reason"])
        (problem,) = here.problems()
        self.assertIn(str(in_the_way), json.dumps(problem))
        self.assertIn("kerf prepare --cdi-dir", json.dumps(problem))
        here.tell_kubelet("pod delete early")
        in_the_way.unlink()
        node.eventually("no problem any more", lambda: not here.problems())
        self.assertEqual(here.pod("late")["phase"], "Running")

    def test_says_when_the_drivers_files_or_the_hooks_are_missing(self):
        here = self.node()
        here.write_config(config(plugin={"deviceListStrategy": "cdi-cri"}))
        here.start(devices=2, driver_root_ctr_path=here.directory / "nothing")
        self.assertIn("the driver's libraries are not there", here.pod("one")["reason"])
        here.stop_agent()
        here.start(devices=2, driver_root_ctr_path=here.root)
        self.assertIn("hook program", json.dumps(here.problems()))
        # Put there meanwhile, as an init container does.
        own = here.root / "opt/kerf/bin/kerf-cdi-hook"
        own.parent.mkdir(parents=True)
        own.write_text("")
        node.eventually("it is named", lambda: not here.problems())
        hooks = self.spec(here)["containerEdits"]["hooks"]
        self.assertEqual({h["path"] for h in hooks}, {"/opt/kerf/bin/kerf-cdi-hook"})
        here.await_log("CDI specifications name /opt/kerf/bin/kerf-cdi-hook")


if __name__ == "__main__":
    node.main()
