"""compare.py itself: two that are the same differ in nothing, two that are not are told apart; and
with KERF_COMPARE_WITH=PROGRAM ours is held against that program."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import compare  # noqa: E402  (needs the path)

KERF = os.environ.get("KERF", str(compare.BUILD / "src/cli/kerf"))
OTHER = os.environ.get("KERF_COMPARE_WITH")


def run(ours, theirs, *arguments):
    return subprocess.run([sys.executable, "-B", HERE / "compare.py", ours, theirs, *arguments],
                          capture_output=True, text=True, check=False)


@unittest.skipIf(compare.can_enter(), f"no namespaces on this machine: {compare.can_enter()}")
class Compare(unittest.TestCase):
    def test_finds_nothing_between_a_program_and_itself(self):
        done = run(KERF, KERF, "--machine", "rtx3090x2", "--case", "defaults",
                   "--case", "four slices", "--case", "cdi by annotation", "--case", "mig mixed")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"four slices: (\d{2,}) the same, 0 ties, 0 different")
        self.assertNotIn("registered nothing", done.stdout)

    def test_tells_programs_apart_that_answer_differently(self):
        with tempfile.TemporaryDirectory() as directory:
            odd = pathlib.Path(directory) / "odd"
            odd.write_text("#!/bin/bash\nexport DEVICE_ID_STRATEGY=index PASS_DEVICE_SPECS=true\n"
                           f'exec -a nvidia-device-plugin {KERF} "$@"\n')
            odd.chmod(odd.stat().st_mode | stat.S_IXUSR)
            done = run(KERF, str(odd), "--machine", "rtx3090x2", "--case", "defaults")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"NVIDIA_VISIBLE_DEVICES\n +ours: +\"GPU-.*\n +theirs: +\"0\"")

    def test_says_when_one_registers_nothing(self):
        done = run(KERF, "/bin/false", "--machine", "rtx3090x2", "--case", "defaults")
        self.assertEqual(done.returncode, 1)
        self.assertIn("theirs registered nothing", done.stdout)

    @unittest.skipUnless(OTHER, "no other device plugin given (KERF_COMPARE_WITH=PROGRAM)")
    def test_finds_nothing_between_ours_and_the_one_given(self):
        done = run(KERF, OTHER)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Difference(unittest.TestCase):
    def test_ignores_the_random_part_of_an_annotation(self):
        def answer(uuid):
            return {"g": {"allocate": {"x": [{"annotations": {
                f"cdi.k8s.io/nvidia-device-plugin_{uuid}": "v"}}]}}}
        same = answer("0" * 8 + "-0000-4000-8000-" + "0" * 12)
        other = answer("1" * 8 + "-0000-4000-8000-" + "0" * 12)
        self.assertEqual(compare.compare(same, other), ([], [], 1))

    def test_calls_another_choice_of_the_same_spread_a_tie(self):
        def answer(*ids):
            return {"g": {"preferred": {"of all 1": {"ids": list(ids), "shape": [1]}}}}
        differences, ties, same = compare.compare(answer("a"), answer("b"))
        self.assertEqual((differences, len(ties), same), ([], 1, 1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
