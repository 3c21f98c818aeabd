"""The end of the agent, asked for in every way and at bad moments."""

import signal
import subprocess

import node
from node import KERF, config, eventually


class Stopping(node.NodeTest):
    def test_by_each_signal_ends_well_and_removes_the_sockets(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(signal=number):
                here = self.node()
                here.start(devices=8)
                self.assertEqual(here.stop_agent(number), 0)
                self.assertLeavesNothing(here)
                self.assertRegex(here.log(), rf"msg=ending signal={int(number)}\n(.|\n)*msg=stopped "
                                             "status=0\n$")
                here.await_allocatable(0)

    def test_with_several_resources_removes_all_their_sockets(self):
        here = self.node("a100-80x1-mig")
        here.write_config(config(flags={"migStrategy": "mixed"}))
        here.start()
        eventually("three", lambda: len(here.sockets()) == 3)
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_at_once_after_the_start_ends_well(self):
        here = self.node()
        here.start_kubelet()
        for _ in range(5):
            here.start_agent()
            here.await_log("msg=starting")
            self.assertEqual(here.stop_agent(), 0)
            self.assertLeavesNothing(here)

    def test_while_the_driver_hangs_ends_well(self):
        for call in ("Init_v2", "DeviceGetCount_v2", "DeviceGetUUID", "EventSetWait_v2", "Shutdown"):
            with self.subTest(call=call):
                here = self.node()
                here.start_kubelet()
                here.fault("hang", "--call", call)
                here.start_agent()
                here.address()
                if call in ("EventSetWait_v2", "Shutdown"):
                    here.await_allocatable(8)
                self.assertEqual(here.stop_agent(), 0)
                self.assertLeavesNothing(here)

    def test_while_the_driver_is_slow_ends_well(self):
        here = self.node()
        here.start_kubelet()
        here.fault("slow", "--call", "*", "--ms", "700")
        here.start_agent()
        here.address()
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_while_the_kubelet_hangs_ends_well(self):
        here = self.node()
        here.start_kubelet()
        here.tell_kubelet("hang")
        here.start_agent()
        here.await_log("msg=serving")
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_while_the_kubelet_is_stopped_ends_well(self):
        here = self.node()
        here.start(devices=8)
        here.kubelet.signal(signal.SIGSTOP)
        try:
            self.assertEqual(here.stop_agent(), 0)
        finally:
            here.kubelet.signal(signal.SIGCONT)
        self.assertLeavesNothing(here)

    def test_a_second_signal_ends_it_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                here = self.node()
                here.start(devices=8)
                here.fault("hang", "--call", "Shutdown")  # so that the first takes a while
                here.fault("hang", "--call", "EventSetWait_v2")
                here.agent.signal(signal.SIGTERM)
                here.await_log("msg=ending")
                here.agent.signal(number)
                # Had the first been done already, its status is as good.
                status = here.agent.wait()
                ended = "msg=stopped" in here.log()
                self.assertEqual(status, 0 if ended else 1)

    def test_again_and_again_leaves_the_kubelet_well(self):
        here = self.node()
        here.start(devices=8)
        for _ in range(5):
            self.assertEqual(here.stop_agent(), 0)
            here.await_allocatable(0)
            here.start(devices=8)
        here.await_health("ok")

    def test_frees_the_address_for_the_next(self):
        here = self.node()
        here.start(devices=8)
        address = here.address()
        here.get("/metrics")
        self.assertEqual(here.stop_agent(), 0)
        here.start(devices=8, listen=address)
        self.assertEqual(here.address(), address)


class TheFirstProcessOfAContainer(node.NodeTest):
    def test_ends_on_both_signals_too(self):
        """There is no default action for signals there."""
        probe = subprocess.run(["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"],
                               capture_output=True, check=False)
        if probe.returncode != 0:
            self.skipTest("this machine lets nobody make a pid namespace")
        here = self.node()
        here.start_kubelet()
        # unshare ignores SIGTERM for itself; the signal goes to its child, the agent.
        # A sanitizer's leak check looks for its threads in /proc, which shows another namespace's.
        here.start_agent(program=("unshare", "--user", "--map-root-user", "--pid", "--fork",
                                  "--kill-child", KERF, "agent"),
                         env={"ASAN_OPTIONS": "detect_leaks=0"})
        here.await_allocatable(8)
        child = int(subprocess.run(["ps", "-o", "pid=", "--ppid", str(here.agent.pid)],
                                   capture_output=True, text=True, check=True).stdout)
        subprocess.run(["kill", "-TERM", str(child)], check=True)
        self.assertEqual(here.agent.wait(), 0)
        self.assertLeavesNothing(here)


if __name__ == "__main__":
    node.main()
