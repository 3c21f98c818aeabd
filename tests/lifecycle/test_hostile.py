"""Wrong flags, taken addresses, missing rights, closed streams, crowds."""

import contextlib
import os
import socket
import subprocess
import unittest

import node
from node import KERF, NOBODY, PATIENCE, config, eventually


class WrongFlags(node.NodeTest):
    def refused(self, status, pattern, *flags, env=None):
        here = self.node()
        here.start_agent(*flags, env=env)
        self.assertEqual(here.agent.wait(), status)
        self.assertRegex(here.log(), pattern)
        self.assertEqual(len(here.log().splitlines()), 1, here.log())

    def test_are_refused_with_the_flag_that_was_meant(self):
        self.refused(2, r"unknown flag: --log-levl \(did you mean --log-level\?\)", "--log-levl=info")
        self.refused(2, "--pass-device-spec.*did you mean --pass-device-specs", "--pass-device-spec")

    def test_are_refused_when_nothing_is_like_them(self):
        self.refused(2, "unknown flag: --xyzzy.*kerf agent --help", "--xyzzy")
        self.refused(2, "unexpected argument", "serve")

    def test_are_refused_with_what_is_allowed(self):
        self.refused(1, "--log-level option: loud.*debug, info, warn, error", "--log-level=loud")
        self.refused(1, "--mig-strategy|MIG strategy: all.*none, single, mixed", "--mig-strategy=all")
        self.refused(1, "components.*gpus.*devices, http", "--components=gpus")
        self.refused(1, "listen.*host:port", "--listen=127.0.0.1:99999")
        self.refused(1, "root.*absolute", "--root=relative")

    def test_in_the_environment_are_refused_with_the_variables_name(self):
        self.refused(1, "MIG_STRATEGY", env={"MIG_STRATEGY": "all"})
        self.refused(1, "PASS_DEVICE_SPECS", env={"PASS_DEVICE_SPECS": "maybe"})
        self.refused(1, "KERF_LOG_LEVEL", env={"KERF_LOG_LEVEL": "loud"})

    def test_of_switches_are_refused_with_the_words_they_know(self):
        self.refused(1, "pass-device-specs.*true", "--pass-device-specs=perhaps")

    def test_like_a_missing_file_name_the_flag(self):
        self.refused(1, r"/nowhere/config\.yaml.*--config-file", "--config-file=/nowhere/config.yaml")


class Addresses(node.NodeTest):
    def test_that_are_taken_are_named_with_the_remedy(self):
        here = self.node()
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            here.start_kubelet()
            here.start_agent(listen=address)
            self.assertEqual(here.agent.wait(), 1)
        self.assertRegex(here.log(), rf"level=error .*in use.*subject={address}.*--listen")
        self.assertLeavesNothing(here)
        self.assertEqual(here.resource()["allocatable"], 0)

    def test_that_this_machine_has_not_are_named(self):
        here = self.node()
        here.start_agent(listen="192.0.2.1:2112")
        self.assertEqual(here.agent.wait(), 1)
        self.assertRegex(here.log(), r"subject=192\.0\.2\.1:2112.*does not have that address")

    def test_of_ipv6_and_of_everything_work(self):
        for listen, expected in (("[::1]:0", r"\[::1\]:\d+"), ("0.0.0.0:0", r"0\.0\.0\.0:\d+")):
            with self.subTest(listen=listen):
                here = self.node()
                here.start_kubelet()
                here.start_agent(listen=listen)
                match = here.await_log(r"msg=listening address=(\S+)|level=error.*family")
                if match.group(1) is None:
                    self.skipTest("this machine has no IPv6")
                self.assertRegex(match.group(1), expected)
                here.await_allocatable(8)

    def test_can_be_none(self):
        here = self.node()
        here.start_kubelet()
        here.start_agent(listen="none")
        here.await_allocatable(8)
        self.assertNotIn("room=http", here.log())
        self.assertEqual(here.stop_agent(), 0)


@unittest.skipUnless(os.geteuid() == 0, "needs root to run the agent as another user")
class AnUnprivilegedAgent(node.NodeTest):
    def node(self, *arguments, **options):
        here = super().node(*arguments, **options)
        os.chmod(here.directory, 0o711)
        (here.directory / "sim").mkdir(exist_ok=True)
        return here

    def test_serves_where_it_may_write(self):
        here = self.node()
        here.start_kubelet()
        os.chown(here.kubelet_directory, NOBODY, NOBODY)
        os.chmod(here.kubelet_socket, 0o666)
        here.start_agent(user=NOBODY)
        here.await_allocatable(8)
        self.assertEqual(here.pod("one")["phase"], "Running")
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_says_which_directory_it_may_not_write_and_tries_again(self):
        here = self.node()
        here.start_kubelet()
        os.chmod(here.kubelet_directory, 0o755)
        os.chmod(here.kubelet_socket, 0o666)
        here.start_agent(user=NOBODY)
        problem = here.await_problem(str(here.kubelet_directory), "(?i:permission)", str(NOBODY))
        self.assertRegex(problem["what"] + problem["remedy"], "writable")
        os.chown(here.kubelet_directory, NOBODY, NOBODY)
        here.await_allocatable(8)
        here.await_health("ok")

    def test_says_that_it_may_not_reach_the_kubelet_and_tries_again(self):
        here = self.node()
        here.start_kubelet()
        os.chown(here.kubelet_directory, NOBODY, NOBODY)
        os.chmod(here.kubelet_socket, 0o600)
        here.start_agent(user=NOBODY)
        here.await_problem("(?i:permission)", "kubelet.sock", str(NOBODY), "kerf prepare")
        os.chmod(here.kubelet_socket, 0o666)
        here.await_allocatable(8)

    def test_says_whose_stale_socket_it_may_not_replace(self):
        here = self.node()
        here.start_kubelet()
        os.chmod(here.kubelet_directory, 0o1777)
        os.chmod(here.kubelet_socket, 0o666)
        stale = here.kubelet_directory / "nvidia-gpu.sock"
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(stale))
        here.start_agent(user=NOBODY)
        here.await_problem("nvidia-gpu.sock", "(?i:permi|owned|user 0|another process)")
        stale.unlink()
        here.await_allocatable(8)


