"""Power limits on a real agent: set at the start, held against drift, reloads and lost GPUs, and what
is said when they cannot be. The agent runs as root here, as its pod does."""

import json
import os
import pathlib
import re
import subprocess
import unittest

from node import KERF, NVML_LIBRARY, PATIENCE, NodeTest, eventually, main

ONLY = {"components": "power,http"}


def power(**section):
    """A configuration with this power section."""
    return "version: v1\npower: " + json.dumps(section) + "\n"


@unittest.skipUnless(os.geteuid() == 0, "limits can be set by root only")
class PowerTest(NodeTest):
    def started(self, machine="rtx3090x2", section=None, env=None):
        node = self.node(machine)
        node.write_config(power(**(section if section is not None else {"limit": 300})))
        node.start_agent(env=env, **ONLY)
        node.address()
        return node

    def driver_says(self, node, field):
        """What the driver holds, asked by another program than ours."""
        folder = pathlib.Path(NVML_LIBRARY).parent
        done = subprocess.run([folder / "sim-nvidia-smi", f"--query-gpu={field}",
                               "--format=csv,noheader,nounits"], capture_output=True, text=True,
                              env={**node.environment, "LD_LIBRARY_PATH": str(folder)},
                              timeout=PATIENCE, check=False)
        return done.stdout

    def limits(self, node):
        """In watts, by GPU."""
        out = self.driver_says(node, "power.limit")
        return [float(line) if line[0].isdigit() else line for line in out.split("\n") if line]

    def await_limits(self, node, *watts):
        try:
            eventually(f"limits of {watts}", lambda: self.limits(node) == list(watts))
        except AssertionError as late:
            raise AssertionError(f"{late}; they are {self.limits(node)}\n{node.log()}") from None


class Start(PowerTest):
    def test_sets_all_gpus_and_says_so_in_a_table(self):
        node = self.started()
        self.await_limits(node, 300, 300)
        table = node.await_log(r"GPU +NAME +DEFAULT +RANGE +BEFORE +AFTER.*\n(.*)\n(.*)\n")
        for index, most in enumerate((390, 350)):
            self.assertRegex(table.group(index + 1),
                             rf"^{index} +NVIDIA GeForce RTX 3090 +350 W +100-{most} W +350 W +300 W "
                             r"+[\d.]+ W +\d+% +set$")
        for index in "01":
            self.assertEqual(node.metric("kerf_power_limit_watts", gpu=index), 300)
            self.assertEqual(node.metric("kerf_power_default_limit_watts", gpu=index), 350)
            self.assertEqual(node.metric("kerf_power_applied_total", gpu=index), 1)
            self.assertEqual(node.metric("kerf_power_state", gpu=index, state="held"), 1)
        modes = self.driver_says(node, "persistence_mode")
        self.assertEqual(modes.split(), ["Enabled", "Enabled"])
        self.assertEqual(node.problems(), [])
        # Set before it is watched: the first line of the room is that of the persistence mode.
        self.assertRegex(node.await_log(r'room=power msg="([^"]*)"').group(1), "persistence mode set")
        self.assertEqual(node.stop_agent(), 0)
        self.assertEqual(self.limits(node), [300, 300])

    def test_takes_the_old_variables(self):
        node = self.started(section={}, env={"POWER_LIMIT_WATTS": "280", "REAPPLY_SECONDS": "1"})
        self.await_limits(node, 280, 280)
        # Every second now: an OK line with the utilisation of each GPU.
        node.await_log(r'msg="power limit holds" gpu=1 name="NVIDIA GeForce RTX 3090" limit="280 W" '
                       r'draw="[\d.]+ W" utilization=\d+% memory_utilization=\d+%')

    def test_gives_each_model_its_own(self):
        node = self.started("mixed", section={
            "limit": "85%", "gpus": [{"model": "Tesla T4", "limit": "62W"}]})
        self.await_limits(node, 297.5, 62)

    def test_waits_for_a_driver(self):
        node = self.node()
        node.write_config(power(limit=300))
        node.fault("driver-unload")
        node.start_agent(**ONLY, env={"FAIL_ON_INIT_ERROR": "false"})
        node.await_log("no driver, waiting for one|the driver does not work, waiting until it does")
        self.assertTrue(node.agent.running())
        self.assertEqual(node.metric("kerf_power_checks_total"), 0)
        node.fault("driver-reload")
        self.await_limits(node, 300, 300)

    def test_skips_a_board_without_limits(self):
        node = self.started("dgx-spark-gb10")
        node.await_log(r'msg="power limit left as it is".*not support')
        self.assertEqual(node.metric("kerf_power_state", state="unsupported"), 1)
        self.assertEqual(node.problems(), [])

    def test_refuses_what_the_board_does_not_take(self):
        node = self.started(section={"limit": 50})
        problem = node.await_problem("power limit of GPU 0 is refused", "100 W to 390 W")
        self.assertIn("outOfRange", problem["remedy"])
        self.assertEqual(self.limits(node), [350, 350])
        node.write_config(power(limit=600, outOfRange="clamp"))
        self.await_limits(node, 390, 350)
        node.await_log(r'msg="power limit clamped".*390 W is taken')
        eventually("no problems", lambda: node.problems() == [])


