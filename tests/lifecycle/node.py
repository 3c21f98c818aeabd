"""A node for one test: an NVML library, a kubelet and the real agent, each its own process, in a
temporary directory of their own. Nothing here sleeps for a fixed time or uses a fixed port; whatever
a test starts is ended by its process id.

The programs come from the environment (KERF, KUBELET_SIM, NVML_SIM, NVML_LIBRARY, as ctest sets
them) or, for running a file by hand, from the build directory named by KERF_BUILD.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MACHINES = REPOSITORY / "sim" / "machines"
BUILD = pathlib.Path(os.environ.get("KERF_BUILD", REPOSITORY / "build" / "release")).resolve()
KERF = os.environ.get("KERF", str(BUILD / "src/cli/kerf"))
KUBELET_SIM = os.environ.get("KUBELET_SIM", str(BUILD / "sim/kubelet/kubelet-sim"))
NVML_SIM = os.environ.get("NVML_SIM", str(BUILD / "sim/nvml/nvml-sim"))
NVML_LIBRARY = os.environ.get("NVML_LIBRARY", str(BUILD / "sim/nvml/libnvidia-ml.so.1"))

# How long anything may take before a test gives up; far more than it takes, for loaded machines.
PATIENCE = 30.0
NOBODY = 65534
SKIPPED = 77  # The exit status of a file whose tests were all left out, as ctest is told.
GPU = "nvidia.com/gpu"


def eventually(what, holds, seconds=PATIENCE):
    """Waits until `holds()` is true and returns what it returned; says `what` when it never is."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        outcome = holds()
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def config(replicas=None, **options):
    """A configuration file. `options`: flags, plugin, timeSlicing keys as JSON values."""
    lines = ["version: v1"]
    flags = dict(options.get("flags", {}))
    if "plugin" in options:
        flags["plugin"] = options["plugin"]
    if flags:
        lines.append("flags: " + json.dumps(flags))
    if replicas is not None:
        lines += ["sharing:", "  timeSlicing:"]
        for key, value in options.get("timeSlicing", {}).items():
            lines.append(f"    {key}: {json.dumps(value)}")
        lines += ["    resources:", f"      - name: {GPU}", f"        replicas: {replicas}"]
    return "\n".join(lines) + "\n"


class Process:
    """A child whose output goes to a file."""

    def __init__(self, arguments, output, **options):
        self.output = pathlib.Path(output)
        with open(self.output, "ab") as file:
            self.popen = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file,
                                          stderr=subprocess.STDOUT, **options)
        self.pid = self.popen.pid

    def text(self):
        return self.output.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, seconds=PATIENCE):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s; its output:\n{self.text()}") from None

    def end(self):
        if self.running():
            self.popen.kill()
        self.popen.wait()


