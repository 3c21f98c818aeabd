"""Each alert fires when it should, with these labels and words, and not otherwise: tests/watch/alerts has
a unit test of promtool's for each, by its name."""

import shutil
import subprocess
import unittest

import pictures
import yaml

FILES = pictures.REPOSITORY / "tests/watch/alerts"
PATIENCE = 60


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=4 * PATIENCE)


def expectations(path):
    return [one for test in yaml.safe_load(path.read_text())["tests"] for one in test["alert_rule_test"]]


@unittest.skipIf(shutil.which("promtool") is None, "promtool is not installed")
class Rules(unittest.TestCase):
    def test_are_accepted(self):
        done = promtool("check", "rules", "--lint=all", "--lint-fatal", pictures.RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_fire_and_do_not_fire(self):
        done = promtool("test", "rules", *sorted(FILES.glob("*.yaml")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_change_the_outcome_when_they_are_changed(self):
        """The unit tests are no formality: a rule that is turned off fails its own."""
        path = FILES / "KerfGpuHot.yaml"
        rules = pictures.RULES.read_text().replace("DCGM_FI_DEV_GPU_TEMP) > 90", "DCGM_FI_DEV_GPU_TEMP) > 95")
        self.assertNotEqual(rules, pictures.RULES.read_text())
        folder = pictures.scratch(self)
        (folder / "rules.yaml").write_text(rules)
        (folder / "test.yaml").write_text(path.read_text().replace(
            "../../../deploy/prometheus/kerf.rules.yaml", "rules.yaml"))
        self.assertNotEqual(promtool("test", "rules", folder / "test.yaml").returncode, 0)


class Files(unittest.TestCase):
    def test_there_is_one_for_each_alert(self):
        self.assertEqual({path.stem for path in FILES.glob("*.yaml")}, set(pictures.alerts()))

    def test_each_expects_its_alert_to_fire_and_not_to(self):
        for path in FILES.glob("*.yaml"):
            found = expectations(path)
            self.assertEqual({one["alertname"] for one in found}, {path.stem})
            self.assertTrue(any(one["exp_alerts"] for one in found), path.stem)
            self.assertTrue(any(not one["exp_alerts"] for one in found), path.stem)


if __name__ == "__main__":
    unittest.main(verbosity=2)