class Hold(PowerTest):
    def test_sets_only_the_gpu_that_drifted(self):
        node = self.started(section={"limit": 300, "reapply": "1s"})
        self.await_limits(node, 300, 300)
        node.fault("limit-drift", "350", "--gpu", "1")
        self.await_limits(node, 300, 300)
        node.await_log(r'msg="power limit had drifted and was set again" gpu=1 .*found="350 W"')
        self.assertEqual(node.metric("kerf_power_drifts_total", gpu="1"), 1)
        self.assertEqual(node.metric("kerf_power_drifts_total", gpu="0"), 0)
        self.assertEqual(node.metric("kerf_power_applied_total", gpu="0"), 1)
        self.assertEqual(node.metric("kerf_power_applied_total", gpu="1"), 2)
        self.assertRegex(str(node.status()["events"]), "GPU 1 was found at a power limit of 350 W")

    def test_sets_all_again_when_the_driver_was_loaded_anew(self):
        node = self.started()
        self.await_limits(node, 300, 300)
        node.fault("driver-reload")
        for index in "01":
            eventually("it is set again", lambda: node.metric("kerf_power_applied_total",
                                                              gpu=index) == 2)
        self.await_limits(node, 300, 300)
        self.assertIn("Enabled", self.driver_says(node, "persistence_mode"))

    def test_sets_a_gpu_again_that_was_lost_and_came_back(self):
        node = self.started()
        self.await_limits(node, 300, 300)
        node.fault("lost", "--gpu", "1")
        eventually("it is noticed", lambda: node.metric("kerf_power_state", gpu="1",
                                                        state="unreadable") == 1)
        self.assertTrue(node.agent.running())
        node.fault("back", "--gpu", "1")
        self.await_limits(node, 300, 300)
        self.assertEqual(node.metric("kerf_power_applied_total", gpu="0"), 1)

    def test_follows_the_configuration(self):
        node = self.started()
        self.await_limits(node, 300, 300)
        node.write_config(power(limit=280, gpus=[{"pci": "0000:02:00.0", "limit": "default"}]))
        self.await_limits(node, 280, 350)

    def test_puts_the_defaults_back_when_asked_to(self):
        node = self.started(section={"limit": 300, "restoreOnExit": True})
        self.await_limits(node, 300, 300)
        self.assertEqual(node.stop_agent(), 0)
        self.assertEqual(self.limits(node), [350, 350])

    def test_locks_clocks_and_sets_time_slices(self):
        node = self.node("rtx3090x1")
        said = node.directory / "said"
        programs = node.directory / "programs"
        programs.mkdir()
        program = programs / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
        program.chmod(0o755)
        node.write_config(power(graphicsClock="210-900", timeSlice="long"))
        node.sim("set", "--load", "100")
        node.start_agent(**ONLY, env={"PATH": f"{programs}:{os.environ['PATH']}"})
        node.await_log(r'msg="graphics clock set".*now="210-900 MHz"')
        node.await_log(r'msg="time slice set".*now=long')
        self.assertRegex(said.read_text(), r"^compute-policy -i GPU-\S+ --set-timeslice 3\n$")
        clock = self.driver_says(node, "clocks.gr")
        self.assertLessEqual(int(clock), 900)

    def test_keeps_a_budget(self):
        node = self.started(section={"budget": {"total": 550, "interval": "1s"}})
        self.await_limits(node, 275, 275)
        self.assertEqual(node.metric("kerf_power_budget_watts"), 550)
        node.sim("set", "--gpu", "0", "--load", "100")
        eventually("watts move to the GPU that works",
                   lambda: self.limits(node)[0] > 300 and sum(self.limits(node)) <= 550)
        self.assertEqual(node.problems(), [])


