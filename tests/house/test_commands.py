"""./dev, make, .ci/run and tools/skips, run in a copy of the checkout with stand-ins for what they call."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Checkout(unittest.TestCase):
    """A directory with some of the repository's files, where others are stand-ins."""

    def setUp(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="kerf-house-"))
        self.addCleanup(shutil.rmtree, self.path, ignore_errors=True)
        self.programs = self.path / "stand-ins"
        self.programs.mkdir()

    def copy(self, *names):
        for name in names:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.path / name)

    def stand_in(self, path, script):
        path = self.path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + script)
        path.chmod(0o755)

    def run_here(self, *command, **env):
        return subprocess.run(command, cwd=self.path, text=True, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60,
                              env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", **env})


class EveryChange(Checkout):
    """.ci/run"""

    def setUp(self):
        super().setUp()
        self.copy(".ci/run")
        self.outcome = {"test": ("100% tests passed, 0 tests failed out of 7\n2 cases skipped, 1 tests whole", 0),
                        "build": ("", 0), "lint": ("", 0),
                        "smoke": ("100% tests passed, 0 tests failed out of 3\n0 cases skipped, 0 tests whole", 0)}
        self.cluster = ("ok 1 - x\n5 passed, 0 failed", 0)

    def run_all(self, **env):
        cases = "\n".join(f"{name}) cat <<'E'\n{text}\nE\nexit {status} ;;"
                          for name, (text, status) in self.outcome.items())
        self.stand_in("dev", f"echo \"$@\" >>{self.path}/called\ncase $1 in\n{cases}\nesac\nexit 9\n")
        self.stand_in("tests/cluster/run", f"cat <<'E'\n{self.cluster[0]}\nE\nexit {self.cluster[1]}\n")
        done = self.run_here(".ci/run", **env)
        return done.returncode, done.stdout.splitlines()[-1], done.stdout

    def test_counts_tests_of_all_stages_and_what_they_skipped(self):
        code, last, _ = self.run_all()
        self.assertEqual((code, last), (0, "14 passed, 0 failed, 2 skipped"))
        self.assertEqual((self.path / "called").read_text().split("\n"),
                         ["test", "build release", "lint", "smoke", ""])

    def test_counts_what_the_cluster_skipped(self):
        self.cluster = ("5 passed, 0 failed, 4 skipped", 0)
        self.assertEqual(self.run_all()[:2], (0, "14 passed, 0 failed, 6 skipped"))

    def test_fails_with_any_test(self):
        self.outcome["test"] = ("71% tests passed, 2 tests failed out of 7", 8)
        code, last, output = self.run_all()
        self.assertEqual((code, last), (1, "13 passed, 2 failed, 0 skipped"))
        self.assertIn("failed stages: test\n", output)

    def test_fails_with_a_stage_that_has_no_tests(self):
        for name in ("build", "lint"):
            with self.subTest(name):
                self.outcome[name] = ("error", 1)
                code, last, _ = self.run_all()
                self.assertEqual((code, last), (1, "14 passed, 1 failed, 2 skipped"))

    def test_leaves_out_what_it_has_no_time_for_with_a_word(self):
        code, last, output = self.run_all(KERF_CI_MINUTES="0")
        self.assertEqual((code, last), (0, "11 passed, 0 failed, 4 skipped"))
        self.assertIn("skipped: lint: 0 minutes are gone", output)
        self.assertIn("skipped: smoke: 0 minutes are gone", output)


LOG = """Start testing: now
----------------------------------------------------------
1/4 Testing: lifecycle.one
1/4 Test: lifecycle.one
Command: "python3" "one.py"
Directory: /d
"lifecycle.one" start time: now
Output:
----------------------------------------------------------
ok   __main__.A.test_works (0.5 s)
ok   __main__.A.test_needs_root (0.0 s)
     skipped: only root may
1 passed, 0 failed, 1 skipped in 0.5 s
<end of output>
Test time =   0.50 sec
----------------------------------------------------------
Test Passed.

2/4 Testing: deploy.two
2/4 Test: deploy.two
Command: "python3" "two.py"
Directory: /d
"deploy.two" start time: now
Output:
----------------------------------------------------------
test_a (__main__.B.test_a) ... ok
test_b (__main__.B.test_b)
What it is about. ... skipped 'no ldconfig'
test_c (__main__.B.test_c) ... skipped "it's not here"
test_d (__main__.B.test_d) ... skipped 'no ldconfig'
Ran 4 tests in 0.1s

OK (skipped=3)
<end of output>
Test time =   0.50 sec
----------------------------------------------------------
Test Passed.

3/4 Testing: wire_test.Socket.Disk
3/4 Test: wire_test.Socket.Disk
Command: "wire_test" "--gtest_filter=Socket.Disk"
Directory: /d
"wire_test.Socket.Disk" start time: now
Output:
----------------------------------------------------------
[ RUN      ] Socket.Disk
/s/sockets_test.cc:172: Skipped
needs permission to mount a tmpfs

[  SKIPPED ] Socket.Disk (0 ms)
<end of output>
Test time =   0.01 sec
----------------------------------------------------------
Test Pass Reason:
Skip regular expression found in output. Regex=[SKIPPED]

4/4 Testing: page
4/4 Test: page
Command: "python3" "page.py"
Directory: /d
"page" start time: now
Output:
----------------------------------------------------------
skipped whole: chromium is not on the PATH
<end of output>
Test time =   0.01 sec
----------------------------------------------------------
Test Passed.
"""


class Skips(Checkout):
    def listed(self, text):
        (self.path / "log").write_text(text)
        return self.run_here(str(REPOSITORY / "tools/skips"), "log").stdout.splitlines()

    def test_are_listed_with_their_reasons(self):
        self.assertEqual(self.listed(LOG), [
            "skipped: lifecycle.one test_needs_root: only root may",
            "skipped: deploy.two test_b: no ldconfig",
            "skipped: deploy.two test_c: it's not here",
            "skipped: deploy.two test_d: no ldconfig",
            "skipped: wire_test.Socket.Disk: needs permission to mount a tmpfs",
            "skipped: page: chromium is not on the PATH",
            "6 cases skipped, 2 tests whole"])

    def test_without_a_reason_are_counted_all_the_same(self):
        terse = re.sub(r"^test_[bcd].*\n(What.*\n)?", "", LOG, flags=re.M)
        self.assertEqual(self.listed(terse)[-1], "6 cases skipped, 2 tests whole")

    def test_of_a_run_without_any_are_none(self):
        self.assertEqual(self.listed(""), ["0 cases skipped, 0 tests whole"])

    def test_of_ctest_itself_are_read(self):
        (self.path / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(x NONE)\nenable_testing()\n"
            "add_test(NAME a COMMAND sh -c \"echo 'skipped whole: no reason at all'; exit 77\")\n"
            "set_tests_properties(a PROPERTIES SKIP_RETURN_CODE 77)\n")
        for command in (("cmake", "-B", "b", "."), ("ctest", "--test-dir", "b")):
            done = self.run_here(*command)
            self.assertEqual(done.returncode, 0, done.stdout)
        log = (self.path / "b/Testing/Temporary/LastTest.log").read_text()
        self.assertEqual(self.listed(log), ["skipped: a: no reason at all", "1 cases skipped, 1 tests whole"])


class Commands(Checkout):
    """./dev and the Makefile"""

    def setUp(self):
        super().setUp()
        self.copy("dev", "Makefile", "CMakePresets.json", "tools/skips")
        for name in ("cmake", "ctest", "apt-get", "sudo"):
            self.stand_in(f"stand-ins/{name}", f"echo {name} \"$@\" >>{self.path}/called\n")
        self.stand_in("stand-ins/dpkg-query", "echo install ok installed\n")

    def called(self):
        return (self.path / "called").read_text()

    def test_make_has_the_names_people_try_and_each_leads_to_a_command(self):
        commands = re.search(r"case \$command in\n +(.*?)\)", (self.path / "dev").read_text(), re.S).group(1)
        known = {word.strip("\\ \n") for word in commands.split("|")} | {"help"}
        for target in ("deps", "build", "run", "test", "test-cover", "lint", "fmt", "image-build", "clean", "help"):
            done = self.run_here("make", "-n", target)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(done.stdout.split()[1], known, target)

    def test_every_preset_it_names_is_there(self):
        presets = json.loads((REPOSITORY / "CMakePresets.json").read_text())
        configured = {p["name"] for p in presets["configurePresets"] if not p.get("hidden")}
        self.assertLessEqual({"dev", "release", "asan", "tsan", "tidy", "cov", "fuzz"}, configured)
        self.assertEqual({p["name"] for p in presets["buildPresets"]}, configured)
        tested = {p["name"] for p in presets["testPresets"] if not p.get("hidden")}
        self.assertLessEqual({"dev", "asan", "tsan", "cov"}, tested)
        used = set(re.findall(r"^ *(?:build|tested|sanitized) (\w+)", (REPOSITORY / "dev").read_text(), re.M))
        self.assertLessEqual(used, configured)

    def test_every_target_it_names_is_declared(self):
        declared = set()
        for path in REPOSITORY.glob("*/**/CMakeLists.txt"):
            if path.relative_to(REPOSITORY).parts[0] != "build":
                text = path.read_text()
                declared |= set(re.findall(r"add_(?:executable|library|custom_target)\((\S+)", text))
                declared |= {f"{room}_test" for room in re.findall(r"^kerf_room\((\w+)", text, re.M)}
        for line in re.findall(r"readonly (?:RELEASE_TARGETS|SMOKE_TESTS)=\(([^)]*)\)",
                               (REPOSITORY / "dev").read_text()):
            self.assertLessEqual(set(line.split()), declared)

    def test_help_names_every_command_and_others_are_refused(self):
        done = self.run_here("./dev", "help")
        self.assertEqual(done.returncode, 0)
        for command in ("run", "test", "build", "check", "smoke", "lint", "fmt", "fuzz", "bench", "cover", "image",
                        "deps", "clean"):
            self.assertRegex(done.stdout, rf"(?m)^  {command}\b")
        done = self.run_here("./dev", "tset")
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown command: tset", done.stdout)

    def test_missing_packages_are_installed_at_once(self):
        self.stand_in("stand-ins/dpkg-query", '[[ ${*: -1} == jq || ${*: -1} == chromium ]] || echo install ok installed\n')
        self.stand_in("stand-ins/id", "echo 0\n")
        self.assertEqual(self.run_here("./dev", "deps").returncode, 0)
        installed = re.search(r"apt-get install (.*)", self.called()).group(1).split()
        ubuntu = "ID=ubuntu\n" in pathlib.Path("/etc/os-release").read_text()
        self.assertEqual({word for word in installed if not word.startswith("-")},
                         {"jq"} if ubuntu else {"jq", "chromium"})

    def test_where_there_is_no_dpkg_it_says_what_to_install(self):
        bare = self.path / "bare"
        bare.mkdir()
        for name in ("bash", "dirname", "env"):
            (bare / name).symlink_to(shutil.which(name))
        done = self.run_here("./dev", "deps", PATH=str(bare))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"needs Debian 12/13 or Ubuntu 24.04 .* by hand: .*\bcmake\b")


if __name__ == "__main__":
    unittest.main(verbosity=2)
