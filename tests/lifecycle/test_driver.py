"""A driver that is missing, late, broken, unloaded or loaded again."""

import os
import signal

import node
from node import NVML_LIBRARY, config, eventually

WAIT = "--fail-on-init-error=false"


class WithoutADriver(node.NodeTest):
    def refused(self, here, *said, **options):
        here.start_kubelet()
        here.start_agent(**options)
        self.assertEqual(here.agent.wait(), 1)
        self.assertRegex(here.log(), 'level=error room=agent msg="error starting plugins: failed to '
                                     'initialize NVML"')
        self.assertIn("--fail-on-init-error=false", here.log())
        for text in said:
            self.assertRegex(here.log(), text)
        self.assertEqual(here.resources(), {})
        self.assertLeavesNothing(here)

    def test_the_agent_ends_and_names_the_library(self):
        self.refused(self.node(), "/nowhere/libnvidia-ml.so.1", nvml_library="/nowhere/libnvidia-ml.so.1")

    def test_the_agent_ends_and_names_the_module(self):
        self.refused(self.node("none"), "driver is not loaded", "kernel module")

    def test_the_agent_ends_and_names_a_library_that_is_none(self):
        here = self.node()
        fake = here.directory / "libnvidia-ml.so.1"
        fake.write_text("this is no library")
        self.refused(here, str(fake), nvml_library=fake)

    def test_the_agent_ends_when_the_driver_fails(self):
        here = self.node()
        here.fault("error", "--call", "Init_v2", "--code", "999")
        self.refused(here, "nvmlInit_v2")

    def test_the_agent_ends_when_library_and_module_do_not_match(self):
        here = self.node()
        here.fault("error", "--call", "Init_v2", "--code", "18")
        self.refused(here, "nvmlInit_v2", "(?i)version|match")

    def test_the_agent_waits_when_told_to_and_advertises_nothing(self):
        here = self.node("none")
        here.start(WAIT)
        here.await_health("waiting")
        status, health = here.health()
        self.assertEqual(status, 200)
        self.assertRegex(health["problems"][0]["what"], "driver")
        self.assertRegex(health["problems"][0]["remedy"], "picked up when it appears")
        self.assertEqual(here.get("/readyz")[0], 200)
        self.assertEqual(here.resources(), {})
        self.assertLeavesNothing(here)
        here.await_log("no driver, waiting for one")
        shown = here.kerf("status", "--address", here.address())
        self.assertRegex(shown.stdout, "waiting: no NVIDIA driver found")
        self.assertEqual(here.stop_agent(), 0)


class ALateDriver(node.NodeTest):
    def test_is_picked_up_when_its_library_appears(self):
        here = self.node()
        library = here.directory / "libnvidia-ml.so.1"
        here.start(WAIT, nvml_library=library)
        here.await_health("waiting")
        os.symlink(NVML_LIBRARY, library)
        here.await_allocatable(8)
        here.await_health("ok")

    def test_is_picked_up_when_its_module_is_loaded(self):
        here = self.node()
        here.fault("driver-unload", "--code", "9")
        here.start(WAIT)
        here.await_health("waiting")
        here.fault("driver-reload")
        here.await_allocatable(8)
        here.await_health("ok")

    def test_is_picked_up_at_once_on_sighup(self):
        here = self.node()
        here.fault("error", "--call", "Init_v2", "--code", "9")
        here.start(WAIT)
        here.await_health("waiting")
        here.sim("clear")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(8)

    def test_is_picked_up_when_it_stops_failing(self):
        here = self.node()
        here.fault("error", "--call", "Init_v2", "--code", "999")
        here.start(WAIT)
        here.await_health("failed")
        self.assertEqual(here.health()[0], 503)
        here.sim("clear")
        here.await_allocatable(8)
        here.await_health("ok")

    def test_is_picked_up_when_it_stops_hanging(self):
        here = self.node()
        here.fault("hang", "--call", "Init_v2")
        here.start()
        here.await_problem("driver does not answer", "nvmlInit|start|driver")
        self.assertTrue(here.agent.running())
        here.sim("clear")
        here.await_allocatable(8)
        here.await_health("ok")

    def test_is_used_with_the_configuration_that_is_in_force_by_then(self):
        here = self.node()
        here.fault("driver-unload", "--code", "9")
        here.start(WAIT)
        here.await_health("waiting")
        here.write_config(config(10))
        here.await_log("msg=reloaded")
        here.fault("driver-reload")
        here.await_allocatable(20)


class AnUnloadedDriver(node.NodeTest):
    def test_makes_everything_unhealthy_until_it_is_back(self):
        here = self.node()
        here.start(devices=8)
        here.fault("driver-unload")
        here.await_allocatable(0)
        resource = here.resource()
        self.assertEqual((resource["capacity"], resource["connected"]), (8, True))
        here.await_health("failed")
        self.assertEqual(here.health()[0], 503)
        here.await_problem("driver")
        here.fault("driver-reload")
        here.await_allocatable(8)
        here.await_health("ok")
        self.assertEqual(here.resource()["registrations"], 1)
        self.assertEqual(here.pod("after")["phase"], "Running")

    def test_may_come_back_as_another_version(self):
        here = self.node()
        here.start(devices=8)
        here.fault("driver-unload")
        here.await_allocatable(0)
        here.fault("driver-reload", "--version", "600.12.34")
        here.await_allocatable(8)
        eventually("the new version", lambda: here.status()["driver"]["version"] == "600.12.34")


if __name__ == "__main__":
    node.main()
