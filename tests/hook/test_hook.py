"""kerf-cdi-hook as runc calls it: containers find the driver's libraries, whatever their image brings
along, and nothing outside a container's own root is touched, whatever its image says."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import uuid

HOOK = os.environ.get("KERF_CDI_HOOK", "")
# Where no loader looks by itself, so that only its cache can lead there.
FOLDER = "/opt/driver/lib"
VERSION = "580.126.09"
LIBRARY = f"{FOLDER}/libcuda.so.{VERSION}"
PROBE = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char** argv) {
  (void)argc;
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) { puts(dlerror()); return 1; }
  const char* (*from)(void) = (const char* (*)(void))dlsym(library, "from");
  puts(from());
  return 0;
}
"""


def library(path, soname, says):
    """A shared library whose function from() gives `says`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", path, "-x", "c", "-"],
                   input=f'const char* from(void) {{ return "{says}"; }}', text=True, check=True)


def why_not():
    if os.geteuid() != 0:
        return "containers need root"
    for program in ("runc", "cc", "busybox"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not os.path.exists("/sbin/ldconfig"):
        return "the system has no ldconfig"
    return None


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if why_not():
            raise unittest.SkipTest(why_not())
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="kerf-hook-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        library(cls.shared / "libcuda.so", "libcuda.so.1", "host")
        probe = cls.shared / "probe"
        subprocess.run(["cc", "-o", probe, "-x", "c", "-", "-ldl"], input=PROBE, text=True, check=True)
        # Ubuntu's ldconfig is a script around the program.
        real = next(filter(os.path.exists, ("/sbin/ldconfig.real", "/sbin/ldconfig")))
        shutil.copy(real, cls.shared / "ldconfig")

    def setUp(self):
        self.bundle = pathlib.Path(tempfile.mkdtemp(prefix="bundle-", dir=self.shared))
        self.root = self.bundle / "rootfs"
        self.mounts = []
        self.make_image()

    def make_image(self):
        """busybox, the machine's C library and the probe; no /etc at all."""
        for name in ("bin", "proc", "dev", "tmp"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), self.root / "bin/busybox")
        for applet in ("sh", "cat", "ls", "readlink"):
            (self.root / "bin" / applet).symlink_to("busybox")
        shutil.copy(self.shared / "probe", self.root / "bin/probe")
        listed = subprocess.run(["ldd", self.shared / "probe"], capture_output=True, text=True,
                                check=True).stdout
        for word in listed.split():
            if word.startswith("/"):
                target = self.root / word.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, target)

    def bind(self, source, target, *options):
        self.mounts.append({"destination": target, "source": str(source), "type": "bind",
                            "options": ["bind", "rprivate", *(options or ["ro"])]})

    def hook(self, *words):
        # A build with a leak checker cannot check in a container, whose /proc it may not see.
        return {"path": HOOK, "args": ["kerf-cdi-hook", *words],
                "env": ["NVIDIA_CTK_DEBUG=false", "ASAN_OPTIONS=detect_leaks=0"]}

    def usual_hooks(self, ldconfig="/sbin/ldconfig"):
        return [self.hook("create-symlinks", "--link", f"libcuda.so.{VERSION}::{FOLDER}/libcuda.so.1",
                          "--link", f"libcuda.so.1::{FOLDER}/libcuda.so"),
                self.hook("enable-cuda-compat", f"--host-driver-version={VERSION}"),
                self.hook("update-ldcache", "--ldconfig-path", str(ldconfig), "--folder", FOLDER),
                self.hook("disable-device-node-modification"),
                self.hook("update-application-profile")]

    def run_container(self, *command, hooks=None, readonly=True, gpus=()):
        """Its exit status and all it said."""
        path = self.bundle / "config.json"
        path.unlink(missing_ok=True)
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True)
        config = json.loads(path.read_text())
        config["process"].update(terminal=False, args=list(command))
        config["root"]["readonly"] = readonly
        config["mounts"] = [m for m in config["mounts"] if m["destination"] in ("/proc", "/dev")]
        config["mounts"] += self.mounts
        # Some build machines give no control groups to containers.
        config["linux"]["resources"] = {}
        config["linux"]["devices"] = [{"path": f"/dev/{name}", "type": "c", "major": 195, "minor": minor}
                                      for name, minor in gpus]
        config["hooks"] = {"createContainer": self.usual_hooks() if hooks is None else hooks}
        path.write_text(json.dumps(config))
        done = subprocess.run(
            ["runc", "--root", self.shared / "state", "run", f"kerf-{uuid.uuid4().hex[:12]}"],
            cwd=self.bundle, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
            timeout=60)
        return done.returncode, done.stdout + done.stderr

    def probe(self, name="libcuda.so.1", **options):
        return self.run_container("/bin/probe", name, **options)

    def with_driver(self):
        self.bind(self.shared / "libcuda.so", LIBRARY)

    def test_the_loader_finds_libraries_where_it_never_looked_before(self):
        self.with_driver()
        self.assertNotEqual(self.probe(hooks=[])[0], 0, "the folder must be an unusual one")
        for name in ("libcuda.so.1", "libcuda.so"):
            # A second time nothing is left to do.
            self.assertEqual(self.probe(name), (0, "host\n"))

    def test_an_image_keeps_what_its_own_loader_configuration_says(self):
        self.with_driver()
        library(self.root / "opt/own/libown.so.1", "libown.so.1", "image")
        (self.root / "etc").mkdir()
        (self.root / "etc/ld.so.conf").write_text("/opt/own\n")
        self.assertEqual(self.probe("libown.so.1"), (0, "image\n"))
        self.assertEqual(self.probe(), (0, "host\n"))
        self.assertIn("/opt/own", (self.root / "etc/ld.so.conf").read_text())

    def test_newer_libraries_of_an_image_come_first_and_older_ones_do_not(self):
        self.with_driver()
        (self.root / "usr/local/cuda-13").mkdir(parents=True)
        (self.root / "usr/local/cuda").symlink_to("/usr/local/cuda-13")
        compat = self.root / "usr/local/cuda-13/compat"
        for version, wanted in (("550.54.14", "host"), ("590.1.2", "image")):
            shutil.rmtree(compat, ignore_errors=True)
            library(compat / f"libcuda.so.{version}", "libcuda.so.1", "image")
            (compat / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")
            with self.subTest(version):
                self.assertEqual(self.probe(), (0, f"{wanted}\n"))

    def test_an_ldconfig_beside_the_program_serves_where_the_host_has_none(self):
        self.with_driver()
        beside = self.bundle / "installed"
        beside.mkdir()
        shutil.copy(HOOK, beside / "kerf-cdi-hook")
        shutil.copy(self.shared / "ldconfig", beside / "ldconfig")
        hooks = self.usual_hooks(ldconfig="/no/such/ldconfig")
        for hook in hooks:
            hook["path"] = str(beside / "kerf-cdi-hook")
        self.assertEqual(self.probe(hooks=hooks), (0, "host\n"))

    def test_without_any_ldconfig_the_container_is_not_created_and_the_reason_is_said(self):
        self.with_driver()
        hooks = [self.hook("update-ldcache", "--ldconfig-path", "/bin/sh", "--folder", FOLDER)]
        if os.path.exists(os.path.join(os.path.dirname(HOOK), "ldconfig")):
            self.skipTest("an ldconfig lies beside the program")
        code, said = self.probe(hooks=hooks)
        self.assertNotEqual(code, 0)
        self.assertIn("no ldconfig on the host", said)
        self.assertIn("not a static program", said)

    # -- hostile images ---------------------------------------------------------------------------

    def outside(self):
        """A directory of the host with a file in it, which no container may reach."""
        path = self.bundle / "host"
        path.mkdir()
        (path / "precious").write_text("as it was")
        return path

    def untouched(self, outside):
        self.assertEqual(sorted(p.name for p in outside.iterdir()), ["precious"])
        self.assertEqual((outside / "precious").read_text(), "as it was")

    def test_links_of_an_image_never_lead_to_the_host(self):
        outside = self.outside()
        up = "../" * 20
        for name, target in (("absolute", str(outside)), ("upwards", up + str(outside).lstrip("/"))):
            for link in ("etc", "etc/ld.so.conf.d", "etc/ld.so.conf", "etc/ld.so.cache", "opt/driver",
                         "usr"):
                with self.subTest(name, link=link):
                    shutil.rmtree(self.root)
                    self.mounts = []
                    self.make_image()
                    if link == "usr":
                        shutil.rmtree(self.root / "usr", ignore_errors=True)
                    path = self.root / link
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.symlink_to(target if not link.endswith((".conf", ".cache"))
                                    else target + "/precious")
                    self.with_driver_if_possible(link)
                    self.run_container("/bin/busybox", "true", readonly=False)
                    self.untouched(outside)

    def with_driver_if_possible(self, link):
        if link != "opt/driver":
            self.with_driver()

    def test_nothing_is_made_in_volumes(self):
        """A volume may be a directory of the host that only root there may write to."""
        outside = self.outside()
        self.with_driver()
        (self.root / "vol").mkdir()
        self.bind(outside, "/vol", "rw")
        (self.root / "etc").symlink_to("/vol")
        code, said = self.run_container("/bin/busybox", "true")
        self.assertEqual(code, 0, said)
        self.untouched(outside)
        # Folders that the image names to ldconfig, which would make links beside libraries there.
        shutil.copy(self.shared / "libcuda.so", outside / "libother.so.2.0")
        (self.root / "etc").unlink()
        (self.root / "etc").mkdir()
        (self.root / "etc/ld.so.conf").write_text("/vol\n")
        self.assertEqual(self.probe(), (0, "host\n"))
        (outside / "libother.so.2.0").unlink()
        self.untouched(outside)

    def test_a_program_of_the_image_is_never_run(self):
        self.with_driver()
        (self.root / "sbin").mkdir()
        trap = "#!/bin/sh\necho trapped >/tmp/trapped\n"
        for path in ("sbin/ldconfig", "sbin/ldconfig.real"):
            (self.root / path).write_text(trap)
            (self.root / path).chmod(0o755)
        library(self.root / "tmp/preload.so", "preload.so", "trapped")
        (self.root / "etc").mkdir()
        (self.root / "etc/ld.so.preload").write_text("/tmp/preload.so\n")
        self.assertEqual(self.probe(), (0, "host\n"))
        self.assertFalse((self.root / "tmp/trapped").exists())

    def test_an_endless_or_strange_configuration_ends_in_time(self):
        self.with_driver()
        (self.root / "etc/ld.so.conf.d").mkdir(parents=True)
        (self.root / "etc/ld.so.conf.d/a.conf").write_text("include /etc/ld.so.conf.d/*.conf\n" * 50)
        os.mkfifo(self.root / "etc/ld.so.conf")
        code, said = self.probe()
        # Either it is served, or it is refused with a reason: it does not hang.
        self.assertTrue(code == 0 or "ldconfig" in said, said)

    def test_egl_is_shown_the_gpus_whose_nodes_are_there(self):
        profile = "/etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf"
        hooks = [self.hook("update-application-profile")]
        code, said = self.run_container("/bin/ls", "/etc", hooks=hooks, gpus=[("nvidiactl", 255)])
        self.assertNotIn("nvidia\n", said)
        for _ in range(2):  # a second time nothing is left to do
            code, said = self.run_container("/bin/cat", profile, hooks=hooks, gpus=[
                ("nvidiactl", 255), ("nvidia1", 1), ("nvidia4", 4), ("nvidia-uvm", 0)])
            self.assertEqual(code, 0, said)
            found = json.loads(said.replace("0x12", "18"))
            self.assertEqual(found["profiles"][0]["settings"], ["EGLVisibleDGPUDevices", 18])
            self.assertEqual(found["rules"], [{"pattern": [], "profile": found["profiles"][0]["name"]}])
        self.assertEqual((self.root / profile.lstrip("/")).stat().st_mode & 0o777, 0o444)

    def test_the_driver_is_shown_as_changing_no_device_nodes(self):
        """In a mount namespace of its own, as a container has one, with a driver's parameters."""
        params = self.root / "proc/driver/nvidia/params"
        params.parent.mkdir(parents=True)
        params.write_text("before\n")
        (self.bundle / "config.json").write_text(json.dumps({"root": {"path": "rootfs"}}))
        state = json.dumps({"bundle": str(self.bundle)})
        script = ("mount -t tmpfs t /proc/driver && mkdir /proc/driver/nvidia && "
                  "printf 'A: 2\\nModifyDeviceFiles: 1\\n' >/proc/driver/nvidia/params && "
                  f"ls /run >before && {HOOK} disable-device-node-modification && "
                  f"ls /run | diff before - && cat {params} && cat /proc/driver/nvidia/params && "
                  f"! sh -c 'echo x >{params}' 2>/dev/null")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], input=state, text=True,
                              capture_output=True, check=False, cwd=self.bundle)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, "A: 2\nModifyDeviceFiles: 0\nA: 2\nModifyDeviceFiles: 1\n", ""))
        self.assertEqual(params.read_text(), "before\n", "it was seen outside the namespace")

    def test_one_mount_namespace_is_not_another(self):
        """Run outside a container, the hook mounts nothing."""
        before = pathlib.Path("/proc/self/mounts").read_text()
        (self.bundle / "config.json").write_text(json.dumps({"root": {"path": "rootfs"}}))
        state = json.dumps({"bundle": str(self.bundle)})
        for words in (["disable-device-node-modification"],
                      ["update-ldcache", "--ldconfig-path=/sbin/ldconfig", f"--folder={FOLDER}"]):
            done = subprocess.run([HOOK, *words], input=state, capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(pathlib.Path("/proc/self/mounts").read_text(), before)


class CommandLine(unittest.TestCase):
    def call(self, *words, state=""):
        return subprocess.run([HOOK, *words], input=state, capture_output=True, text=True, check=False)

    def test_unknown_hooks_are_passed_over(self):
        done = self.call("enable-coherent-annotations", "--anything=1")
        self.assertEqual(done.returncode, 0)
        self.assertIn("enable-coherent-annotations", done.stderr)

    def test_mistakes_are_named(self):
        for words, state, said in (
                ([], "", "no hook is named"),
                (["create-symlinks", "--link", "a"], "", "target::path"),
                (["create-symlinks", "--lnk", "a::/b"], "", "no option of create-symlinks: --lnk"),
                (["chmod", "--mode", "9", "--path", "/x"], "", "octal"),
                (["create-symlinks"], "", "no such field"),
                (["create-symlinks"], "{", "no such field"),
                (["create-symlinks"], '{"bundle": 1}', "no text there"),
                (["create-symlinks"], '{"bundle": "/no/such"}', "/no/such/config.json")):
            with self.subTest(words):
                done = self.call(*words, state=state)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
