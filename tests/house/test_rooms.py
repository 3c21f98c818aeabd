"""That an include against the direction of ARCHITECTURE.md does not compile. KERF_BUILD: a build
directory whose configuration made the farms of links."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FARM = REPOSITORY / "build/inc"
BUILD = pathlib.Path(os.environ.get("KERF_BUILD", REPOSITORY / "build/dev"))


def declared():
    """{room, or room_types: the names in its DEPS}, and {room: those its tests may use besides}."""
    rooms, tests = {}, {}
    for path in sorted((REPOSITORY / "src").glob("*/CMakeLists.txt")):
        for kind, name, rest in re.findall(r"^kerf_room(_types)?\((\w+)([^)]*)\)", path.read_text(), re.M):
            words = dict.fromkeys(("DEPS", "TEST_DEPS"), ())
            for key, value in re.findall(r"\b(DEPS|TEST_DEPS)((?:\s+[a-z]\w*)+)", rest):
                words[key] = tuple(value.split())
            rooms[name + kind] = words["DEPS"]
            if not kind:
                tests[name] = words["TEST_DEPS"]
    return rooms, tests


ROOMS, TESTS = declared()


def reach(name):
    """The folders that a room may include from."""
    found = {name.removesuffix("_types")}
    for dep in ROOMS[name]:
        found |= reach(dep)
    return found


class Rooms(unittest.TestCase):
    def test_are_all_in_the_table_of_the_architecture(self):
        table = re.findall(r"^\| `(\w+)` \|", (REPOSITORY / "ARCHITECTURE.md").read_text(), re.M)
        self.assertLessEqual(set(TESTS), set(table))

    def test_name_only_rooms_before_them(self):
        order = re.search(r"foreach\(room\s+(.*?)\)", (REPOSITORY / "CMakeLists.txt").read_text(), re.S).group(1).split()
        for name, deps in ROOMS.items():
            for dep in deps:
                self.assertLess(order.index(dep.removesuffix("_types")), order.index(name.removesuffix("_types")),
                                f"{name} names {dep}")

    def test_see_the_rooms_they_name_and_no_others(self):
        for name in ROOMS:
            seen = {path.name for path in (FARM / name).iterdir()}
            self.assertEqual(seen, reach(name), f"{FARM / name}: configure again, or remove what is too much")

    def test_are_compiled_with_no_other_way_to_the_headers(self):
        commands = json.loads((BUILD / "compile_commands.json").read_text())
        looked = 0
        for entry in commands:
            path = pathlib.Path(entry["file"])
            if path.parent.parent != REPOSITORY / "src" or path.name.endswith("_test.cc"):
                continue
            room = path.parent.name
            if f"-o src/{room}/" not in entry["command"]:
                continue  # compiled once more, into a test or tool elsewhere
            looked += 1
            ours = {word[2:] for word in re.findall(r"-I\S+", entry["command"])
                    if word.startswith(f"-I{REPOSITORY}/") and not word.startswith(f"-I{BUILD}/")}
            self.assertEqual(ours, {str(FARM / room)}, path)
        self.assertGreater(looked, 100)

    def test_do_not_compile_with_an_include_against_the_direction(self):
        compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M).group(1)
        with tempfile.TemporaryDirectory(prefix="kerf-house-") as folder:
            source = pathlib.Path(folder) / "include.cc"
            for room, header, works in (("plan", "plan/plan.h", True), ("plan", "inventory/types.h", True),
                                        ("plan", "allocate/allocate.h", False), ("plan", "agent/component.h", False),
                                        ("base", "base/result.h", True), ("base", "nvml/session.h", False),
                                        ("metrics", "http/server.h", False), ("http", "http/server.h", True)):
                self.assertTrue((REPOSITORY / "src" / header).is_file(), header)
                source.write_text(f'#include "{header}"\n')
                done = subprocess.run([compiler, "-std=c++20", "-E", "-I", str(FARM / room), "-o", os.devnull,
                                       str(source)], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode == 0, works, f"{room} includes {header}: {done.stderr[-300:]}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
