"""What docs/deployment.md and docs/security.md say about the manifests, compared with them."""

import re
import unittest

import render
import trees
import yaml

DOCS = trees.REPOSITORY / "docs"
DEPLOYMENT = (DOCS / "deployment.md").read_text()
SECURITY = (DOCS / "security.md").read_text()
TREES = (trees.TEN_SLICES, trees.FOUR_SLICES)


def table(text, *heading):
    """The rows below a heading, each a list of cells; code marks removed."""
    rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            for line in text.splitlines() if line.startswith("|")]
    start = rows.index(list(heading)) + 2
    end = next((i for i in range(start, len(rows)) if len(rows[i]) != len(heading)), len(rows))
    headings = [i for i in range(start, end) if set("".join(rows[i])) <= set("-")]
    return rows[start:headings[0] - 1] if headings else rows[start:end]


def pod(tree):
    return trees.the(tree, "DaemonSet")["spec"]["template"]["spec"]


def mounts(container, read_only):
    return {m["mountPath"] for m in container["volumeMounts"] if bool(m.get("readOnly")) == read_only}


def cell(text):
    return set() if text == "–" else set(text.split(", "))


class Security(unittest.TestCase):
    def test_the_table_of_containers_is_true(self):
        rows = table(SECURITY, "container", "uid", "writable mounts", "read-only mounts")
        containers = {c["name"]: c for c in render.containers(trees.the(trees.TEN_SLICES, "DaemonSet"))}
        self.assertEqual({row[0] for row in rows}, set(containers))
        for name, uid, writable, read_only in rows:
            one = containers[name]
            self.assertEqual(int(uid), one["securityContext"]["runAsUser"], name)
            self.assertEqual(cell(writable), mounts(one, False), name)
            self.assertEqual(cell(read_only), mounts(one, True), name)

    def test_the_other_deployment_adds_the_mounts_listed(self):
        rows = table(SECURITY, "mount", "host path", "why")
        paths = {v["name"]: v["hostPath"]["path"] for v in pod(trees.FOUR_SLICES)["volumes"]
                 if "hostPath" in v}
        plugin = pod(trees.FOUR_SLICES)["containers"][0]
        listed = {(mount, host) for mount, host, _ in rows}
        before = mounts(pod(trees.TEN_SLICES)["containers"][0], True)
        self.assertEqual(listed, {(m["mountPath"], paths[m["name"]]) for m in plugin["volumeMounts"]
                                  if m.get("readOnly") and m["mountPath"] not in before})

    def test_the_table_of_api_rights_is_the_cluster_role(self):
        rows = {row[0]: row[1].split(", ") for row in table(SECURITY, "resource", "verbs")}
        rules = trees.the(trees.TEN_SLICES, "ClusterRole")["rules"]
        self.assertEqual(rows, {r: rule["verbs"] for rule in rules for r in rule["resources"]})

    def test_the_table_of_labelling_components_is_true(self):
        for component, kind, grants, uid in table(SECURITY, "component", "kind", "grants", "uid"):
            needed = ("feature-discovery",) if component == "node-labels" else ()
            tree = trees.with_labels(trees.TEN_SLICES, *needed, component)
            labeller = next(c for c in pod(tree)["containers"] if c["name"] == "gpu-feature-discovery")
            self.assertEqual(labeller["securityContext"]["runAsUser"], int(uid), component)
            if kind != "–":
                role = next(o for o in trees.objects(tree, kind.split(" ")[0])
                            if o["metadata"]["name"] != "nvidia-device-plugin")
                said = "; ".join(f"{r}: {', '.join(rule['verbs'])}" for rule in role["rules"]
                                 for r in rule["resources"])
                self.assertEqual(grants, said, component)


