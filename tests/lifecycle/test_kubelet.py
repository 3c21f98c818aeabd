"""A kubelet that is restarted, late, rude or gone."""

import os
import re
import signal
import socket

import node
from node import config, eventually


class ARestartedKubelet(node.NodeTest):
    def test_has_everything_again_twenty_times_over(self):
        here = self.node()
        here.start(devices=8)
        first = here.agent.pid
        for turn in range(1, 21):
            self.assertTrue(here.tell_kubelet("restart")["ok"])
            eventually("registered again", lambda n=turn: here.resource()["registrations"] > n)
            here.await_allocatable(8)
        self.assertEqual((here.agent.pid, here.agent.running()), (first, True))
        # Once a kubelet, and once more where our own socket was found missing only afterwards.
        self.assertLessEqual(here.resource()["registrations"], 41)
        self.assertEqual(here.pod("after")["phase"], "Running")
        here.await_health("ok")

    def test_has_every_resource_again(self):
        here = self.node("a100-80x1-mig")
        here.write_config(config(flags={"migStrategy": "mixed"}))
        here.start()
        names = ("nvidia.com/mig-1g.10gb", "nvidia.com/mig-2g.20gb", "nvidia.com/mig-3g.40gb")
        for _ in range(3):
            for name, count in zip(names, (2, 1, 1)):
                here.await_allocatable(count, name)
            self.assertEqual(len(here.sockets()), 3)
            self.assertTrue(here.tell_kubelet("restart")["ok"])

    def test_that_was_killed_is_found_again(self):
        here = self.node()
        here.start(devices=8)
        here.kubelet.end()  # as by the OOM killer: its socket stays behind
        here.kubelet_socket.unlink()
        (here.directory / "ctl").unlink()
        here.await_problem("not registered|kubelet", "kubelet.sock")
        here.start_kubelet()
        here.await_allocatable(8)
        here.await_health("ok")

    def test_that_only_lost_its_connection_has_it_again(self):
        here = self.node()
        here.start(devices=8)
        here.tell_kubelet("drop nvidia.com/gpu")
        here.tell_kubelet("restart")
        here.await_allocatable(8)


class AnAbsentKubelet(node.NodeTest):
    def test_is_waited_for(self):
        here = self.node()
        here.kubelet_directory.mkdir()
        here.start_agent()
        here.await_problem("nvidia.com/gpu", "kubelet.sock")
        self.assertEqual(here.health()[0], 200)
        self.assertEqual(here.get("/readyz")[0], 503)
        here.start_kubelet()
        here.await_allocatable(8)
        here.await_health("ok")
        self.assertEqual(here.get("/readyz")[0], 200)

    def test_is_waited_for_even_when_its_directory_is_missing(self):
        here = self.node()
        here.start_agent()
        problem = here.await_problem("nvidia.com/gpu", str(here.kubelet_directory))
        self.assertRegex(problem["what"] + problem["remedy"], "directory")
        here.start_kubelet()
        here.await_allocatable(8)
        here.await_health("ok")

    def test_is_not_missed_when_only_the_pages_are_wanted(self):
        here = self.node()
        here.start_agent("--components=http")
        here.await_health("ok")
        self.assertEqual(here.get("/readyz")[0], 200)
        self.assertEqual(len(here.status()["gpus"]), 2)


