#!/usr/bin/env python3
"""Starts two device plugins, one after the other, on the same driver and asks both the same.

    compare.py OURS THEIRS [--machine NAME]... [--case NAME]... [--library SO]

OURS and THEIRS are any two programs that take the flags and variables of NVIDIA's device plugin;
they are called as nvidia-device-plugin. Each runs in namespaces of its own in which
/var/lib/kubelet/device-plugins and /var/run/cdi are empty folders of this test, so nothing of the
machine is touched. The driver is the simulated one unless --library names another (--machine is
then the machine you sit at).

Prints what differs, and how often the answers were the same. Exit 1: there are differences.
Programs: ASK, NVML_SIM and NVML_LIBRARY from the environment, as ctest sets them, or else from
build/dev.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = SOURCE / "build" / "dev"
ASK = os.environ.get("ASK", str(BUILD / "tests/compat/ask"))
NVML_SIM = os.environ.get("NVML_SIM", str(BUILD / "sim/nvml/nvml-sim"))
NVML_LIBRARY = os.environ.get("NVML_LIBRARY", str(BUILD / "sim/nvml/libnvidia-ml.so.1"))
MACHINES = ["rtx3090x2", "a100-80x8", "h200x8-hgx", "a100-80x1-mig"]


def shared(replicas, **timeslicing):
    return {"version": "v1", "sharing": {"timeSlicing": {
        **timeslicing, "resources": [{"name": "nvidia.com/gpu", "replicas": replicas}]}}}


# Name: file, environment. Every strategy that an answer depends on, alone and with others.
CASES = {
    "defaults": ({"version": "v1"}, {}),
    "no file": (None, {}),
    "four slices": (shared(4), {}),
    "four slices, one at a time": (shared(4, failRequestsGreaterThanOne=True), {}),
    "four slices, renamed": (shared(4, renameByDefault=True), {}),
    "four slices, packed": (shared(4), {"SHARED_DEVICES_ALLOCATION_POLICY": "packed"}),
    "by index": (shared(4), {"DEVICE_ID_STRATEGY": "index"}),
    "volume mounts": (shared(4), {"DEVICE_LIST_STRATEGY": "volume-mounts"}),
    "both lists": (shared(4), {"DEVICE_LIST_STRATEGY": "envvar,volume-mounts"}),
    "device nodes": ({"version": "v1"}, {"PASS_DEVICE_SPECS": "true"}),
    "device nodes elsewhere": ({"version": "v1"}, {"PASS_DEVICE_SPECS": "true",
                                                   "NVIDIA_DEV_ROOT": "/run/nvidia/driver"}),
    "gds and mofed": ({"version": "v1"}, {"GDS_ENABLED": "true", "MOFED_ENABLED": "true",
                                          "GDRCOPY_ENABLED": "true"}),
    "cdi by field": (shared(4), {"DEVICE_LIST_STRATEGY": "cdi-cri"}),
    "cdi by annotation": (shared(4), {"DEVICE_LIST_STRATEGY": "cdi-annotations"}),
    "mig single": ({"version": "v1"}, {"MIG_STRATEGY": "single"}),
    "mig mixed": ({"version": "v1"}, {"MIG_STRATEGY": "mixed"}),
    "mig mixed, device nodes": ({"version": "v1"}, {"MIG_STRATEGY": "mixed",
                                                    "PASS_DEVICE_SPECS": "true"}),
}

# In the namespaces: empty folders where the kubelet's and the runtime's are, then the program.
ENTER = """
mount -t tmpfs none /var/lib && mkdir -p /var/lib/kubelet/device-plugins &&
mount --bind "$1/kubelet" /var/lib/kubelet/device-plugins &&
mount -t tmpfs none "$(readlink -f /var/run)" && mkdir -p /var/run/cdi &&
mount --bind "$1/cdi" /var/run/cdi || exit 125
program=$2; shift 2
exec -a nvidia-device-plugin "$program" "$@"
"""


def can_enter():
    """What keeps this machine from the namespaces, or None."""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                           "mount -t tmpfs none /var/lib"], capture_output=True, text=True,
                          check=False)
    return None if done.returncode == 0 else (done.stderr.strip() or "unshare failed")


class Driver:
    """One machine for both programs."""

    def __init__(self, directory, machine, library):
        self.environment = {}
        if library is None:
            self.environment = {"NVML_SIM_STATE": str(directory / "sim"),
                                "NVML_SIM_MACHINE": str(SOURCE / f"sim/machines/{machine}.yaml")}
            tree = directory / "tree"
            subprocess.run([NVML_SIM, "tree", str(tree)], check=True, stdout=subprocess.DEVNULL,
                           env={**os.environ, **self.environment})
            library = NVML_LIBRARY
        # Found by whoever searches the driver's root and by whoever asks the loader.
        root = directory / "driver"
        for folder in ("usr/lib64", "usr/lib/x86_64-linux-gnu"):
            (root / folder).mkdir(parents=True)
            (root / folder / "libnvidia-ml.so.1").symlink_to(pathlib.Path(library).resolve())
        self.environment["DRIVER_ROOT_CTR_PATH"] = str(root)
        self.environment["LD_LIBRARY_PATH"] = str(root / "usr/lib64")


def answers(program, driver, case, directory, log):
    """What the program answers in this case; None with the end of its log when it never registers."""
    file, variables = CASES[case]
    for name in ("kubelet", "cdi"):
        (directory / name).mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "KERF_LISTEN": "none", **driver.environment,
                   **variables}
    if file is not None:
        path = directory / "config.yaml"
        path.write_text(json.dumps(file))  # which is YAML too
        environment["CONFIG_FILE"] = str(path)
    ask = subprocess.Popen([ASK, str(directory / "kubelet"), "20"], stdout=subprocess.PIPE,
                           text=True)
    try:
        socket = directory / "kubelet/kubelet.sock"
        for _ in range(500):
            if socket.exists():
                break
            try:
                ask.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
        with open(log, "w", encoding="utf-8") as out:
            plugin = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", ENTER, "enter",
                 str(directory), str(pathlib.Path(program).resolve())],
                env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            text = ask.communicate(timeout=120)[0]
        finally:
            plugin.send_signal(signal.SIGTERM)
            try:
                plugin.wait(10)
            except subprocess.TimeoutExpired:
                plugin.kill()
                plugin.wait()
    finally:
        ask.kill()
        ask.wait()
    return json.loads(text or "{}")


UUID4 = re.compile(r"(nvidia-device-plugin_)[0-9a-f-]{36}")


def flatten(value, path=()):
    """{path: leaf}; annotations' random parts are taken out."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {str(index): inner for index, inner in enumerate(value)}
    if isinstance(value, dict) and value:
        out = {}
        for key, inner in value.items():
            out.update(flatten(inner, (*path, UUID4.sub(r"\1UUID", key))))
        return out
    return {path: value}