class Node:
    """`machine`: a name from sim/machines. Ended by `close`, which tests get from NodeTest.node."""

    def __init__(self, machine="rtx3090x2", replicas=4):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kerf-"))
        self.kubelet_directory = self.directory / "kubelet"
        self.kubelet_socket = self.kubelet_directory / "kubelet.sock"
        self.config_file = self.directory / "config.yaml"
        self.root = self.directory / "root"
        self.environment = dict(os.environ, NVML_SIM_STATE=str(self.directory / "sim"))
        for name in list(self.environment):
            if name.startswith("KERF"):
                del self.environment[name]
        self.use_machine(machine)
        self.write_config(config(replicas))
        self.agents = 0
        self.agent = None
        self.kubelet = None
        self.others = []

    def use_machine(self, machine):
        self.environment["NVML_SIM_MACHINE"] = str(MACHINES / f"{machine}.yaml")
        shutil.rmtree(self.root, ignore_errors=True)
        self.sim("tree", str(self.root))
        (self.root / "run").mkdir(exist_ok=True)

    def write_config(self, text):
        self.config_file.write_text(text)

    # --- the machine -----------------------------------------------------------------------------
    def sim(self, *arguments):
        done = subprocess.run([NVML_SIM, *arguments], env=self.environment, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"nvml-sim {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def await_watched(self):
        """The driver's events are waited for; a moment after GPUs are advertised they may not be yet."""
        eventually("events are watched", lambda: 0 < len(self.status()["gpus"]) ==
                   self.metric("kerf_nvml_watched_gpus"))

    def fault(self, *arguments):
        return self.sim("fault", *arguments)

    # --- the kubelet -----------------------------------------------------------------------------
    def start_kubelet(self, *more):
        control = self.directory / "ctl"
        self.kubelet = Process([KUBELET_SIM, "run", "--dir", str(self.kubelet_directory),
                                "--control", str(control), *more], self.directory / "kubelet.log")
        eventually("kubelet-sim listens", self.kubelet_answers)

    def kubelet_answers(self):
        try:
            return self.kubelet_socket.exists() and self.tell_kubelet("pods") is not None
        except OSError:
            return False

    def tell_kubelet(self, command):
        """One command of kubelet-sim, as its --help lists them; the answer as a JSON value."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2 * PATIENCE)
            connection.connect(str(self.directory / "ctl"))
            connection.sendall(command.encode() + b"\n")
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return json.loads(answer)

    def resources(self):
        return self.tell_kubelet("state")["resources"]

    def resource(self, name=GPU):
        return self.resources().get(name, {"allocatable": 0, "capacity": 0, "devices": [],
                                           "connected": False, "registrations": 0})

    def await_allocatable(self, count, name=GPU, seconds=PATIENCE):
        answer = self.tell_kubelet(f"wait {name} {count} {seconds}")
        if not answer.get("ok"):
            raise AssertionError(f"{name}: {answer} instead of {count} allocatable within "
                                 f"{seconds:g} s; the agent says:\n{self.log()}")

    def pod(self, name, count=1, resource=GPU):
        return self.tell_kubelet(f"pod create {name} {resource} {count}")

    def reachable(self, path):
        """A copy of a program or file where any user may read it: a checkout may lie where only
        its owner may look."""
        folder = self.directory / "reachable"
        folder.mkdir(exist_ok=True)
        copy = folder / pathlib.Path(path).name
        if not copy.exists():
            shutil.copy(path, copy)
        return str(copy)

    # --- the agent -------------------------------------------------------------------------------
    def arguments(self, *more, **options):
        """Arguments of `kerf agent` for this node; an option set to None is left out."""
        chosen = {"config_file": self.config_file, "listen": "127.0.0.1:0", "root": self.root,
                  "nvml_library": NVML_LIBRARY, "kubelet_socket": self.kubelet_socket}
        chosen.update(options)
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()
                 if value is not None]
        return flags + list(more)

    def start_agent(self, *more, program=(KERF, "agent"), executable=None, user=None, env=None,
                    **options):
        """Starts the agent and does not wait for anything."""
        self.agents += 1
        environment = {**self.environment, **(env or {})}
        extra = {}
        if user is not None:
            extra = {"user": user, "group": user, "extra_groups": []}
            program = (self.reachable(program[0]), *program[1:])
            options.setdefault("nvml_library", self.reachable(NVML_LIBRARY))
            environment["NVML_SIM_MACHINE"] = self.reachable(environment["NVML_SIM_MACHINE"])
        self.agent = Process([*program, *self.arguments(*more, **options)],
                             self.directory / f"agent{self.agents}.log", executable=executable,
                             env=environment, **extra)
        self.others.append(self.agent)
        return self.agent

    def start(self, *more, devices=None, **options):
        """Kubelet and agent, ready to use: with the pages up, and the devices that the kubelet is
        to see there."""
        if self.kubelet is None:
            self.start_kubelet()
        self.start_agent(*more, **options)
        self.address()
        if devices is not None:
            self.await_allocatable(devices)

    def log(self):
        return self.agent.text() if self.agent else ""

    def await_log(self, pattern, seconds=PATIENCE):
        """The match of a regular expression in the agent's log, once it is there."""
        def found():
            return re.search(pattern, self.log())
        try:
            return eventually(pattern, found, seconds)
        except AssertionError:
            raise AssertionError(f"not in the log within {seconds:g} s: {pattern}\n{self.log()}") from None

    def address(self):
        return self.await_log(r"msg=listening address=(\S+)").group(1)

    def get(self, path):
        """(status, body) of a page."""
        host, port = self.address().rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def health(self):
        """(HTTP status, the JSON value)."""
        status, body = self.get("/health")
        return status, json.loads(body)

    def problems(self):
        return self.health()[1]["problems"]

    def await_problem(self, *patterns, seconds=PATIENCE):
        """The problem in /health whose text has all patterns, and a remedy."""
        def found():
            for problem in self.problems():
                text = f"{problem['what']} {problem['subject']}"
                if problem["remedy"] and all(re.search(p, text) for p in patterns):
                    return problem
            return None
        try:
            return eventually(f"a problem with {patterns}", found, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}; there are {self.problems()}\n{self.log()}") from None

    def await_health(self, word, seconds=PATIENCE):
        try:
            return eventually(f"health {word}", lambda: self.health()[1]["status"] == word, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}; it is {self.health()}\n{self.log()}") from None

    def status(self):
        return json.loads(self.get("/api/status")[1])

    def metric(self, name, **labels):
        """The sum over all samples with these labels; None when there is none."""
        total = None
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if not match or match.group(1) != name:
                continue
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2) or ""))
            if all(pairs.get(key) == value for key, value in labels.items()):
                total = (total or 0) + float(match.group(3))
        return total

    def kerf(self, *arguments, env=None):
        """Any kerf command; the finished process."""
        return subprocess.run([KERF, *arguments], env={**self.environment, **(env or {})},
                              capture_output=True, text=True, timeout=PATIENCE, check=False)

    def sockets(self):
        """Plugin sockets in the kubelet's directory."""
        return sorted(p.name for p in self.kubelet_directory.glob("nvidia*"))

    def stop_agent(self, number=signal.SIGTERM):
        """The exit status."""
        self.agent.signal(number)
        return self.agent.wait()

    def close(self):
        for process in [*self.others, self.kubelet]:
            if process is not None:
                process.end()
        shutil.rmtree(self.directory, ignore_errors=True)


