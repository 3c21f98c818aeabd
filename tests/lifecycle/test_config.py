"""A configuration that changes while the agent runs, in every way in which files change."""

import os
import re
import signal
import unittest

import node
from node import config, eventually

BROKEN = [
    # what is wrong, the text, where, and what is said about it
    ("replicas 0", config(0), ":6:19", "number of replicas must be >= 2"),
    ("replicas -1", config(-1), ":6:19", "replicas"),
    ("replicas a word", config('"four"'), ":6:19", "replicas"),
    ("replicas absurd", config(1_000_000), ":6:19", "replicas"),
    ("tab", "version: v1\nsharing:\n\ttimeSlicing: {}\n", ":3:1", "(?i:tab)"),
    ("unclosed", "version: v1\nsharing: {timeSlicing: {\n", r":\d+:\d+", "."),
    ("a list", "- version: v1\n", ":1:1", "."),
    ("version", "version: v9\n", ":1:10", "v9"),
    ("strategy", config(4, plugin={"deviceListStrategy": "carrier-pigeon"}), r":2:\d+",
     "carrier-pigeon"),
    ("mps", "version: v1\nsharing:\n  mps:\n    resources: [{name: nvidia.com/gpu, replicas: 2}]\n",
     r":3:\d+", "requires --mps-root"),
    ("not text", "version: v1\n\x00\x01\x02\n", r":2:\d+", "."),
]


class AChangedFile(node.NodeTest):
    def setUp(self):
        self.here = self.node()

    def test_edited_in_place_is_taken(self):
        self.here.start(devices=8)
        self.here.write_config(config(10))
        self.here.await_allocatable(20)
        self.here.write_config(config(2))
        self.here.await_allocatable(4)
        self.assertEqual(self.here.resource()["registrations"], 1)
        eventually("two reloads", lambda: self.here.metric("kerf_config_reloads_total") == 2)

    def test_replaced_by_another_is_taken(self):
        self.here.start(devices=8)
        for replicas in (10, 3):
            new = self.here.directory / "new.yaml"
            new.write_text(config(replicas))
            new.rename(self.here.config_file)
            self.here.await_allocatable(2 * replicas)

    def test_in_a_configmap_is_taken_when_its_links_are_switched(self):
        """The kubelet's way: config.yaml -> ..data/config.yaml, ..data -> ..<time>, which is swapped."""
        volume = self.here.directory / "volume"

        def project(version, replicas):
            (volume / version).mkdir(parents=True)
            (volume / version / "config.yaml").write_text(config(replicas))
            os.symlink(version, volume / "..data_tmp")
            os.rename(volume / "..data_tmp", volume / "..data")

        project("..2026_01", 4)
        os.symlink("..data/config.yaml", volume / "config.yaml")
        self.here.start(devices=8, config_file=volume / "config.yaml")
        for version, replicas in (("..2026_02", 10), ("..2026_03", 2)):
            before = (volume / "..data").readlink()
            project(version, replicas)
            for file in (volume / before).iterdir():
                file.unlink()
            (volume / before).rmdir()
            self.here.await_allocatable(2 * replicas)

    def test_deleted_leaves_everything_as_it_is_and_is_taken_when_it_is_back(self):
        self.here.start(devices=8)
        self.here.config_file.unlink()
        self.here.agent.signal(signal.SIGHUP)
        self.here.await_problem("refused", "config.yaml")
        self.assertEqual(self.here.resource()["allocatable"], 8)
        self.here.write_config(config(10))
        self.here.await_allocatable(20)
        self.here.await_health("ok")

    def test_whose_directory_is_replaced_is_taken(self):
        folder = self.here.directory / "etc"
        folder.mkdir()
        (folder / "config.yaml").write_text(config(4))
        self.here.start(devices=8, config_file=folder / "config.yaml")
        folder.rename(self.here.directory / "old")
        folder.mkdir()
        (folder / "config.yaml").write_text(config(10))
        self.here.await_allocatable(20)

    def test_changed_a_hundred_times_ends_with_the_last_one(self):
        self.here.start(devices=8)
        for turn in range(100):
            self.here.write_config(config(2 + turn % 50))
        self.here.write_config(config(7))
        self.here.await_allocatable(14)
        self.assertEqual(len(self.here.resource()["devices"]), 14)
        self.assertTrue(self.here.agent.running())
        self.here.await_health("ok")

    def test_that_says_the_same_sends_nothing_to_the_kubelet(self):
        self.here.start(devices=8)
        self.here.write_config("# the same\n" + config(4))
        eventually("a reload", lambda: self.here.metric("kerf_config_reloads_total") == 1)
        self.assertEqual(self.here.resource()["updates"], 1)

    def test_keeps_the_slices_of_running_pods(self):
        self.here.start(devices=8)
        pod = self.here.pod("runs")
        self.here.write_config(config(10))
        self.here.await_allocatable(20)
        self.assertIn(pod["ids"][0], [d["id"] for d in self.here.resource()["devices"]])
        eventually("in use", lambda: self.here.status()["resources"][0]["in_use"] == 1)


