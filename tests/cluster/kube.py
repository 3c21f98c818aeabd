"""What the cluster suite is written with: checks that print one line each, the API server's plain
HTTP interface, a record of the node's GPU counts over time, and commands with and without a
terminal. Runs inside the node (see `enter`); the addresses are those of its private network."""

import contextlib
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time

RESOURCE = "nvidia.com/gpu"
NAMESPACE = "gpu-device-plugin"
PLUGIN = "app.kubernetes.io/name=nvidia-device-plugin"
NODE = os.environ.get("KERF_CLUSTER_NODE", "kerf-node")
WORK = os.environ.get("KERF_CLUSTER_WORK", "")


class CheckFailed(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise CheckFailed(message)


class Report:
    """Counts checks; prints `ok N - name` or `not ok N - name` and why."""

    def __init__(self, only=None):
        self.passed = self.failed = self.skipped = 0
        self.only = re.compile(only) if only else None

    def check(self, name, function, *args):
        if self.only and not self.only.search(name):
            return None
        number = self.passed + self.failed + self.skipped + 1
        started = time.monotonic()
        try:
            note = function(*args)
        except Exception as error:  # A broken check must not hide those after it.
            self.failed += 1
            kind = "" if isinstance(error, CheckFailed) else f"{type(error).__name__}: "
            print(f"not ok {number} - {name}")
            print("    " + f"{kind}{error}".replace("\n", "\n    "), flush=True)
            return False
        self.passed += 1
        took = time.monotonic() - started
        print(f"ok {number} - {name} ({took:.1f} s)" + (f": {note}" if note else ""), flush=True)
        return True

    def skip(self, name, reason):
        number = self.passed + self.failed + self.skipped + 1
        self.skipped += 1
        print(f"ok {number} - {name} # skipped: {reason}", flush=True)

    def finish(self):
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{tail}", flush=True)
        return 1 if self.failed else 0


def eventually(seconds, function, what):
    """Repeats the function until it gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            result = function()
            if result:
                return result
        except (CheckFailed, OSError, KeyError, http.client.HTTPException) as error:
            last = error
        if time.monotonic() > deadline:
            raise CheckFailed(f"not within {seconds} s: {what}" + (f" ({last})" if last else ""))
        time.sleep(0.05)


def run(command, timeout=120, stdin=None):
    """Runs a shell command as a user would; gives (exit status, stdout and stderr together)."""
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, text=True, input=stdin,
                          stdin=None if stdin is not None else subprocess.DEVNULL)
    return done.returncode, done.stdout


def run_on_terminal(command, timeout=120):
    """The same on a pseudo terminal, for commands with -it."""
    done = subprocess.run(["script", "-qefc", "bash -c " + quoted(command), "/dev/null"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    # Without an input `script` types an end of it, which the terminal echoes somewhere in between.
    return done.returncode, re.sub(r"\^@|\0", "", done.stdout.decode(errors="replace").replace("\r\n", "\n"))


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


class Api:
    """The API server, as its administrator."""

    def __init__(self):
        with open(f"{WORK}/pki/tokens.csv") as tokens:
            self.token = next(line.split(",")[0] for line in tokens if ",admin,admin," in line)
        self.tls = ssl.create_default_context(cafile=f"{WORK}/pki/ca.crt")

    def open(self, method, path, body=None, kind="application/json", timeout=30):
        connection = http.client.HTTPSConnection("127.0.0.1", 443, context=self.tls,
                                                 timeout=timeout)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Authorization": f"Bearer {self.token}", "Content-Type": kind})
        return connection.getresponse()

    def call(self, method, path, body=None, kind="application/json"):
        response = self.open(method, path, body, kind)
        answer = json.loads(response.read())
        expect(response.status < 400, f"{method} {path}: {answer.get('message', answer)}")
        return answer

    def get(self, path):
        return self.call("GET", path)

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def node(self):
        return self.get(f"/api/v1/nodes/{NODE}")

    def gpus(self, which="allocatable"):
        return int(self.node()["status"][which].get(RESOURCE, "0"))

    def pods(self, selector="", namespace=NAMESPACE):
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}"
        return self.get(path)["items"]

    def pod(self, name, namespace=NAMESPACE):
        return self.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def plugin_pod(self):
        pods = [p for p in self.pods(PLUGIN) if "deletionTimestamp" not in p["metadata"]
                and p["metadata"]["name"].startswith("nvidia-device-plugin-daemonset-")]
        expect(len(pods) == 1, f"{len(pods)} plugin pods in place of one")
        return pods[0]

    def log(self, name, namespace=NAMESPACE, container=""):
        response = self.open("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log" +
                             (f"?container={container}" if container else ""))
        return response.read().decode(errors="replace")

    def events(self, pod, namespace=NAMESPACE):
        path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name={pod}"
        return [f"{e['reason']}: {e['message']}" for e in self.get(path)["items"]]


class GpuHistory:
    """Every change of the node's GPU counts while it is open, seen through a watch."""

    def __init__(self, api):
        self.api = api
        self.changes = []  # (monotonic time, capacity, allocatable)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self):
        self.thread.start()
        eventually(10, lambda: self.changes, "the node's GPU counts")
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join(timeout=15)

    def _note(self, node):
        status = node.get("status", {})
        counts = tuple(int(status.get(k, {}).get(RESOURCE, "0"))
                       for k in ("capacity", "allocatable"))
        if not self.changes or self.changes[-1][1:] != counts:
            self.changes.append((time.monotonic(), *counts))

    def _follow(self):
        path = f"/api/v1/nodes?watch=1&timeoutSeconds=5&fieldSelector=metadata.name={NODE}"
        while not self.stopped.is_set():
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                response = self.api.open("GET", path)
                while not self.stopped.is_set():
                    line = response.readline()
                    if not line:
                        break
                    self._note(json.loads(line)["object"])

    def since(self, age):
        """Seconds from so long ago until the last change; 0 where there was none since."""
        return max(0.0, self.changes[-1][0] - (time.monotonic() - age))

    def longest_below(self, wanted, which):
        """Seconds of the longest time in which the count was below the wanted one."""
        index = 1 if which == "capacity" else 2
        longest, since = 0.0, None
        for change in [*self.changes, (time.monotonic(), *self.changes[-1][1:])]:
            if since is not None:
                longest = max(longest, change[0] - since)
            if change[index] >= wanted:
                since = None
            elif since is None:
                since = change[0]
        return longest


def gpu_pod(name, gpus=1, command="sleep 86400", image="kerf.test/busybox:1"):
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"made-by": "suite"}},
        "spec": {
            "restartPolicy": "Never", "runtimeClassName": "nvidia",
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"key": RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [{
                "name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", command],
                "resources": {"limits": {RESOURCE: str(gpus)}},
            }],
        },
    }


def fail_with_usage(text):
    print(text, file=sys.stderr)
    sys.exit(2)
