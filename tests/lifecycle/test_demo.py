"""`./dev run`, the first command of the README: the simulated node starts, places pods, answers, and is
gone after Ctrl-C. The building before it is left out: the programs under test are used."""

import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import tempfile
import unittest

import node
from node import REPOSITORY, Process, eventually

BUILD = pathlib.Path(node.KERF).resolve().parents[2]
COLOURS = re.compile(r"\x1b\[\d*m")


def free_port():
    """One that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def processes_of(session):
    """What runs in a session: [(pid, name)]."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text().rpartition(")")
        except OSError:
            continue
        if int(after.split()[3]) == session and after.split()[0] != "Z":
            found.append((int(path.parent.name), before.partition("(")[2]))
    return found


class Demo:
    """The demo in a terminal of its own, as far as signals go."""

    def __init__(self, test, *arguments, program=(REPOSITORY / "tools/demo", BUILD), env=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kerf-demo-"))
        test.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.scratch = self.directory / "tmp"
        self.scratch.mkdir()
        self.port = free_port()
        self.process = Process([*map(str, program), "--port", str(self.port), *arguments],
                               self.directory / "output", start_new_session=True,
                               env={**os.environ, "TMPDIR": str(self.scratch), **(env or {})})
        test.addCleanup(self.end)

    def text(self):
        return COLOURS.sub("", self.process.text())

    def await_text(self, pattern):
        try:
            return eventually(pattern, lambda: re.search(pattern, self.text(), re.M))
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.text()}") from None

    def get(self, path, accept):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=node.PATIENCE)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def interrupt(self, number=signal.SIGINT):
        """What a terminal does at Ctrl-C, or when it is closed: everything in it gets the signal."""
        os.killpg(self.process.pid, number)
        return self.process.wait()

    def left(self):
        return processes_of(self.process.pid)

    def end(self):
        for pid, _ in self.left():
            os.kill(pid, signal.SIGKILL)
        self.process.end()


def standing_in(directory, name, script):
    path = directory / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class TheDemo(unittest.TestCase):
    def assertIsGone(self, demo):
        eventually("no process is left", lambda: not demo.left())
        self.assertEqual(list(demo.scratch.iterdir()), [])
        with socket.socket() as one:
            self.assertNotEqual(one.connect_ex(("127.0.0.1", demo.port)), 0, "the port is still open")

    def test_places_pods_answers_and_ends_with_ctrl_c(self):
        demo = Demo(self)
        demo.await_text(r"^kubelet +\S+ kubelet \| capacity nvidia\.com/gpu: 8, allocatable: 8$")
        demo.await_text(r"^kubelet +\S+ kubelet \| pod job-2 Running on GPU-\S+::\d$")
        demo.await_text(r"^kerf +.* msg=allocated resource=nvidia\.com/gpu ids=GPU-\S+::\d")
        # What is printed is true.
        page = re.search(r"page +http://127\.0\.0\.1:(\d+)/", demo.text())
        self.assertEqual(int(page.group(1)), demo.port)
        status, text = demo.get("/", "text/html")
        self.assertEqual(status, 200)
        self.assertIn("<html", text)
        self.assertEqual(demo.get("/health", "*/*")[0], 200)
        command = re.search(r"terminal +(\S+) status --address (\S+)", demo.text())
        shown = Process([command.group(1), "status", "--address", command.group(2)],
                        demo.directory / "status")
        self.assertEqual(shown.wait(), 0)
        self.assertRegex(shown.text(), r"RTX 3090")
        self.assertEqual(demo.interrupt(), 0, demo.text())
        self.assertRegex(demo.text(), r"(?m)^kerf +.* msg=stopped")
        self.assertIsGone(demo)

    def test_ends_as_well_when_asked_to_or_when_its_terminal_goes(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                demo = Demo(self, "--no-pods")
                demo.await_text("msg=registered")
                demo.interrupt(number)
                self.assertIsGone(demo)

    def test_reads_its_configuration_again_when_that_is_edited(self):
        demo = Demo(self, "--no-pods", "--replicas", "2")
        demo.await_text(r"capacity nvidia\.com/gpu: 4, allocatable: 4$")
        config = pathlib.Path(demo.await_text(r"config +(\S+) ").group(1))
        config.write_text(config.read_text().replace("replicas: 2", "replicas: 5"))
        demo.await_text(r"capacity nvidia\.com/gpu: 10, allocatable: 10$")
        self.assertNotIn("Running on", demo.text())

    def test_breaks_a_gpu_by_the_command_that_it_prints(self):
        demo = Demo(self, "--no-pods")
        demo.await_text(r"allocatable: 8$")
        shown = demo.await_text(r"faults +(.*)\\\n +(.*)$")
        broken = Process(["sh", "-c", shown.group(1) + shown.group(2)], demo.directory / "fault")
        self.assertEqual(broken.wait(), 0, broken.text())
        demo.await_text(r"capacity nvidia\.com/gpu: 8, allocatable: 4$")

    def test_plays_another_machine(self):
        demo = Demo(self, "--no-pods", "--machine", "a100-80x1-mig", "--replicas", "3")
        demo.await_text(r"msg=registered")
        demo.await_text(r'name="?NVIDIA A100')

    def test_refuses_what_it_does_not_know(self):
        for arguments, word in ((("--frequency", "2"), "usage: ./dev run"),
                                (("--machine", "abacus"), "rtx3090x2")):
            demo = Demo(self, *arguments)
            self.assertEqual(demo.process.wait(), 2)
            self.assertIn(word, demo.text())

    def test_says_so_when_its_port_is_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            demo = Demo(self, "--port", port)
            self.assertNotEqual(demo.process.wait(), 0)
            self.assertIn(port, demo.text().partition("ends everything")[2])
        self.assertEqual(demo.left(), [])
        self.assertEqual(list(demo.scratch.iterdir()), [])

    def test_is_what_dev_run_starts_once_the_programs_are_built(self):
        checkout = pathlib.Path(tempfile.mkdtemp(prefix="kerf-checkout-"))
        self.addCleanup(shutil.rmtree, checkout, ignore_errors=True)
        shutil.copy(REPOSITORY / "dev", checkout / "dev")
        for name in ("tools", "sim"):
            (checkout / name).symlink_to(REPOSITORY / name)
        (checkout / "build").mkdir()
        (checkout / "build/release").symlink_to(BUILD)
        programs = checkout / "programs"
        programs.mkdir()
        standing_in(programs, "cmake", f'echo "$@" >>{checkout}/cmake.log\n')
        standing_in(programs, "dpkg-query", "echo install ok installed\n")
        demo = Demo(self, program=(checkout / "dev", "run"),
                    env={"PATH": f"{programs}:{os.environ['PATH']}"})
        demo.await_text(r"pod job-1 Running on GPU-")
        self.assertEqual(demo.interrupt(), 0, demo.text())
        self.assertIsGone(demo)
        built = (checkout / "cmake.log").read_text()
        self.assertIn("--preset release", built)
        targets = set(built.partition("--target ")[2].split())
        # Each program that the demo starts is of a target that is built for it, by its own name.
        for name, target in (("kerf", "kerf"), ("kubelet-sim", "kubelet-sim"),
                             ("nvml-sim", "nvml_sim_tool"), ("libnvidia-ml.so.1", "nvml_sim")):
            self.assertIn(target, targets, name)


if __name__ == "__main__":
    node.main()