class Sighup(node.NodeTest):
    def test_reads_the_configuration_again(self):
        here = self.node()
        here.start(devices=8)
        here.agent.signal(signal.SIGHUP)
        here.await_log("SIGHUP")
        eventually("a reload", lambda: here.metric("kerf_config_reloads_total") == 1)
        self.assertEqual(here.resource()["allocatable"], 8)
        here.agent.signal(signal.SIGHUP)
        eventually("another", lambda: here.metric("kerf_config_reloads_total") == 2)
        self.assertEqual(here.resource()["registrations"], 1)

    def test_without_a_file_changes_nothing(self):
        here = self.node()
        here.start(devices=2, config_file=None)
        here.agent.signal(signal.SIGHUP)
        here.await_log("SIGHUP")
        here.await_health("ok")
        self.assertEqual(here.resource()["allocatable"], 2)


class ABrokenFile(node.NodeTest):
    def refused(self, here, where, said):
        problem = here.await_problem("refused", f"config.yaml{where}", said)
        self.assertIn("kerf config check", problem["remedy"])
        here.await_log(rf'level=error room=config.*subject="?[^ ]*config\.yaml{where}')
        self.assertEqual(here.health()[0], 200)  # degraded: what was in force serves on
        self.assertEqual(here.metric("kerf_config_last_reload_successful"), 0)
        self.assertEqual(here.status()["config"]["last_error"] != "", True)
        shown = here.kerf("status", "--address", here.address())
        self.assertEqual(shown.returncode, 1)
        self.assertRegex(shown.stdout, f"refused(.|\n)*config.yaml{where}")

    def test_is_refused_with_its_place_and_the_old_one_stays_in_force(self):
        here = self.node()
        here.start(devices=8)
        for number, (what, text, where, said) in enumerate(BROKEN, 1):
            with self.subTest(what=what):
                here.write_config(text)
                eventually("refused", lambda n=number:
                           here.metric("kerf_config_reload_failures_total") == n)
                self.refused(here, where, said)
                self.assertEqual(here.resource()["allocatable"], 8)
                checked = here.kerf("config", "check", str(here.config_file))
                self.assertEqual(checked.returncode, 1)
                self.assertRegex(checked.stdout + checked.stderr, f"config.yaml{where}: error")
        here.write_config(config(5))
        here.await_allocatable(10)
        here.await_health("ok")
        self.assertEqual(here.metric("kerf_config_last_reload_successful"), 1)
        self.assertEqual(here.pod("one")["phase"], "Running")

    def test_corrected_to_what_is_in_force_is_well_again(self):
        here = self.node()
        here.start(devices=8)
        good = here.config_file.read_text()
        before = here.resource()["updates"]
        here.write_config(config(0))
        here.await_health("degraded")
        here.write_config(good)
        here.await_health("ok")
        self.assertEqual(here.resource()["updates"], before)

    def test_of_absurd_size_is_refused(self):
        here = self.node()
        here.start(devices=8)
        here.write_config("version: v1\n" + "# more\n" * 300_000)
        here.await_problem("refused", r"config\.yaml", "(?i)large|big|bytes|MiB")
        self.assertEqual(here.resource()["allocatable"], 8)
        here.write_config(config(2))
        here.await_allocatable(4)
        here.await_health("ok")

    def test_that_became_a_directory_is_refused(self):
        here = self.node()
        here.start(devices=8)
        here.config_file.unlink()
        here.config_file.mkdir()
        here.await_problem("refused", "(?i)directory")
        here.config_file.rmdir()
        here.write_config(config(2))
        here.await_allocatable(4)
        here.await_health("ok")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to run the agent as another user")
    def test_that_may_not_be_read_is_refused(self):
        here = self.node()
        here.start_kubelet()
        for path in (here.directory, here.kubelet_directory):
            os.chmod(path, 0o777)
        os.chmod(here.kubelet_socket, 0o777)
        here.start(devices=8, user=node.NOBODY)
        new = here.directory / "new.yaml"
        new.write_text(config(10))
        new.chmod(0o600)
        new.rename(here.config_file)
        here.await_problem("refused", r"config\.yaml", "(?i)permission")
        self.assertEqual(here.resource()["allocatable"], 8)
        new.write_text(config(2))
        new.chmod(0o644)
        new.rename(here.config_file)
        here.await_allocatable(4)

    def test_at_the_start_ends_the_agent_with_its_place(self):
        for what, text, where, said in BROKEN:
            with self.subTest(what=what):
                here = self.node()
                here.write_config(text)
                here.start_agent()
                self.assertEqual(here.agent.wait(), 1)
                self.assertRegex(here.log(), rf"level=error .*config\.yaml{where}")
                self.assertRegex(here.log(), said)
                self.assertEqual(here.log().count("level=error"), 1)

    def test_with_unknown_keys_is_taken_with_a_warning_that_names_the_nearest_key(self):
        here = self.node()
        here.write_config(config(4).replace("replicas: 4", "replicas: 4\n        renam: x"))
        here.start(devices=8)
        here.await_log(r"level=warn room=config msg=\S.*config\.yaml:7:9.*did you mean rename\?")
        warnings = here.status()["config"]["warnings"]
        self.assertEqual(len(warnings), 1)
        self.assertRegex(warnings[0], r"config\.yaml:7:9")
        here.await_health("ok")

    def test_that_shares_a_gpu_which_is_not_there_shares_none_and_says_so(self):
        here = self.node()
        here.start(devices=8)
        here.write_config(config(4).replace("replicas: 4", "replicas: 4\n        devices: [7]"))
        here.await_allocatable(2)
        shown = here.status()["config"]
        self.assertEqual(shown["last_error"], "")
        self.assertEqual(shown["warnings"], [
            "sharing.timeSlicing.resources[0].devices: no matching device at index: 7."])
        here.await_log(r"level=warn .*no matching device at index: 7")