class ARudeKubelet(node.NodeTest):
    def survive(self, mode, *said):
        here = self.node()
        here.start(devices=8)
        here.tell_kubelet(mode)
        problem = here.await_problem("not registered", *said)
        self.assertTrue(here.agent.running())
        self.assertEqual(here.status()["resources"][0]["registered"], False)
        eventually("the error is shown", lambda:
                   re.search(said[0], here.status()["resources"][0]["last_error"]))
        self.assertIn("again by itself", problem["remedy"])
        here.await_log(rf"level=warn room=kubelet .*{said[0]}")
        eventually("it is counted", lambda:
                   here.metric("kerf_registrations_total", result="failed") >= 1)
        failed = here.metric("kerf_registrations_total", result="failed")
        eventually("it is tried again", lambda:
                   here.metric("kerf_registrations_total", result="failed") > failed)
        self.assertLessEqual(here.log().count('msg="not registered"'), 3)  # no line a try
        here.tell_kubelet("normal")
        here.await_allocatable(8)
        here.await_health("ok")
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_that_refuses_is_asked_again(self):
        self.survive("reject", "registration rejected")

    def test_that_hangs_is_asked_again(self):
        self.survive("hang", "(?i:time|deadline|answer)")

    def test_that_answers_garbage_is_asked_again(self):
        self.survive("garbage", ".")


class SocketsOfOthers(node.NodeTest):
    def test_a_stale_socket_of_a_killed_agent_is_replaced(self):
        here = self.node()
        here.start(devices=8)
        self.assertEqual(here.stop_agent(signal.SIGKILL), -signal.SIGKILL)
        self.assertEqual(here.sockets(), ["nvidia-gpu.sock"])
        here.await_allocatable(0)
        for _ in range(3):
            here.start(devices=8)
            here.agent.end()
            here.await_allocatable(0)
        here.start(devices=8)
        here.await_health("ok")

    def test_a_removed_socket_is_put_back(self):
        here = self.node()
        here.start(devices=8)
        (here.kubelet_directory / "nvidia-gpu.sock").unlink()
        eventually("registered again", lambda: here.resource()["registrations"] == 2)
        here.await_allocatable(8)

    def test_a_directory_in_the_way_is_named_and_waited_out(self):
        here = self.node()
        here.start_kubelet()
        blocked = here.kubelet_directory / "nvidia-gpu.sock"
        blocked.mkdir()
        here.start_agent()
        problem = here.await_problem("nvidia.com/gpu", str(blocked), "directory")
        self.assertTrue(problem["remedy"])
        here.await_log("remove the directory")
        blocked.rmdir()
        here.await_allocatable(8)

    def test_a_plain_file_in_the_way_is_left_alone(self):
        here = self.node()
        here.start_kubelet()
        precious = here.kubelet_directory / "nvidia-gpu.sock"
        precious.write_text("precious")
        here.start_agent()
        here.await_problem("not a socket", str(precious))
        self.assertEqual(here.stop_agent(), 0)
        self.assertEqual(precious.read_text(), "precious")

    def test_a_second_agent_waits_until_the_first_has_gone(self):
        here = self.node()
        here.start(devices=8)
        first = here.agent
        here.start_agent()
        here.await_problem("another process", "nvidia-gpu.sock")
        self.assertEqual(here.resource()["allocatable"], 8)
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), 0)
        eventually("the second took over", lambda: here.resource()["registrations"] >= 2)
        here.await_allocatable(8)

    def test_a_path_longer_than_a_socket_can_have_is_said(self):
        here = self.node()
        deep = here.directory / ("d" * 60) / ("e" * 60)
        deep.mkdir(parents=True)
        here.start_agent(kubelet_socket=deep / "kubelet.sock")
        here.await_problem("more than the 107", str(deep))
        self.assertEqual(here.stop_agent(), 0)

    def test_a_kubelet_socket_that_is_a_directory_is_said(self):
        here = self.node()
        (here.kubelet_directory / "kubelet.sock").mkdir(parents=True)
        here.start_agent()
        here.await_problem("not registered", "kubelet.sock")
        self.assertEqual(here.stop_agent(), 0)

    def test_a_client_that_says_garbage_harms_nobody(self):
        here = self.node()
        here.start(devices=8)
        for text in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                     + b"\xff" * 100):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(here.kubelet_directory / "nvidia-gpu.sock"))
                try:
                    client.sendall(text)
                    client.recv(100)
                except OSError:
                    pass
        self.assertEqual(here.pod("after")["phase"], "Running")


if __name__ == "__main__":
    node.main()
