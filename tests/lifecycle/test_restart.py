"""What an agent that was killed knew of broken GPUs, and what the next one makes of it. The driver
says an XID once: nobody but the agent before has heard it."""

import http.client
import json
import pathlib
import signal

import node
from node import config, eventually


def quiet(period):
    return config(4) + f"health: {{recovery: {{quietPeriod: {period}}}, conditions: {{pollInterval: 100ms}}}}\n"


class Restart(node.NodeTest):
    def begin(self, text=None, **options):
        here = self.node()
        if text:
            here.write_config(text)
        here.start(devices=8, **options)
        self.file = here.root / "run/kerf/health"
        return here

    def break_gpu_0(self, here):
        """By an XID that leaves nothing behind that could be asked for; until it is written down."""
        here.await_watched()
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        eventually("written down", lambda: "\t48\t" in self.file.read_text())

    def crash(self, here, **options):
        here.stop_agent(signal.SIGKILL)
        here.start_agent(**options)
        here.address()


class AfterACrash(Restart):
    def test_a_broken_gpu_is_still_broken(self):
        here = self.begin()
        self.break_gpu_0(here)
        since = here.status()["gpus"][0]["health"]["since_ms"]
        self.crash(here)
        here.await_log("unhealthy since before this start.*Xid 48")
        here.await_allocatable(4)
        here.await_problem("(?i:xid 48)")
        self.assertEqual(here.status()["gpus"][0]["health"]["since_ms"], since)
        # At no time did the new agent offer it.
        self.assertNotRegex(here.log(), "healthy=8")
        self.assertIn("healthy=4", here.log())

    def test_of_a_node_without_a_good_gpu_it_has_none(self):
        here = self.begin()
        self.break_gpu_0(here)
        here.fault("xid", "95", "--gpu", "1", "--event-only")
        here.await_allocatable(0)
        eventually("written down", lambda: "\t95\t" in self.file.read_text())
        for _ in range(3):
            self.crash(here)
            here.await_health("failed")
            self.assertEqual(here.health()[0], 503)
            self.assertEqual(here.resource()["allocatable"], 0)
            self.assertNotRegex(here.log(), "healthy=[48]")

    def test_its_reset_makes_it_good_again(self):
        here = self.begin()
        self.break_gpu_0(here)
        self.crash(here)
        here.await_allocatable(4)
        here.fault("lost", "--gpu", "0")
        here.agent.signal(signal.SIGHUP)
        here.await_log("gpu_lost|reason=lost|lost")
        eventually("lost", lambda: here.status()["gpus"][0]["health"]["reason"] == "gpu_lost")
        here.fault("back", "--gpu", "0")
        here.sim("clear")
        here.agent.signal(signal.SIGHUP)
        here.await_allocatable(8)
        eventually("forgotten", lambda: "\t48\t" not in self.file.read_text())
        self.crash(here)
        here.await_allocatable(8)

    def test_it_is_good_again_when_it_was_quiet_for_long_enough(self):
        here = self.begin(quiet("1h"))
        here.fault("xid", "32", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        eventually("written down", lambda: "\t32\t" in self.file.read_text())
        here.write_config(quiet("1s"))
        here.stop_agent(signal.SIGKILL)
        here.start_agent()
        here.await_log("unhealthy since before this start.*Xid 32")
        here.await_allocatable(8)
        here.await_log("change=recovered")

    def test_it_is_good_when_the_configuration_now_ignores_that(self):
        here = self.begin()
        self.break_gpu_0(here)
        self.crash(here, env={"DP_DISABLE_HEALTHCHECKS": "48"})
        here.await_allocatable(8)

    def test_an_orderly_end_is_no_different(self):
        here = self.begin()
        self.break_gpu_0(here)
        self.assertEqual(here.stop_agent(), 0)
        here.start_agent()
        here.address()
        here.await_allocatable(4)


class Forgotten(Restart):
    def test_is_what_was_before_a_boot(self):
        here = self.begin()
        self.break_gpu_0(here)
        (here.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
        self.crash(here)
        here.await_log("is forgotten.*the node was booted")
        here.await_allocatable(8)

    def test_is_what_was_before_the_driver_was_loaded_anew(self):
        here = self.begin()
        module = here.root / "sys/module/nvidia"
        other = here.root / "other"
        module.mkdir(parents=True, exist_ok=True)
        other.mkdir()
        self.assertEqual(here.stop_agent(), 0)
        here.start_agent()
        here.await_allocatable(8)
        self.break_gpu_0(here)
        here.stop_agent(signal.SIGKILL)
        module.rename(here.root / "gone")
        other.rename(module)
        here.start_agent()
        here.await_log("is forgotten.*the driver was loaded anew")
        here.await_allocatable(8)

    def test_is_everything_when_that_is_wanted(self):
        here = self.begin(state_dir="none")
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        self.assertFalse(self.file.exists())
        self.crash(here, state_dir="none")
        here.await_allocatable(8)
        self.assertNotIn("level=warn", here.log())


class TheFile(Restart):
    def test_is_named_when_broken_and_begins_anew(self):
        for text in ("", "\0" * 5000, "kerf-health\t1\nboot\tx\nmark\tGPU-0\n", '{"gpus": []}',
                     "kerf-health\t9\nend\n", "\t" * (1 << 20) + "more than is ever read"):
            with self.subTest(text=text[:40]):
                here = self.begin()
                here.stop_agent(signal.SIGKILL)
                self.file.write_text(text)
                here.start_agent()
                here.await_log("level=warn .*run/kerf/health")
                here.await_allocatable(8)
                self.break_gpu_0(here)
                self.crash(here)
                here.await_allocatable(4)

    def test_may_be_where_one_likes(self):
        here = self.node()
        self.file = pathlib.Path(here.directory) / "state/health"
        here.start(devices=8, state_dir=self.file.parent)
        self.break_gpu_0(here)
        self.crash(here, state_dir=self.file.parent)
        here.await_allocatable(4)
        self.assertFalse((here.root / "run/kerf").exists())

    def test_that_cannot_be_is_told_once_and_no_more(self):
        here = self.node()
        here.start(devices=8, state_dir="/dev/null/nowhere")
        here.await_log("level=warn .*restart of the agent will forget.*/dev/null/nowhere")
        here.fault("xid", "48", "--gpu", "0", "--event-only")
        here.await_allocatable(4)
        here.fault("xid", "95", "--gpu", "1", "--event-only")
        here.await_allocatable(0)
        self.assertEqual(here.log().count("will forget"), 1)


class WhoWouldRestartTheAgent(Restart):
    def ask(self, here, headers):
        host, port = here.address().rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=node.PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/health", headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["status"]

    def test_is_told_that_it_is_alive_while_all_others_are_told_the_truth(self):
        here = self.begin()
        for gpu in ("0", "1"):
            here.fault("xid", "48", "--gpu", gpu, "--event-only")
        here.await_health("failed")
        self.assertEqual(self.ask(here, {}), (503, "failed"))
        self.assertEqual(self.ask(here, {"User-Agent": "kube-probe/1.36"}), (503, "failed"))
        self.assertEqual(self.ask(here, {"Kerf-Probe": "liveness"}), (200, "failed"))

    def test_has_no_reason_either_when_the_driver_is_gone(self):
        here = self.begin()
        here.fault("driver-unload")
        here.agent.signal(signal.SIGHUP)
        here.await_health("failed")
        self.assertEqual(self.ask(here, {}), (503, "failed"))
        self.assertEqual(self.ask(here, {"Kerf-Probe": "liveness"}), (200, "failed"))


if __name__ == "__main__":
    node.main()