class Resources(node.NodeTest):
    def test_are_named_by_the_models_that_they_match(self):
        here = self.node()
        here.write_config("version: v1\nresources:\n  gpus:\n"
                          "    - {pattern: '*3090*', name: nvidia.com/rtx}\n"
                          "sharing: {timeSlicing: {resources: [{name: nvidia.com/rtx, replicas: 3}]}}\n")
        here.start()
        here.await_allocatable(6, "nvidia.com/rtx")
        self.assertEqual(list(here.resources()), ["nvidia.com/rtx"])
        self.assertEqual(here.sockets(), ["nvidia-rtx.sock"])
        self.assertEqual(here.pod("p", 1, "nvidia.com/rtx")["phase"], "Running")
        # Renamed again: pods of the old name find no more room, the new one has its own socket.
        here.write_config("version: v1\nresources:\n  gpus:\n"
                          "    - {pattern: '*', name: nvidia.com/any}\n")
        here.await_allocatable(2, "nvidia.com/any")
        here.await_allocatable(0, "nvidia.com/rtx")
        self.assertEqual(here.sockets(), ["nvidia-any.sock"])

    def test_of_mig_devices_are_named_by_their_profiles(self):
        here = self.node("a100-80x1-mig")
        here.write_config("version: v1\nflags: {migStrategy: mixed}\nresources:\n  mig:\n"
                          "    - {pattern: '3g.40gb', name: nvidia.com/half}\n"
                          "    - {pattern: '*', name: nvidia.com/part}\n")
        here.start()
        eventually("named", lambda: here.resource("nvidia.com/half")["allocatable"] > 0)
        self.assertNotIn("nvidia.com/mig-3g.40gb", here.resources())