class Trouble(PowerTest):
    def test_one_gpu_that_refuses_does_not_stop_the_other(self):
        node = self.node()
        node.write_config(power(limit=300))
        node.fault("setter", "999", "--gpu", "0")
        node.start_agent(**ONLY)
        self.await_limits(node, 350, 300)
        node.await_problem("power settings of GPU 0 cannot be changed")
        self.assertEqual(len(re.findall("power limit not set", node.log())), 1)
        node.sim("clear")
        self.await_limits(node, 300, 300)
        eventually("no problems", lambda: node.problems() == [])

    def test_a_setting_without_effect_is_noticed(self):
        node = self.node("rtx3090x1")
        node.write_config(power(limit=300))
        node.fault("setter", "0", "--gpu", "0")
        node.start_agent(**ONLY)
        node.await_problem("holds 350 W all the same")

    def test_missing_rights_are_named_with_a_remedy(self):
        node = self.node("rtx3090x1")
        node.write_config(power(limit=300))
        node.fault("setter", "4", "--gpu", "0")
        node.start_agent(**ONLY)
        problem = node.await_problem("power settings of GPU 0 cannot be changed", "permission")
        self.assertIn("privileged", problem["remedy"])
        self.assertEqual(node.health()[0], 200)
        self.assertEqual(node.metric("kerf_power_failures_total", kind="denied"), 1)

    def test_a_gpu_that_hangs_costs_itself_alone(self):
        node = self.node()
        node.write_config(power(limit=300))
        node.fault("hang", "--call", "DeviceGetEnforcedPowerLimit", "--gpu", "0")
        node.start_agent(**ONLY)
        self.await_limits(node, 350, 300)
        node.await_problem("power limit of GPU 0 is not looked after", "did not answer")
        self.assertEqual(node.health()[0], 200)
        node.sim("clear")
        self.await_limits(node, 300, 300)

    def test_a_driver_that_hangs_does_not_hold_the_end(self):
        node = self.started(section={"limit": 300, "reapply": "1s", "restoreOnExit": True})
        self.await_limits(node, 300, 300)
        node.fault("hang", "--call", "*")
        self.assertEqual(node.stop_agent(), 0)
        node.sim("clear")

    def test_absurd_answers_are_not_believed(self):
        node = self.started(section={"limit": 300, "reapply": "1s"})
        self.await_limits(node, 300, 300)
        node.fault("limit-drift", "4294967", "--gpu", "1")
        self.await_limits(node, 300, 300)
        node.await_log('msg="the driver answers what cannot be; it is not used" gpu=1')
        self.assertEqual(node.metric("kerf_power_limit_watts", gpu="1"), 300)


