"""GPUs that recover by themselves, and trouble that no XID tells of."""

import json
import os
import pathlib
import signal
import stat
import time

import node
from node import GPU, config, eventually

FAST = {"pollInterval": "100ms", "thermalAfter": "200ms"}


def health(replicas=4, quiet="500ms", xids=None, flags=None, **conditions):
    section = {"recovery": {"quietPeriod": quiet, "maxQuietPeriod": "1h"},
               "conditions": {**FAST, **conditions}}
    if xids:
        section["xids"] = xids
    return config(replicas, flags=flags or {}) + "health: " + json.dumps(section) + "\n"


class HealthTest(node.NodeTest):
    def begin(self, machine="rtx3090x2", devices=8, **options):
        here = self.node(machine)
        here.write_config(health(**options))
        here.start(devices=devices)
        here.await_watched()
        return here

    def polled(self, here, calls=20):
        """Waits until every GPU was asked, which is what later answers are compared to. A poll of a
        small machine takes less than `calls` calls."""
        before = here.metric("kerf_nvml_calls_total")
        eventually("two polls", lambda: here.metric("kerf_nvml_calls_total") > before + 2 * calls)

    def await_reason(self, here, index, reason):
        def found():
            gpu = here.status()["gpus"][index]
            return gpu["health"]["reason"] == reason and gpu
        gpu = eventually(f"GPU {index} is {reason}", found)
        self.assertEqual(here.metric("kerf_gpu_unhealthy", gpu=str(index), uuid=gpu["uuid"],
                                     device=gpu["uuid"], reason=reason), 1)
        return gpu["health"]["detail"]