class Deployment(unittest.TestCase):
    def test_every_file_it_names_is_there(self):
        named = set(re.findall(r"(?:infrastructure|gpu-device-plugin|deploy)/[\w./-]*",
                               DEPLOYMENT + SECURITY))
        self.assertGreater(len(named), 10)
        for path in named:
            self.assertTrue((trees.REPOSITORY / path.rstrip(".")).exists(), path)

    def test_every_object_it_lists_is_rendered_and_no_other(self):
        listed = {(kind, name) for kinds, name in table(DEPLOYMENT, "object", "name")
                  for kind in kinds.split(", ")}
        more = set(map(tuple, table(DEPLOYMENT, "object of gpu-device-plugin/ alone", "name")))
        for tree in TREES:
            self.assertEqual(listed | (more if tree == trees.FOUR_SLICES else set()),
                             {(t["kind"], t["metadata"]["name"]) for t in trees.rendered(tree)})

    def test_every_name_in_the_picture_is_an_object(self):
        picture = re.search(r"```mermaid\n(.*?)```", DEPLOYMENT, re.S).group(1)
        rendered = {(t["kind"], t["metadata"]["name"]) for t in trees.rendered(trees.TEN_SLICES)}
        kinds = "ConfigMap|Service|DaemonSet|RuntimeClass"
        drawn = set(re.findall(rf"({kinds})(?:<br/>| )([\w-]+)", picture))
        self.assertEqual({kind for kind, _ in drawn}, set(kinds.split("|")))
        self.assertLessEqual(drawn, rendered)
        containers = {c["name"]: c["securityContext"]["runAsUser"]
                      for c in pod(trees.TEN_SLICES)["containers"]}
        self.assertEqual(containers, {name: int(uid) for name, uid in
                                      re.findall(r'\["([\w-]+)<br/>uid (\d+)', picture)})

    def test_the_comparison_of_the_deployments_is_true(self):
        rows = {row[0]: row[1:] for row in table(
            DEPLOYMENT, "", "infrastructure/controllers/nvidia-device-plugin/", "gpu-device-plugin/")}
        for tree, column in zip(TREES, (0, 1)):
            config = yaml.safe_load(trees.the(tree, "ConfigMap")["data"]["config.yaml"])
            (resource,) = config["sharing"]["timeSlicing"]["resources"]
            self.assertEqual(rows["slices of each GPU"][column], str(resource["replicas"]))
            self.assertIn(config["flags"]["plugin"]["deviceListStrategy"],
                          rows["how a container learns its GPU"][column])
            self.assertIs(config["sharing"]["timeSlicing"]["failRequestsGreaterThanOne"], True)
            labels = trees.the(tree, "DaemonSet")["metadata"]["labels"]
            self.assertEqual(rows["behaves like NVIDIA's plugin"][column],
                             labels["app.kubernetes.io/version"])

    def test_the_labels_listed_are_those_selected(self):
        rows = {row[0] for row in table(DEPLOYMENT, "label", "set by")}
        affinity = pod(trees.TEN_SLICES)["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        self.assertEqual(rows, {e["key"] for term in terms for e in term["matchExpressions"]})

    def test_the_image_it_names_is_the_one_used(self):
        self.assertIn(f"`{pod(trees.TEN_SLICES)['containers'][0]['image']}`", DEPLOYMENT)

    def test_links_lead_somewhere(self):
        for name, text in (("deployment.md", DEPLOYMENT), ("security.md", SECURITY)):
            headings = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
                        for h in re.findall(r"^#+ (.*)$", text, re.M)}
            for target in re.findall(r"\]\(([^)]+)\)", text):
                if target.startswith("#"):
                    self.assertIn(target[1:], headings, name)
                else:
                    self.assertTrue((DOCS / target.split("#")[0]).exists(), f"{name}: {target}")


class Warnings(unittest.TestCase):
    def test_whoever_turns_slices_on_reads_that_they_isolate_nothing(self):
        for path, sentence in (
                ("README.md", r"Slices share time, not memory: .* exhaust .* memory, and a fault of one"),
                ("docs/deployment.md", r"Slices share time and nothing else\. There is no limit on the memory"),
                ("docs/configuration.md", r"There is no isolation of memory or of faults between them"),
                ("docs/security.md", r"Slices are no security boundary\. .* without limits or isolation of faults")):
            text = " ".join((trees.REPOSITORY / path).read_text().split())
            self.assertRegex(text, sentence, path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