class AFullDisk(node.NodeTest):
    def test_is_named_with_the_path(self):
        here = self.node()
        here.kubelet_directory.mkdir()
        mount = f"mount -t tmpfs -o nr_inodes=1 none {here.kubelet_directory}"
        enter = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
        if subprocess.run([*enter, mount], capture_output=True, check=False).returncode != 0:
            self.skipTest("this machine lets nobody make a mount namespace")
        here.start_agent(program=(*enter, mount + ' && exec "$@"', "sh", KERF, "agent"))
        problem = here.await_problem("No space left", str(here.kubelet_directory))
        self.assertIn("free space", problem["what"] + problem["remedy"])
        self.assertEqual(here.stop_agent(), 0)


class ClosedStreams(node.NodeTest):
    def run_without(self, closing):
        here = self.node()
        here.start_kubelet()
        script = f'exec "$@" {closing}'
        here.start_agent(program=("sh", "-c", script, "sh", KERF, "agent"))
        here.await_allocatable(8)
        pod = here.pod("one")
        self.assertEqual(pod["phase"], "Running")
        here.write_config(config(10))
        here.await_allocatable(20)
        here.write_config(config(0))
        here.write_config(config(2))
        here.await_allocatable(4)
        for _ in range(3):
            here.tell_kubelet("restart")
            here.await_allocatable(4)
        self.assertEqual(here.stop_agent(), 0)
        self.assertLeavesNothing(here)

    def test_do_not_matter(self):
        self.run_without("<&- >&- 2>&-")

    def test_of_the_log_do_not_matter(self):
        self.run_without("2>&-")

    def test_of_a_reader_that_went_away_do_not_matter(self):
        here = self.node()
        here.start_kubelet()
        here.start_agent(program=("sh", "-c", '"$@" 2>&1 | true', "sh", KERF, "agent"))
        here.await_allocatable(8)
        agent = children(here.agent.pid)[0]
        self.addCleanup(end_children, here.agent.pid)
        for turn in range(3):
            here.write_config(config(3 + turn))
            here.await_allocatable(2 * (3 + turn))
        os.kill(agent, 15)
        here.await_allocatable(0)
        self.assertLeavesNothing(here)


def end_children(pid):
    for child in children(pid):
        with contextlib.suppress(ProcessLookupError):  # it may be ending by itself
            os.kill(child, 9)


def children(pid):
    """Process ids of kerf among the descendants of `pid`."""
    found = []
    for line in os.popen("ps -eo pid=,ppid=,comm=").read().splitlines():
        child, parent, command = line.split(None, 2)
        if int(parent) == pid:
            found += [int(child)] if command == "kerf" else children(int(child))
    return found


class Crowds(node.NodeTest):
    def test_of_connections_to_the_page_lock_nobody_out(self):
        here = self.node()
        here.start(devices=8)
        host, port = here.address().rsplit(":", 1)
        idle = []
        try:
            for _ in range(300):
                idle.append(socket.create_connection((host, int(port)), timeout=PATIENCE))
            for path in ("/healthz", "/metrics", "/health", "/"):
                self.assertEqual(here.get(path)[0], 200)
            self.assertEqual(here.pod("one")["phase"], "Running")
        finally:
            for connection in idle:
                connection.close()
        eventually("they are gone", lambda: here.metric("kerf_http_connections") <= 3)

    def test_of_connections_to_the_plugin_do_not_stop_the_kubelet(self):
        here = self.node()
        here.start(devices=8)
        idle = []
        try:
            for _ in range(200):
                idle.append(socket.socket(socket.AF_UNIX))  # waits while the backlog is full
                idle[-1].connect(str(here.kubelet_directory / "nvidia-gpu.sock"))
            self.assertEqual(here.pod("one")["phase"], "Running")
            here.tell_kubelet("restart")
            here.await_allocatable(8)
        finally:
            for client in idle:
                client.close()
        self.assertEqual(here.stop_agent(), 0)

    def test_that_ask_nonsense_are_answered(self):
        here = self.node()
        here.start(devices=8)
        host, port = here.address().rsplit(":", 1)
        for text in (b"\x16\x03\x01\x00", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", os.urandom(10_000),
                     b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
                try:
                    client.sendall(text)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
                except OSError:
                    pass
        self.assertEqual(here.get("/healthz")[0], 200)

    def test_of_agents_on_one_machine_see_the_same_gpus(self):
        first, second = self.node(), self.node()
        second.environment["NVML_SIM_STATE"] = first.environment["NVML_SIM_STATE"]
        first.start(devices=8)
        second.start(devices=8)
        first.fault("xid", "79", "--gpu", "0")
        first.await_allocatable(4)
        second.await_allocatable(4)


if __name__ == "__main__":
    node.main()