class AGpu(HealthTest):
    def test_that_is_quiet_again_is_used_again_in_all_its_replicas(self):
        here = self.begin()
        here.fault("xid", "94", "--gpu", "0", "--event-only")
        here.await_problem("(?i:xid 94)")
        here.await_allocatable(8)
        here.await_health("ok")
        here.await_log("change=recovered")

    def test_marked_until_its_reset_is_used_again_after_it(self):
        here = self.begin(xids={"drain": [94]})
        here.fault("xid", "94", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        here.await_problem("drain: move its pods")
        here.fault("xid", "7", "--gpu", "1", "--event-only")  # goes and comes, which takes longer
        here.await_log("Xid 7 ")
        here.await_allocatable(4)
        self.assertFalse(here.status()["gpus"][0]["health"]["ok"])
        here.fault("lost", "--gpu", "0")
        here.agent.signal(signal.SIGHUP)
        self.await_reason(here, 0, "gpu_lost")
        here.fault("back", "--gpu", "0")
        here.sim("clear")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(8)

    def test_follows_a_changed_configuration_without_a_restart(self):
        here = self.begin(quiet="infinite")
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        here.write_config(health(xids={"ignore": [48]}))
        here.await_allocatable(8)
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.fault("xid", "79", "--gpu", "1", "--event-only")
        here.await_allocatable(4)
        self.assertTrue(here.status()["gpus"][0]["health"]["ok"])

    def test_that_is_too_hot_for_a_while_rests(self):
        here = self.begin()
        here.fault("throttle", "0x40", "--gpu", "1")
        self.assertIn("slowed down by heat", self.await_reason(here, 1, "thermal"))
        here.fault("temperature", "99", "--gpu", "0")
        self.assertIn("as hot as it may get", self.await_reason(here, 0, "thermal"))
        here.await_allocatable(0)
        here.sim("clear")
        here.await_allocatable(8)


class MemoryErrors(HealthTest):
    def begin_h200(self, **options):
        # The XIDs that come with replaced rows, 63 and 64, would be shown before their cause.
        here = self.begin("h200x8-hgx", devices=16, replicas=2, xids={"ignore": [63, 64]}, **options)
        self.polled(here, 1000)
        return here

    def test_without_an_xid_are_noticed(self):
        here = self.begin_h200()
        here.fault("ecc", "--gpu", "3", "--count", "2")
        self.assertIn("uncorrectable memory error", self.await_reason(here, 3, "ecc"))
        here.await_allocatable(14)

    def test_in_rows_that_cannot_be_replaced_are_noticed(self):
        here = self.begin_h200()
        here.fault("remap", "--gpu", "0", "--failed")
        here.fault("remap", "--gpu", "5")
        self.assertIn("cannot be replaced", self.await_reason(here, 0, "row_remap"))
        self.assertIn("is reset", self.await_reason(here, 5, "row_remap"))
        here.write_config(health(2, xids={"ignore": [63, 64]}, rowRemapPending=False))
        here.await_allocatable(14)

    def test_that_are_switched_off_are_not(self):
        here = self.begin_h200(ecc=False, nvlink=False)
        here.fault("ecc", "--gpu", "3")
        here.fault("nvlink-down", "4", "--gpu", "4")
        here.fault("remap", "--gpu", "0", "--failed")
        self.await_reason(here, 0, "row_remap")
        here.await_allocatable(14)

    def test_with_an_xid_concern_the_mig_device_that_it_names(self):
        here = self.node("a100-80x1-mig")
        here.write_config(health(None, quiet="infinite", flags={"migStrategy": "mixed"}))
        here.start()
        names = ("nvidia.com/mig-1g.10gb", "nvidia.com/mig-2g.20gb", "nvidia.com/mig-3g.40gb")
        for name, count in zip(names, (2, 1, 1)):
            here.await_allocatable(count, name)
        self.polled(here)
        here.fault("xid", "94", "--gpu", "0", "--gpu-instance", "1", "--compute-instance", "0")
        here.await_allocatable(0, names[2])
        self.polled(here)  # the count that went up with it is its own
        here.await_allocatable(2, names[0])
        here.await_allocatable(1, names[1])
        here.fault("xid", "48", "--gpu", "0", "--event-only")  # names none: all are concerned
        for name in names:
            here.await_allocatable(0, name)


class NvLinks(HealthTest):
    def test_that_go_down_are_noticed_and_when_they_are_back(self):
        here = self.begin("h200x8-hgx", devices=16, replicas=2)
        self.polled(here, 1000)
        here.fault("nvlink-down", "4", "--gpu", "2")
        self.assertIn("NVLink down: 4", self.await_reason(here, 2, "nvlink"))
        here.await_allocatable(14)
        here.sim("clear")
        here.await_allocatable(16)


class TheDriverAsAWhole(HealthTest):
    def test_that_denies_everything_fences_the_node_until_it_answers(self):
        here = self.begin()
        here.fault("error", "--call", "*", "--code", "4")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(0)
        here.await_health("failed")
        self.assertEqual(here.health()[0], 503)
        self.assertEqual(here.resource()["capacity"], 8)
        here.sim("clear")
        here.await_allocatable(8)
        here.await_health("ok")


class ADeviceCgroup(HealthTest):
    """A real one, of cgroup version 1, where a right can be taken by writing a line."""
    GROUPS = pathlib.Path("/sys/fs/cgroup/devices")

    def group_of(self, process):
        if os.geteuid() != 0 or not (self.GROUPS / "devices.deny").exists():
            self.skipTest("needs root and cgroup version 1's device controller")
        group = self.GROUPS / f"kerf-test-{process.pid}"
        try:
            group.mkdir()
        except OSError as error:
            self.skipTest(f"no cgroup may be made: {error}")
        self.addCleanup(group.rmdir)
        self.addCleanup(self.empty, group)
        (group / "cgroup.procs").write_text(str(process.pid))
        return group

    def empty(self, group):
        for pid in (group / "cgroup.procs").read_text().split():
            (self.GROUPS / "cgroup.procs").write_text(pid)

    def test_that_loses_the_drivers_devices_is_named(self):
        here = self.node("rtx3090x2")
        control = here.root / "dev/nvidiactl"
        control.unlink(missing_ok=True)
        try:
            os.mknod(control, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as the null device
            os.close(os.open(control, os.O_RDWR))
        except OSError as error:
            self.skipTest(f"no device node can be used in the temporary directory: {error}")
        here.write_config(health())
        here.start(devices=8)
        group = self.group_of(here.agent)
        (group / "devices.deny").write_text("c 1:3 rwm")
        # What the driver answers then.
        here.fault("error", "--call", "*", "--code", "4")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(0)
        here.await_problem("no longer allowed to open", "nvidiactl", "systemd")
        (group / "devices.allow").write_text("c 1:3 rwm")
        here.sim("clear")
        here.await_allocatable(8)
        here.await_health("ok")


class Measured(HealthTest):
    def test_an_xid_reaches_the_kubelet(self):
        """No bound is asserted, other than that it comes; the floor is the simulators' own way, from
        a command of the tool to its end."""
        here = self.begin(quiet="infinite")
        floor, took = [], []
        for _ in range(10):
            began = time.monotonic()
            here.sim("show")
            floor.append(time.monotonic() - began)
            began = time.monotonic()
            here.fault("xid", "48", "--gpu", "0", "--event-only")
            while here.resource(GPU)["allocatable"] != 4:
                pass
            took.append(time.monotonic() - began)
            here.write_config(health(xids={"ignore": [48]}))
            here.await_allocatable(8)
            here.write_config(health(quiet="infinite"))
            turn = len(took)
            eventually("read again", lambda: len(
                [l for l in here.log().splitlines() if "msg=reloaded" in l]) >= 2 * turn)
        took.sort()
        floor.sort()
        print(f"     an XID is in the kubelet's list after {1000 * took[5]:.1f} ms (median of 10, "
              f"most {1000 * took[9]:.1f}); telling the simulator alone takes "
              f"{1000 * floor[5]:.1f} ms")


if __name__ == "__main__":
    node.main()
