"""Sharing by MPS: the agent with stand-ins for the programs of NVIDIA's driver."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import node
from node import GPU, KERF, NVML_LIBRARY, NodeTest, Process, eventually

BUILD = pathlib.Path(NVML_LIBRARY).resolve().parents[1]
CONTROL = os.environ.get("MPS_CONTROL_SIM", str(BUILD / "mps/nvidia-cuda-mps-control"))
SMI = os.environ.get("NVIDIA_SMI_SIM", str(BUILD / "mps/nvidia-smi"))


def by_mps(replicas=4, limits=None, **more):
    resource = {"name": GPU, "replicas": replicas, **({"limits": limits} if limits else {}), **more}
    return json.dumps({"version": "v1", "sharing": {"mps": {"resources": [resource]}}})


class MpsNode(node.Node):
    """A node whose driver root has the programs, and a directory for MPS."""

    def __init__(self, text=None, machine="rtx3090x2"):
        super().__init__(machine)
        self.mps = self.directory / "mps"
        self.programs = self.directory / "driver/usr/bin"
        self.programs.mkdir(parents=True)
        for program in (CONTROL, SMI):
            shutil.copy(program, self.programs)
        self.environment["LD_LIBRARY_PATH"] = str(pathlib.Path(NVML_LIBRARY).parent)
        self.write_config(text or by_mps())
        self.here = self.mps / GPU

    def arguments(self, *more, **options):
        chosen = {"components": "devices,http,mps", "mps_dir": self.mps,
                  "mps_root": "/run/nvidia/mps", "driver_root_ctr_path": self.directory / "driver"}
        chosen.update(options)
        return super().arguments(*more, **chosen)

    def close(self):
        """Agents are killed, which leaves their daemons: those are ended by their process ids."""
        for process in [*self.others, self.kubelet]:
            if process is not None:
                process.end()
        for file in self.mps.glob("*/*/pipe/nvidia-cuda-mps-control.pid"):
            pid = int(file.read_text())
            if str(self.programs) in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        super().close()

    def misbehave(self, *words):
        (self.programs / "mps-sim.faults").write_text(" ".join(words))

    def ask(self, command, resource=GPU):
        """A command to the daemon, as an administrator would give it."""
        done = subprocess.run([self.programs / "nvidia-cuda-mps-control"], input=command, text=True,
                              env={"CUDA_MPS_PIPE_DIRECTORY": str(self.mps / resource / "pipe")},
                              capture_output=True, timeout=node.PATIENCE, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def daemon(self):
        return int((self.here / "pipe/nvidia-cuda-mps-control.pid").read_text())

    def uuids(self):
        return [gpu["uuid"] for gpu in self.status()["gpus"]]

    def modes_of(self, uuids):
        return {subprocess.run([self.programs / "nvidia-smi", "-i", uuid, "--query-gpu=compute_mode"],
                               env=self.environment, capture_output=True, text=True,
                               check=True).stdout.strip() for uuid in uuids}


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Mps(NodeTest):
    def mps_node(self, *arguments, **options):
        here = MpsNode(*arguments, **options)
        self.addCleanup(here.close)
        return here

    def test_a_daemon_is_started_with_its_limits_before_devices_are_given_out(self):
        here = self.mps_node()
        here.start(devices=8)
        self.assertEqual(here.ask("get_default_active_thread_percentage"), "25.0")
        self.assertEqual(here.ask("get_default_device_pinned_mem_limit 1"), "6144M")
        self.assertEqual(here.modes_of(here.uuids()), {"EXCLUSIVE_PROCESS"})
        eventually(".ready", (here.mps / ".ready").exists)
        said = (here.here / "log/control.log").read_text()
        environment = [line for line in said.splitlines() if line.startswith("env: ")]
        self.assertEqual(environment, [f"env: CUDA_MPS_PIPE_DIRECTORY={here.here}/pipe",
                                       f"env: CUDA_MPS_LOG_DIRECTORY={here.here}/log"])
        here.await_log("daemon says.*set_default_active_thread_percentage")
        self.assertEqual(here.metric("kerf_mps_daemon_ready", resource=GPU), 1)
        here.await_health("ok")

    def test_pods_get_the_way_to_the_daemon(self):
        here = self.mps_node()
        here.start(devices=8)
        pod = json.dumps(here.pod("one"))
        self.assertIn("CUDA_MPS_PIPE_DIRECTORY", pod)
        self.assertIn("/run/nvidia/mps/nvidia.com/gpu/pipe", pod)
        self.assertIn("/run/nvidia/mps/shm", pod)

    def test_without_a_daemon_nothing_is_given_out_and_the_page_says_why(self):
        here = self.mps_node()
        here.start(components="devices,http")
        here.await_problem("takes no new pods", "not up")
        eventually("the list", lambda: here.resource()["capacity"] == 8)
        self.assertEqual(here.resource()["allocatable"], 0)

    def test_two_processes_meet_in_the_directory(self):
        here = self.mps_node()
        here.start(components="devices,http")
        plugin = here.agent
        arguments = [f"--config-file={here.config_file}", f"--mps-dir={here.mps}",
                     f"--nvml-library={NVML_LIBRARY}", f"--root={here.root}",
                     f"--driver-root-ctr-path={here.directory / 'driver'}"]
        daemon = Process(["mps-control-daemon", *arguments], here.directory / "daemon.log",
                         executable=KERF, env=here.environment)
        here.others.append(daemon)
        here.await_allocatable(8)
        # Killed: it can tidy up nothing, and its daemon lives on.
        orphan = here.daemon()
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        here.await_allocatable(0)
        here.await_problem("takes no new pods", "gone")
        again = Process(["mps-control-daemon", *arguments], here.directory / "daemon2.log",
                        executable=KERF, env=here.environment)
        here.others.append(again)
        here.await_allocatable(8)
        eventually("the daemon left running ends", lambda: not alive(orphan))
        again.signal(signal.SIGTERM)
        self.assertEqual(again.wait(), 0)
        here.await_allocatable(0)
        self.assertTrue(plugin.running())

    def test_a_daemon_that_dies_is_started_again_and_nothing_given_out_meanwhile(self):
        here = self.mps_node()
        here.start(devices=8)
        first = here.daemon()
        here.misbehave("die-at-start")
        os.kill(first, signal.SIGKILL)
        here.await_allocatable(0)
        here.await_problem("ended at once", "no such device")
        here.misbehave()
        here.await_allocatable(8)
        self.assertNotEqual(here.daemon(), first)
        self.assertEqual(here.ask("get_default_active_thread_percentage"), "25.0")
        self.assertEqual(here.resource()["registrations"], 1)

    def test_a_daemon_that_hangs_is_found_out_and_replaced(self):
        here = self.mps_node()
        here.start(devices=8)
        first = here.daemon()
        here.misbehave("hang")
        here.await_allocatable(0)
        here.misbehave()
        here.await_allocatable(8)
        self.assertFalse(alive(first))
        self.assertEqual(here.metric("kerf_mps_daemon_starts_total", resource=GPU), 2)

    def test_a_daemon_that_refuses_its_limits_is_not_used(self):
        here = self.mps_node()
        here.misbehave("refuse-limits")
        here.start()
        here.await_problem("MPS daemon of", "set_default_device_pinned_mem_limit 0")
        self.assertEqual(here.resource()["allocatable"], 0)
        here.misbehave()
        here.await_allocatable(8)

    def test_another_configuration_replaces_the_daemon(self):
        here = self.mps_node()
        here.start(devices=8)
        first = here.daemon()
        here.write_config(by_mps(2, {"memory": "1Gi", "threadPercentage": 70}))
        here.await_allocatable(4)
        eventually("the new percentage",
                   lambda: here.ask("get_default_active_thread_percentage") == "70.0")
        self.assertEqual(here.ask("get_default_device_pinned_mem_limit 0"), "1024M")
        self.assertFalse(alive(first))
        self.assertEqual(here.modes_of(here.uuids()), {"EXCLUSIVE_PROCESS"})
        here.write_config(node.config(4))
        here.await_allocatable(8)
        eventually("the GPUs are as before", lambda: here.modes_of(here.uuids()) == {"DEFAULT"})
        self.assertFalse((here.here / ".started").exists())

    def test_a_change_that_does_not_concern_it_leaves_the_daemon_alone(self):
        here = self.mps_node()
        here.start(devices=8)
        first = here.daemon()
        here.write_config(by_mps().replace('"version"', '"flags": {"gdsEnabled": true}, "version"'))
        eventually("a reload", lambda: here.metric("kerf_config_reloads_total") == 1)
        here.await_allocatable(8)
        self.assertEqual(here.daemon(), first)

    def test_one_gpu_of_two_has_a_daemon_that_sees_it_alone(self):
        here = self.mps_node(by_mps(2, devices=[1], rename=f"{GPU}.shared"))
        here.start()
        here.await_allocatable(2, f"{GPU}.shared")
        here.await_allocatable(1)
        said = (here.mps / f"{GPU}.shared/log/control.log").read_text()
        self.assertIn(f"env: CUDA_VISIBLE_DEVICES={here.uuids()[1]}\n", said)
        self.assertEqual(here.modes_of(here.uuids()[:1]), {"DEFAULT"})
        self.assertEqual(here.modes_of(here.uuids()[1:]), {"EXCLUSIVE_PROCESS"})

    def test_the_end_leaves_nothing_even_where_quit_fails(self):
        for faults in ((), ("refuse-quit",), ("hang",)):
            with self.subTest(faults=faults):
                here = self.mps_node()
                here.start(devices=8)
                pid, uuids = here.daemon(), here.uuids()
                here.misbehave(*faults)
                self.assertEqual(here.stop_agent(), 0)
                self.assertFalse(alive(pid))
                self.assertEqual(here.modes_of(uuids), {"DEFAULT"})
                self.assertFalse((here.mps / ".ready").exists())
                self.assertFalse((here.here / ".started").exists())
                self.assertFalse((here.here / "log").exists())
                self.assertLeavesNothing(here)

    def test_without_the_drivers_programs_it_says_what_is_missing(self):
        here = self.mps_node()
        (here.programs / "nvidia-cuda-mps-control").unlink()
        here.start(env={"PATH": "/nonexistent"})
        problem = here.await_problem("cannot find nvidia-cuda-mps-control")
        self.assertIn("NVIDIA_DRIVER_CAPABILITIES", problem["remedy"])
        shutil.copy(CONTROL, here.programs)
        here.await_allocatable(8)

    def test_without_mps_there_is_nothing_to_wait_for(self):
        here = self.mps_node(node.config(4))
        here.start(devices=8)
        eventually(".ready", (here.mps / ".ready").exists)
        self.assertIsNone(here.metric("kerf_mps_daemon_ready"))


if __name__ == "__main__":
    node.main()