class Commands(PowerTest):
    """What users of the seed's pods type, on `kerf smi` called by the name that they know."""

    def setUp(self):
        self.machine = self.node()
        programs = self.machine.directory / "programs"
        programs.mkdir()
        (programs / "nvidia-smi").symlink_to(KERF)
        self.program = programs / "nvidia-smi"

    def smi(self, *arguments, status=0):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True,
                              env={**self.machine.environment, "KERF_NVML_LIBRARY": NVML_LIBRARY},
                              timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def power(self, *arguments, status=0):
        done = self.machine.kerf("power", *arguments, "--nvml-library", NVML_LIBRARY)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_the_documented_query_prints_csv_with_head_and_units(self):
        lines = self.smi("--query-gpu=index,name,power.limit,power.draw,utilization.gpu",
                         "--format=csv").splitlines()
        self.assertEqual(lines[0], "index, name, power.limit [W], power.draw [W], utilization.gpu [%]")
        for index, line in enumerate(lines[1:]):
            self.assertRegex(line, rf"^{index}, NVIDIA GeForce RTX 3090, 350\.00 W, \d+\.\d\d W, 0 %$")
        self.assertEqual(len(lines), 3)

    def test_the_queries_of_the_old_loop_are_answered(self):
        out = self.smi("--query-gpu=index,name,power.limit,power.default_limit,power.max_limit,power.draw",
                       "--format=csv,noheader,nounits")
        self.assertRegex(out.splitlines()[1], r"^1, NVIDIA GeForce RTX 3090, 350\.00, 350\.00, 350\.00, \d")
        self.assertEqual(self.smi("--query-gpu=index,utilization.gpu,utilization.memory",
                                  "--format=csv,noheader", "-i", "1"), "1, 0 %, 0 %\n")

    def test_power_is_shown_in_full(self):
        text = self.smi("-q", "-d", "POWER")
        self.assertIn("==============NVSMI LOG==============", text)
        self.assertRegex(text, r"\nAttached GPUs +: 2\n")
        for key, value in {"Current Power Limit": "350.00 W", "Requested Power Limit": "350.00 W",
                           "Default Power Limit": "350.00 W", "Min Power Limit": "100.00 W",
                           "Max Power Limit": "390.00 W"}.items():
            self.assertRegex(text, rf"\n        {key} +: {value}\n")
        self.assertIn("\nGPU 00000000:01:00.0\n    GPU Power Readings\n", text)

    def test_persistence_and_limit_are_set_as_the_old_loop_did(self):
        self.assertEqual(self.smi("-pm", "1"),
                         "Enabled persistence mode for GPU 00000000:01:00.0.\n"
                         "Enabled persistence mode for GPU 00000000:02:00.0.\nAll done.\n")
        self.assertEqual(self.smi("-pl", "300"),
                         "Power limit for GPU 00000000:01:00.0 was set to 300.00 W from 350.00 W.\n"
                         "Power limit for GPU 00000000:02:00.0 was set to 300.00 W from 350.00 W.\n"
                         "All done.\n")
        self.assertEqual(self.limits(self.machine), [300, 300])
        self.smi("-i", "1", "-pl", "250")
        self.assertEqual(self.limits(self.machine), [300, 250])

    def test_what_cannot_be_is_refused_with_a_status(self):
        self.assertIn("between 100.00 W and 390.00 W", self.smi("-pl", "50", status=2))
        self.assertEqual(self.limits(self.machine), [350, 350])
        self.assertIn('"power.drawn" is not a valid field',
                      self.smi("--query-gpu=power.drawn", "--format=csv", status=2))
        self.smi("--frobnicate", status=2)
        self.smi("--query-gpu=name", status=2)
        self.assertIn("No devices were found", self.smi("-L", "-i", "7", status=6))
        self.machine.fault("setter", "4", "--gpu", "0")
        self.assertIn("Insufficient Permissions", self.smi("-pl", "300", "-i", "0", status=4))

    def test_a_lost_gpu_does_not_hide_the_other(self):
        self.machine.fault("lost", "--gpu", "0")
        self.assertIn("\n1, NVIDIA GeForce RTX 3090",
                      self.smi("--query-gpu=index,name", "--format=csv", status=15))

    def test_the_table_has_the_shape_that_people_know(self):
        lines = self.smi().splitlines()
        widths = {len(line) for line in lines[1:]}
        self.assertEqual(widths, {91})
        self.assertTrue(any("NVIDIA GeForce RTX 3090" in line and "00000000:01:00.0" in line
                            for line in lines))
        self.assertIn("|  No running processes found", lines[-2])
        self.assertRegex(self.smi("-L"), r"^GPU 0: NVIDIA GeForce RTX 3090 \(UUID: GPU-")

    def test_dmon_prints_a_line_a_gpu_and_turn(self):
        lines = self.smi("dmon", "-c", "2").splitlines()
        self.assertRegex(lines[0], r"^# gpu +pwr +gtemp +mtemp +sm +mem +enc +dec +jpg +ofa +mclk +pclk $")
        self.assertRegex(lines[1], r"^# Idx +W +C +C( +%){6} +MHz +MHz $")
        self.assertEqual([line.split()[0] for line in lines[2:]], ["0", "1", "0", "1"])
        self.assertRegex(lines[2], r"^    0 +\d+ +\d+ +- +0 +0 +\d+ +\d+ +- +- +\d+ +\d+ $")
        self.assertEqual(self.smi("dmon", "-s", "p", "-i", "1", "-c", "1").splitlines()[0].split(),
                         ["#", "gpu", "pwr", "gtemp", "mtemp"])
        self.assertIn("-s x", self.smi("dmon", "-s", "x", status=2))

    def test_processes_are_in_the_foot_of_the_table_and_in_csv(self):
        # One that is there to be seen, and one whose name nobody knows.
        here = str(os.getpid())
        self.machine.sim("process", "add", "-g", "0", "--pid", here, "--mem", "4000", "--sm", "5")
        self.machine.sim("process", "add", "-g", "1", "--pid", "999999999", "--mem", "10",
                         "--type", "graphics")
        lines = self.smi().splitlines()
        self.assertEqual({len(line) for line in lines[1:]}, {91})
        self.assertRegex("\n".join(lines), rf"\n\|    0   N/A  N/A +{here}      C   \S*python\S* +4000MiB \|\n"
                         r"\|    1   N/A  N/A +999999999      G   \[Not Found\] +10MiB \|\n\+---")
        out = self.smi("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv")
        head, line = out.splitlines()
        self.assertEqual(head, "gpu_uuid, pid, process_name, used_gpu_memory [MiB]")
        self.assertRegex(line, rf"^GPU-[0-9a-f-]{{36}}, {here}, \S*python\S*, 4000 MiB$")
        self.assertEqual(self.smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"),
                         f"{here}, 4000\n")
        self.assertEqual(self.smi("--query-compute-apps=pid", "--format=csv,noheader", "-i", "1"), "")
        self.assertIn('"pdi" is not a valid field',
                      self.smi("--query-compute-apps=pdi", "--format=csv", status=2))
        self.assertIn("used_gpu_memory, used_memory [MiB]", self.smi("--help-query-compute-apps"))

    def test_kerf_power_shows_and_sets_with_before_and_after(self):
        self.assertRegex(self.power("show"), r"0 +NVIDIA GeForce RTX 3090 +350 W +350 W +350 W +100 W +390 W")
        self.assertRegex(self.power("set", "80%", "-i", "1"),
                         r"GPU +NAME.*\n1 +NVIDIA GeForce RTX 3090 +350 W +100-350 W +350 W +280 W .* set\n")
        self.assertEqual(self.limits(self.machine), [350, 280])
        self.assertIn("refused: 600 W is outside", self.power("set", "600", status=1))
        self.power("set", "600", "--clamp")
        self.assertEqual(self.limits(self.machine), [390, 350])
        self.assertEqual(self.power("watch", "-n", "1", "-c", "2").count("ENFORCED"), 2)
        self.power("set", "much", status=2)
        self.power("set", "300", "-i", "GPU-none", status=2)


if __name__ == "__main__":
    main()