class NodeTest(unittest.TestCase):
    """Tests that make nodes. A failing test prints the agent's log."""

    def node(self, *arguments, **options):
        node = Node(*arguments, **options)
        self.addCleanup(node.close)
        return node

    def assertLeavesNothing(self, node):
        self.assertEqual(node.sockets(), [])


def main():
    """Runs the tests of the calling file, several at a time: they wait far more than they compute."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    wanted = sys.argv[1:]
    tests = [test for test in flatten(suite) if not wanted or any(w in test.id() for w in wanted)]
    workers = int(os.environ.get("KERF_TEST_WORKERS", "6"))
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(run_one, tests))
    failures = [entry for result in results for entry in result.failures + result.errors]
    for test, text in failures:
        print(f"FAIL {test.id()}\n{text}")
    skipped = sum(len(result.skipped) for result in results)
    print(f"{len(tests) - len(failures) - skipped} passed, {len(failures)} failed, {skipped} skipped "
          f"in {time.monotonic() - started:.1f} s")
    reasons = [reason for result in results for _, reason in result.skipped]
    if tests and len(reasons) == len(tests):
        print(f"skipped whole: {reasons[0]}")
        sys.exit(SKIPPED)
    sys.exit(1 if failures or not tests else 0)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def run_one(test):
    result = unittest.TestResult()
    started = time.monotonic()
    test.run(result)
    print(f"{'ok  ' if result.wasSuccessful() else 'FAIL'} {test.id()} "
          f"({time.monotonic() - started:.1f} s)", flush=True)
    for _, reason in result.skipped:
        print(f"     skipped: {reason}", flush=True)
    return result
