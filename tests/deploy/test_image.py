"""The image builder, run on a small program of this machine: the archive's structure, that equal
inputs give equal bytes, that the program inside can be loaded, and what is refused."""

import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

import trees

BUILD = trees.REPOSITORY / "tools/image/build"
PROGRAM = shutil.which("true", path="/usr/bin:/bin")


def run(*arguments, **env):
    return subprocess.run([sys.executable, "-B", BUILD, *arguments], capture_output=True, text=True,
                          check=False, env={**os.environ, **env})


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="kerf-image-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.archive = cls.directory / "kerf.tar"
        done = run(PROGRAM, cls.archive, SOURCE_DATE_EPOCH="1700000000")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        with tarfile.open(cls.archive) as tar:
            cls.files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}

    def blob(self, descriptor):
        data = self.files["blobs/" + descriptor["digest"].replace(":", "/")]
        self.assertEqual(descriptor["size"], len(data))
        return data

    def manifest(self):
        (only,) = json.loads(self.files["index.json"])["manifests"]
        return json.loads(self.blob(only))

    def config(self):
        return json.loads(self.blob(self.manifest()["config"]))

    def layers(self):
        return [tarfile.open(fileobj=io.BytesIO(self.blob(d))) for d in self.manifest()["layers"]]

    def entries(self):
        return {m.name: m for tar in self.layers() for m in tar}

    def test_every_blob_is_named_by_its_digest_and_used(self):
        blobs = {name: data for name, data in self.files.items() if name.startswith("blobs/")}
        for name, data in blobs.items():
            self.assertEqual(name, "blobs/sha256/" + hashlib.sha256(data).hexdigest())
        manifest = self.manifest()
        self.assertEqual(len(blobs), 2 + len(manifest["layers"]))
        self.assertEqual(self.config()["rootfs"]["diff_ids"], [d["digest"] for d in manifest["layers"]])

    def test_it_is_an_oci_layout_under_the_name_the_manifests_use(self):
        self.assertEqual(json.loads(self.files["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        (only,) = json.loads(self.files["index.json"])["manifests"]
        used = trees.the(trees.TEN_SLICES, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["image"]
        self.assertEqual(only["annotations"]["io.containerd.image.name"], f"docker.io/library/{used}")
        self.assertEqual(only["platform"]["os"], "linux")

    def test_it_is_also_an_archive_of_docker_save(self):
        (only,) = json.loads(self.files["manifest.json"])
        version = (trees.REPOSITORY / "VERSION").read_text().strip()
        self.assertEqual(only["RepoTags"], [f"kerf:{version}"])
        for name in (only["Config"], *only["Layers"]):
            self.assertIn(name, self.files)
        self.assertEqual(json.loads(self.files[only["Config"]]), self.config())

    def test_it_runs_the_plugin_as_nobody(self):
        config = self.config()["config"]
        self.assertEqual(config["User"], "65534:65534")
        self.assertEqual(config["Entrypoint"], ["nvidia-device-plugin"])
        self.assertEqual(set(config["Env"]), {
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/kerf",
            "NVIDIA_DISABLE_REQUIRE=true", "NVIDIA_VISIBLE_DEVICES=all",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility"})
        self.assertEqual(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0")

    def test_it_holds_one_program_under_all_its_names(self):
        entries = self.entries()
        self.assertEqual(entries["usr/bin/kerf"].mode, 0o755)
        for name in ("nvidia-device-plugin", "gpu-feature-discovery", "config-manager",
                     "mps-control-daemon", "dcgm-exporter", "lsmod", "ls"):
            self.assertEqual(entries[f"usr/bin/{name}"].linkname, "kerf")
        for name in ("default-counters.csv", "dcp-metrics-included.csv", "1.x-compatibility-metrics.csv",
                     "kerf-counters.csv"):
            self.assertTrue(entries[f"etc/dcgm-exporter/{name}"].isfile(), name)
        # Runtimes mount the driver's own at /usr/bin/nvidia-smi: a link there would lead them astray.
        self.assertNotIn("usr/bin/nvidia-smi", entries)
        self.assertEqual(entries["usr/lib/kerf/nvidia-smi"].linkname, "../../bin/kerf")
        programs = [n for n, m in entries.items() if n.startswith("usr/bin/") and m.isfile()]
        self.assertEqual(programs, ["usr/bin/kerf"])

    def test_it_holds_what_the_drivers_library_is_linked_against(self):
        names = {pathlib.PurePosixPath(n).name for n in self.entries()}
        for library in ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
                        "libgcc_s.so.1"):
            self.assertIn(library, names)

    def test_it_carries_licences_and_users(self):
        entries = self.entries()
        self.assertIn("usr/share/doc/kerf/LICENSE", entries)
        for package in ("libc6", "libssl3"):  # with suffixes on some distributions
            self.assertTrue(any(name.startswith(f"usr/share/doc/{package}") for name in entries), package)
        base = self.layers()[0]
        self.assertIn(b"\nnobody:x:65534:65534:", base.extractfile("etc/passwd").read())

    def test_nobody_owns_anything_and_time_is_the_sources(self):
        for entry in self.entries().values():
            self.assertEqual((entry.uid, entry.gid, entry.mtime), (0, 0, 1700000000), entry.name)
            self.assertFalse(entry.mode & 0o7000 or (entry.mode & 0o022 and not entry.issym()), entry.name)
        self.assertEqual(self.config()["created"], "2023-11-14T22:13:20Z")

    def test_equal_inputs_give_equal_bytes(self):
        again = self.directory / "again.tar"
        done = run(PROGRAM, again, SOURCE_DATE_EPOCH="1700000000", TZ="Asia/Tokyo")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(again.read_bytes(), self.archive.read_bytes())

    def test_the_program_inside_can_be_loaded(self):
        if os.geteuid() != 0:
            self.skipTest("only root can change into the image's root directory")
        root = self.directory / "root"
        root.mkdir()
        for tar in self.layers():
            tar.extractall(root)
        done = subprocess.run(["/usr/bin/kerf"], check=False, env={},
                              preexec_fn=lambda: os.chroot(root))
        self.assertEqual(done.returncode, 0)

    def test_programs_for_the_host_are_static(self):
        # Ubuntu's ldconfig is a script around the program.
        ldconfig = next(filter(os.path.exists, ("/sbin/ldconfig.real", "/sbin/ldconfig")), None)
        if ldconfig is None:
            self.skipTest("the system has no ldconfig to stand for a static program")
        out = self.directory / "hook.tar"
        done = run(PROGRAM, out, "--hook", ldconfig)
        self.assertEqual(done.returncode, 0, done.stderr)
        with tarfile.open(out) as tar:
            layers = [tarfile.open(fileobj=io.BytesIO(tar.extractfile(m).read())) for m in tar if m.isfile()
                      and b"usr/libexec/kerf/" in tar.extractfile(m).read()]
        names = {n for layer in layers for n in layer.getnames() if n.startswith("usr/libexec/kerf/")}
        self.assertEqual(names, {"usr/libexec/kerf/kerf-cdi-hook", "usr/libexec/kerf/ldconfig"})
        done = run(PROGRAM, out, "--hook", PROGRAM)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is not a static program", done.stderr)

    def test_another_name_is_taken_with_its_tag(self):
        out = self.directory / "named.tar"
        done = run(PROGRAM, out, "--name", "registry.example:5000/gpu/kerf:9")
        self.assertEqual(done.returncode, 0, done.stderr)
        with tarfile.open(out) as tar:
            (only,) = json.load(tar.extractfile("index.json"))["manifests"]
        self.assertEqual(only["annotations"], {
            "io.containerd.image.name": "registry.example:5000/gpu/kerf:9",
            "org.opencontainers.image.ref.name": "9"})

    def test_what_cannot_become_an_image_is_refused_with_its_name(self):
        out = self.directory / "refused.tar"
        damaged = self.directory / "damaged"
        damaged.write_bytes(pathlib.Path(PROGRAM).read_bytes()[:100])
        large = self.directory / "large"
        shutil.copy(PROGRAM, large)
        os.truncate(large, 40 * 1000 * 1000)
        library = next(pathlib.Path("/usr/lib").rglob("libm.so.6"))
        for arguments, said in (
            (["/nonexistent", out], "/nonexistent: No such file"),
            ([__file__, out], "not an ELF file"),
            ([damaged, out], "damaged"),
            ([large, out, "--no-strip"], "release preset"),
            ([PROGRAM, self.directory / "none" / "x.tar"], "x.tar: No such file or directory"),
            ([PROGRAM, out, "--name", "kerf"], "needs a tag"),
            ([library, out], "needs to be a program"),
        ):
            with self.subTest(said):
                done = run(*arguments)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)
                self.assertFalse(out.exists())
        self.assertIn("not a number", run(PROGRAM, out, SOURCE_DATE_EPOCH="today").stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
