"""Dashboards and rules as files: made by tools/monitoring/make, well formed, and complete. What their
expressions find is tests/watch/test_live.py's business, when alerts fire that of test_alerts.py."""

import re
import shutil
import subprocess
import unittest

import pictures
import yaml

MAKE = pictures.REPOSITORY / "tools/monitoring/make"
COMPONENTS = pictures.REPOSITORY / "deploy/kustomize/components"
DOCS = pictures.REPOSITORY / "docs"
# kubectl apply writes the whole object into an annotation, which must not be larger.
APPLIED = 262144


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


class Files(unittest.TestCase):
    def test_are_what_the_generator_makes(self):
        done = subprocess.run([MAKE, "--check"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_operator_gets_the_same_rules(self):
        rule = yaml.safe_load((COMPONENTS / "prometheus-operator/prometheusrule.yaml").read_text())
        self.assertEqual(rule["spec"]["groups"], yaml.safe_load(pictures.RULES.read_text())["groups"])

    def test_every_dashboard_is_in_the_component(self):
        component = yaml.safe_load((pictures.GRAFANA / "kustomization.yaml").read_text())
        generated = component["configMapGenerator"]
        self.assertEqual({name for one in generated for name in one["files"]}, set(pictures.boards()))
        for one in generated:
            self.assertEqual(one["options"]["labels"], {"grafana_dashboard": "1"})


class Dashboards(unittest.TestCase):
    def each(self):
        for name, board in pictures.boards().items():
            with self.subTest(board=name):
                yield name, board

    def test_there_is_one_for_each_topic(self):
        self.assertEqual(set(pictures.boards()), {f"kerf-{topic}.json" for topic in (
            "node", "gpu", "power", "sharing", "partitions")})

    def test_can_be_provisioned(self):
        for name, board in self.each():
            self.assertEqual(board["uid"] + ".json", name)
            self.assertGreaterEqual(board["schemaVersion"], 39)
            self.assertNotIn("id", board)
            self.assertTrue(board["title"] and board["description"])
            self.assertLess((pictures.GRAFANA / name).stat().st_size, APPLIED * 3 // 4)
        self.assertEqual(len({b["title"] for b in pictures.boards().values()}), len(pictures.boards()))

    def test_ask_the_data_source_that_the_reader_chose(self):
        for _, board in self.each():
            first, *others = board["templating"]["list"]
            self.assertEqual((first["name"], first["type"]), ("datasource", "datasource"))
            for one in [*others, *(p for p in panels(board) if p["type"] != "text"),
                        *(t for p in panels(board) for t in p.get("targets", ()))]:
                self.assertEqual(one["datasource"], {"type": "prometheus", "uid": "${datasource}"})

    def test_use_every_variable_and_no_other(self):
        for _, board in self.each():
            declared = {v["name"] for v in board["templating"]["list"]} - {"datasource"}
            expressions = " ".join(t["expr"] for p in panels(board) for t in p.get("targets", ()))
            used = set(re.findall(r"\$([a-z]\w*)", expressions))
            self.assertEqual(used, declared)
        for name, variables in (("kerf-node", {"node"}), ("kerf-gpu", {"node", "gpu"}),
                                ("kerf-sharing", {"node", "gpu", "namespace", "pod"})):
            board = pictures.boards()[f"{name}.json"]
            self.assertEqual({v["name"] for v in board["templating"]["list"]} - {"datasource"}, variables)

    def test_every_panel_says_what_it_shows_in_a_unit(self):
        for name, board in self.each():
            self.assertEqual(len({p["id"] for p in board["panels"]}), len(board["panels"]))
            titles = [p["title"] for p in panels(board)]
            for panel in panels(board):
                if panel["type"] == "text":
                    self.assertTrue(panel["options"]["content"])
                    continue
                self.assertTrue(panel["description"], f"{name}: {panel['title']}")
                defaults = panel["fieldConfig"]["defaults"]
                self.assertTrue(defaults["unit"] and defaults["thresholds"]["steps"])
                self.assertTrue(panel["targets"], titles)

    def test_lines_have_legends_that_tell_them_apart(self):
        for name, board in self.each():
            for panel in panels(board):
                if panel["type"] == "timeseries":
                    legends = [target["legendFormat"] for target in panel["targets"]]
                    self.assertTrue(all(legends), f"{name}: {panel['title']}")
                    self.assertEqual(len(set(legends)), len(legends), panel["title"])

    def test_no_panel_lies_on_another(self):
        for name, board in self.each():
            taken = set()
            for panel in board["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24)
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                         for y in range(place["y"], place["y"] + place["h"])}
                self.assertFalse(cells & taken, f"{name}: {panel['title']}")
                taken |= cells

    def test_have_the_panels_that_people_ask_for(self):
        titles = {p["title"] for board in pictures.boards().values() for p in board["panels"]}
        # S0-43 to S0-45.
        self.assertLessEqual({"Plugin health", "Restarts", "Allocation vs availability",
                              "Time-slicing efficiency per GPU"}, titles)

    def test_links_between_them_lead_somewhere(self):
        uids = {board["uid"] for board in pictures.boards().values()}
        for _, board in self.each():
            self.assertEqual({link["url"] for link in board["links"]},
                             {f"/d/{uid}" for uid in uids - {board["uid"]}})


class Alerts(unittest.TestCase):
    def test_say_what_how_bad_and_what_to_do(self):
        headings = {heading.strip().lower().replace(" ", "-") for heading in re.findall(
            r"^#+ (.*)$", (DOCS / "troubleshooting.md").read_text(), re.M)}
        for name, rule in pictures.alerts().items():
            with self.subTest(alert=name):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                file, anchor = rule["annotations"]["runbook_url"].split("#")
                self.assertEqual((file, anchor), ("docs/troubleshooting.md", name.lower()))
                self.assertIn(anchor, headings)

    def test_are_all_in_the_table_of_the_documentation(self):
        rows = re.findall(r"^\| \[`(\w+)`\]\((\S+)\) \| (\w+) \| (\S+) \|",
                          (DOCS / "monitoring.md").read_text(), re.M)
        self.assertEqual([(name, link, severity, wait) for name, link, severity, wait in rows],
                         [(name, f"troubleshooting.md#{name.lower()}", rule["labels"]["severity"],
                           rule.get("for", "–")) for name, rule in pictures.alerts().items()])


class Documentation(unittest.TestCase):
    def test_names_every_dashboard(self):
        named = re.findall(r"^\| .* \(`(kerf-\w+)`\) \|", (DOCS / "monitoring.md").read_text(), re.M)
        self.assertEqual(sorted(named), sorted(board["uid"] for board in pictures.boards().values()))

    def test_names_every_monitor_and_its_job(self):
        rows = re.findall(r"^\| (ServiceMonitor|PodMonitor) `([\w-]+)` \| .* \| `(\S+)` \|",
                          (DOCS / "monitoring.md").read_text(), re.M)
        self.assertEqual({job for _, _, job in rows}, set(pictures.monitors()))
        known = pictures.alerts()["KerfAgentDown"]["expr"]
        jobs = re.search(r'job=~"([^"]+)"', known).group(1)
        for job in pictures.monitors():
            self.assertRegex(job, f"^(?:{jobs})$")

    @unittest.skipIf(shutil.which("promtool") is None, "promtool is not installed")
    def test_the_scrape_configuration_is_one(self):
        blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "monitoring.md").read_text(), re.S)
        (scrape,) = [block for block in blocks if "scrape_configs" in block]
        folder = pictures.scratch(self)
        shutil.copy(pictures.RULES, folder / "kerf.rules.yaml")
        # Debian's Prometheus is built without Kubernetes.
        here, times = re.subn(r"    kubernetes_sd_configs:\n(      .*\n)+",
                              "    static_configs: [{targets: ['a:1']}]\n", scrape)
        self.assertEqual(times, 1)
        (folder / "prometheus.yml").write_text(here)
        done = subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"],
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
