"""The renderer itself: what it refuses, and the corners of merging that the trees rely on."""

import pathlib
import tempfile
import unittest

import render
import trees

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
POD = """apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  containers:
    - {name: a, image: "host:5000/kerf:1", env: [{name: X, value: "1"}]}
    - {name: b, image: other}
"""


class Rendering(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)
        self.write("pod.yaml", POD)

    def write(self, name, text):
        (self.path / name).write_text(text)

    def build(self, text):
        self.write("kustomization.yaml", HEAD + "resources: [pod.yaml]\n" + text)
        return render.render(self.path)

    def patched(self, patch):
        self.write("patch.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\n" + patch)
        return self.build("patches: [{path: patch.yaml}]\n")[0]

    def test_what_it_does_not_know_is_refused_by_name(self):
        for text, named in (
            ("namePrefix: x-\n", "namePrefix"),
            ("patches: [{target: {kind: Pod}, patch: '{}'}]\n", "target"),
            ("labels: [{pairs: {a: b}, includeSelectors: true}]\n", "includeSelectors"),
            ("configMapGenerator: [{name: c, namespace: n, literals: [a=b]}]\n", "literals"),
            ("configMapGenerator: [{name: c, namespace: n, files: [pod.yaml]}]\n", "disableNameSuffixHash"),
            ("images: [{name: a, tagSuffix: x}]\n", "tagSuffix"),
        ):
            with self.subTest(named), self.assertRaisesRegex(render.Refused, named):
                self.build(text)

    def test_a_missing_file_and_a_broken_one_are_named(self):
        self.write("kustomization.yaml", HEAD + "resources: [none.yaml]\n")
        with self.assertRaisesRegex(render.Refused, "none.yaml"):
            render.render(self.path)
        self.write("pod.yaml", "a: [")
        with self.assertRaisesRegex(render.Refused, "pod.yaml.*\n?"):
            self.build("")

    def test_an_object_named_twice_is_refused(self):
        self.write("kustomization.yaml", HEAD + "resources: [pod.yaml, pod.yaml]\n")
        with self.assertRaisesRegex(render.Refused, "twice"):
            render.render(self.path)

    def test_a_patch_merges_by_name_and_removes_by_null_or_directive(self):
        spec = self.patched("spec:\n  containers:\n    - {name: a, env: [{name: Y, value: '2'}]}\n"
                            "    - {name: b, $patch: delete}\n    - {name: c, image: new}\n")["spec"]
        self.assertEqual([c["name"] for c in spec["containers"]], ["a", "c"])
        self.assertEqual([e["name"] for e in spec["containers"][0]["env"]], ["Y", "X"])
        first = self.patched("spec: {containers: [{name: c, image: new}, {name: b, image: x}]}\n")
        self.assertEqual([c["name"] for c in first["spec"]["containers"]], ["c", "b", "a"])
        self.assertNotIn("spec", self.patched("spec: null\n"))

    def test_a_patch_of_nothing_is_refused(self):
        self.write("patch.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: q, namespace: n}\n")
        with self.assertRaisesRegex(render.Refused, "no object .*/q to patch"):
            self.build("patches: [{path: patch.yaml}]\n")
        with self.assertRaisesRegex(render.Refused, "nothing to delete"):
            self.patched("spec: {containers: [{name: z, $patch: delete}]}\n")

    def test_an_image_is_found_whatever_its_registry_and_tag(self):
        spec = self.build("images: [{name: 'host:5000/kerf', newName: r/kerf, newTag: 2}]\n")[0]["spec"]
        self.assertEqual([c["image"] for c in spec["containers"]], ["r/kerf:2", "other"])

    def test_every_tree_of_the_repository_renders(self):
        for name, directory in trees.every_tree():
            with self.subTest(name):
                self.assertGreater(len(render.render(directory)), 6)


if __name__ == "__main__":
    unittest.main(verbosity=2)