class Sharing(node.NodeTest):
    def test_renamed_by_default_has_a_name_and_a_socket_of_its_own(self):
        here = self.node()
        here.write_config(config(4, timeSlicing={"renameByDefault": True}))
        here.start()
        here.await_allocatable(8, "nvidia.com/gpu.shared")
        self.assertEqual(list(here.resources()), ["nvidia.com/gpu.shared"])
        self.assertEqual(here.sockets(), ["nvidia-gpu.shared.sock"])

    def test_switched_to_another_name_leaves_no_socket_behind(self):
        here = self.node()
        here.start(devices=8)
        here.write_config(config(4, timeSlicing={"renameByDefault": True}))
        here.await_allocatable(8, "nvidia.com/gpu.shared")
        eventually("one socket", lambda: here.sockets() == ["nvidia-gpu.shared.sock"])
        here.await_allocatable(0)
        here.await_health("ok")
        here.write_config(config(4))
        here.await_allocatable(8)
        eventually("one socket", lambda: here.sockets() == ["nvidia-gpu.sock"])

    def test_of_one_gpu_only_leaves_the_other_whole(self):
        here = self.node()
        here.write_config(config(4).replace(
            "replicas: 4", "replicas: 4\n        rename: nvidia.com/gpu.slice\n        devices: [0]"))
        here.start(devices=1)
        here.await_allocatable(4, "nvidia.com/gpu.slice")
        self.assertEqual(here.sockets(), ["nvidia-gpu.slice.sock", "nvidia-gpu.sock"])
        self.assertTrue(re.fullmatch("GPU-[0-9a-f-]+", here.resource()["devices"][0]["id"]))


class ImexChannels(node.NodeTest):
    MISSING = "requested IMEX channel channel0 does not exist"

    def test_that_are_required_and_missing_end_the_start(self):
        here = self.node()
        here.write_config(config(4) + "imex: {channelIDs: [0], required: true}\n")
        here.start_kubelet()
        here.start_agent()
        self.assertEqual(here.agent.wait(), 1)
        self.assertRegex(here.log(), self.MISSING)
        self.assertRegex(here.log(), "hint=.*imex.required")

    def test_that_are_missing_are_left_out_when_not_required(self):
        here = self.node()
        here.write_config(config(4) + "imex: {channelIDs: [0]}\n")
        here.start(devices=8)
        here.await_log("configured IMEX channel does not exist")
        self.assertNotIn("NVIDIA_IMEX_CHANNELS", here.pod("one")["envs"])

    def test_that_become_required_and_are_missing_leave_the_configuration_as_it_was(self):
        here = self.node()
        here.start(devices=8)
        here.write_config(config(2) + "imex: {channelIDs: [0], required: true}\n")
        here.await_problem("refused", self.MISSING)
        self.assertEqual(here.resource()["allocatable"], 8)
        here.write_config(config(2))
        here.await_allocatable(4)
        here.await_health("ok")


class WhatOnlyAStartCanChange(node.NodeTest):
    def test_is_said_when_it_changes(self):
        here = self.node()
        here.start(devices=8)
        here.write_config(config(2, plugin={"containerDriverRoot": "/elsewhere"}))
        here.await_allocatable(4)
        here.await_log("containerDriverRoot takes effect at the next start")


if __name__ == "__main__":
    node.main()
