"""The Talos machine configuration: the very values that are documented, and the lint that finds
where they would not work."""

import copy
import subprocess
import sys
import tempfile
import tomllib
import unittest

import trees
import yaml

TALOS = trees.REPOSITORY / "deploy/talos"
MODULES = [{"name": n} for n in ("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset")]
PART = """[plugins]
  [plugins."io.containerd.cri.v1.runtime"]
    [plugins."io.containerd.cri.v1.runtime".containerd]
      default_runtime_name = "nvidia"
"""
# What a Talos node's containerd has before: its own base and what the toolkit extension adds.
BASE = """
version = 3
[plugins."io.containerd.cri.v1.runtime"]
  enable_cdi = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = "/etc/cri/conf.d/base-spec.json"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.nvidia]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.nvidia.options]
        BinaryName = "/usr/local/bin/nvidia-container-runtime"
"""


def load(name):
    return yaml.safe_load((TALOS / name).read_text())


def merged(base, over):
    """As Talos joins the parts in /etc/cri/conf.d: tables by key, the later one's values win."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


class Patches(unittest.TestCase):
    def test_both_load_the_four_modules_in_order(self):
        for name in ("ten-slices.yaml", "four-slices.yaml"):
            self.assertEqual(load(name)["machine"]["kernel"]["modules"], MODULES, name)

    def test_both_create_the_runtimes_customization(self):
        for name in ("ten-slices.yaml", "four-slices.yaml"):
            self.assertEqual(load(name)["machine"]["files"], [{
                "op": "create", "path": "/etc/cri/conf.d/20-customization.part", "content": PART}], name)

    def test_the_customization_makes_nvidia_the_default_and_loses_nothing(self):
        base = tomllib.loads(BASE)
        result = merged(base, tomllib.loads(PART))
        runtime = result["plugins"]["io.containerd.cri.v1.runtime"]
        self.assertEqual(runtime["containerd"].pop("default_runtime_name"), "nvidia")
        expected = copy.deepcopy(base["plugins"]["io.containerd.cri.v1.runtime"])
        del expected["containerd"]["default_runtime_name"]
        self.assertEqual(runtime, expected)
        self.assertIn("runc", runtime["containerd"]["runtimes"])
        self.assertIn("nvidia", runtime["containerd"]["runtimes"])

    def test_ten_slices_takes_its_extensions_from_the_schematic(self):
        self.assertNotIn("install", load("ten-slices.yaml")["machine"])
        self.assertEqual(load("schematic.yaml"), {"customization": {"systemExtensions": {
            "officialExtensions": ["siderolabs/nonfree-kmod-nvidia-production",
                                   "siderolabs/nvidia-container-toolkit-production"]}}})

    def test_four_slices_names_its_extensions(self):
        self.assertEqual(load("four-slices.yaml")["machine"]["install"]["extensions"], [
            {"image": "ghcr.io/siderolabs/nvidia-container-toolkit:535.154.05-v1.14.6"},
            {"image": "ghcr.io/siderolabs/nonfree-kmod-nvidia:535.154.05-v1.7.6"}])


class Lint(unittest.TestCase):
    def lint(self, *arguments):
        return subprocess.run([sys.executable, "-B", TALOS / "lint", *arguments], capture_output=True,
                              text=True, check=False)

    def changed(self, change, talos=None):
        config = load("four-slices.yaml")
        change(config["machine"])
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(config, file)
            file.flush()
            done = self.lint(*(["--talos", talos] if talos else []), file.name)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stdout

    def test_what_is_shipped_has_no_finding(self):
        done = self.lint(*(str(TALOS / n) for n in ("ten-slices.yaml", "schematic.yaml", "four-slices.yaml")))
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_modules_for_another_release_are_found(self):
        done = self.lint("--talos", "v1.10.4", str(TALOS / "four-slices.yaml"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("built for Talos v1.7.6, the node runs v1.10.4", done.stdout)
        self.assertEqual(self.lint("--talos", "1.7.6", str(TALOS / "four-slices.yaml")).returncode, 0)

    def test_drivers_that_differ_are_found(self):
        image = "ghcr.io/siderolabs/nonfree-kmod-nvidia:550.1.2-v1.7.6"
        self.assertIn("550.1.2", self.changed(lambda m: m["install"]["extensions"][1].update(image=image)))

    def test_each_missing_module_is_named(self):
        for i, module in enumerate(MODULES):
            said = self.changed(lambda m, i=i: m["kernel"]["modules"].pop(i))
            self.assertIn(f"machine.kernel.modules: no {module['name']} ", said)

    def test_a_missing_extension_is_named(self):
        self.assertIn("no nvidia-container-toolkit", self.changed(lambda m: m["install"]["extensions"].pop(0)))

    def test_a_wrong_customization_is_found(self):
        for change, said in (
            (lambda m: m["files"].clear(), "no /etc/cri/conf.d/20-customization.part"),
            (lambda m: m["files"][0].update(op="append"), "use op: create"),
            (lambda m: m["files"][0].update(content="[plugins"), "is not TOML"),
            (lambda m: m["files"][0].update(content=PART.replace("cri.v1.runtime", "grpc.v1.cri")),
             "makes None the default"),
        ):
            self.assertIn(said, self.changed(change))

    def test_a_file_that_cannot_be_read_is_named(self):
        done = self.lint("/nonexistent.yaml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nonexistent.yaml", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