def compare(ours, theirs):
    """(differences, ties, same): where two answers are not the same; a choice of other ids of the
    same spread over the devices is a tie, which the original breaks at random."""
    left, right = flatten(ours), flatten(theirs)
    differences, ties, same = [], [], 0
    for path in sorted({*left, *right}):
        a, b = left.get(path, "nothing"), right.get(path, "nothing")
        if a == b:
            same += 1
        elif len(path) > 2 and path[1] == "preferred" and path[-1] == "ids":
            ties.append((path, a, b))
        else:
            differences.append((path, a, b))
    return differences, ties, same


def show(text):
    text = json.dumps(text)
    return text if len(text) <= 300 else text[:297] + "..."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours")
    parser.add_argument("theirs")
    parser.add_argument("--machine", action="append", help=f"default: {', '.join(MACHINES)}")
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--library", help="another libnvidia-ml.so.1 than the simulated one")
    options = parser.parse_args()
    obstacle = can_enter()
    if obstacle:
        sys.exit(f"compare: this machine lets nobody make namespaces: {obstacle}")
    differences = ties = same = 0
    for machine in ["this machine"] if options.library else options.machine or MACHINES:
        for case in options.case or CASES:
            directory = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
            try:
                driver = Driver(directory, machine, options.library)
                both = [answers(program, driver, case, directory / side, directory / f"{side}.log")
                        for side, program in (("ours", options.ours), ("theirs", options.theirs))]
                found, tied, equal = compare(*both)
                print(f"{machine}, {case}: {equal} the same, {len(tied)} ties, "
                      f"{len(found)} different", flush=True)
                for path, a, b in found:
                    print(f"  {' > '.join(path)}\n    ours:   {show(a)}\n    theirs: {show(b)}")
                for side, answer in zip(("ours", "theirs"), both):
                    if not answer:
                        log = (directory / f"{side}.log").read_text(encoding="utf-8")
                        print(f"  {side} registered nothing; the end of its log:\n"
                              + "\n".join("    " + line for line in log.splitlines()[-5:]))
                differences += len(found)
                ties += len(tied)
                same += equal
            finally:
                shutil.rmtree(directory, ignore_errors=True)
    print(f"in all: {same} answers the same, {ties} ties, {differences} different")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
