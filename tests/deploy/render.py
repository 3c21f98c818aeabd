"""Renders a kustomization as `kubectl kustomize` does, for the few features that deploy/ uses.

Anything else is refused by name, so that a tree which renders here renders the same everywhere;
compare_with_kustomize checks that against the real one.

    python3 render.py DIRECTORY      prints the objects as a YAML stream
"""

import copy
import pathlib
import re
import sys

import yaml

KINDS = {
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
    "Component": "kustomize.config.k8s.io/v1alpha1",
}
# What identifies an element of a list that patches merge; every other list is replaced whole.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
WITH_TEMPLATE = {"DaemonSet", "Deployment", "StatefulSet", "Job"}


class Refused(Exception):
    """The tree uses something that this renderer does not know, or is wrong."""


def allow(given, known, where):
    unknown = set(given) - set(known)
    if unknown:
        raise Refused(f"{where}: does not know {', '.join(sorted(unknown))}")


def read_yaml(path):
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except (OSError, yaml.YAMLError) as error:
        raise Refused(f"{path}: {error}") from error


def identity(thing):
    """What tells objects apart: group and version, kind, namespace, name."""
    metadata = thing["metadata"]
    return (thing["apiVersion"], thing["kind"], metadata.get("namespace", ""), metadata["name"])


def merge(base, patch, where):
    """A strategic merge: maps by key, the lists of MERGE_KEYS by element, null removes."""
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value, f"{where}.{key}")
        elif key in MERGE_KEYS and isinstance(base.get(key), list):
            base[key] = merge_list(base[key], value, MERGE_KEYS[key], f"{where}.{key}")
        else:
            if "$patch" in yaml.safe_dump(value):
                raise Refused(f"{where}.{key}: a $patch directive is only known in a merged list")
            base[key] = copy.deepcopy(value)


def merge_list(base, patch, key, where):
    """The patch's elements in its order, merged with those of the base, then the base's others."""
    rest = list(base)
    named = []
    for element in patch:
        if key not in element:
            raise Refused(f"{where}: an element has no {key}")
        directive = element.get("$patch")
        if directive not in (None, "delete"):
            raise Refused(f"{where}: does not know $patch: {directive}")
        at = next((i for i, old in enumerate(rest) if old.get(key) == element[key]), None)
        if directive == "delete":
            if at is None:
                raise Refused(f"{where}: nothing to delete with {key} {element[key]}")
            del rest[at]
        elif at is None:
            named.append(copy.deepcopy(element))
        else:
            merge(rest[at], element, f"{where}[{element[key]}]")
            named.append(rest.pop(at))
    return named + rest


def apply_patch(things, patch, where):
    for target in things:
        if identity(target) == identity(patch):
            body = {k: v for k, v in patch.items() if k not in ("apiVersion", "kind", "metadata")}
            allow(patch["metadata"], {"name", "namespace"}, f"{where}: metadata of a patch")
            merge(target, body, where)
            return
    raise Refused(f"{where}: no object {'/'.join(identity(patch))} to patch")


def generate(directory, generator):
    where = f"{directory}: configMapGenerator"
    allow(generator, {"name", "namespace", "files", "options"}, where)
    options = generator.get("options", {})
    allow(options, {"disableNameSuffixHash", "labels"}, where)
    if options.get("disableNameSuffixHash") is not True:
        raise Refused(f"{where}: needs options.disableNameSuffixHash: true")
    metadata = {"name": generator["name"], "namespace": generator["namespace"]}
    if "labels" in options:
        metadata["labels"] = dict(options["labels"])
    data = {}
    for name in generator["files"]:
        if "=" in name or "/" in name:
            raise Refused(f"{where}: knows only plain file names, not {name}")
        data[name] = (directory / name).read_text()
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def apply_labels(things, labels, where):
    allow(labels, {"pairs", "includeTemplates"}, where)
    for thing in things:
        thing["metadata"].setdefault("labels", {}).update(labels["pairs"])
        if labels.get("includeTemplates") and thing["kind"] in WITH_TEMPLATE:
            template = thing["spec"]["template"].setdefault("metadata", {})
            template.setdefault("labels", {}).update(labels["pairs"])


def pod_spec(thing):
    """The pod specification inside an object, or None."""
    if thing["kind"] == "Pod":
        return thing["spec"]
    return thing["spec"]["template"]["spec"] if thing["kind"] in WITH_TEMPLATE else None


def containers(thing):
    spec = pod_spec(thing) or {}
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def apply_image(things, image, where):
    allow(image, {"name", "newName", "newTag", "digest"}, where)
    for thing in things:
        for container in containers(thing):
            name, tag = re.fullmatch(r"(.*?)([:@][^/]*)?", container["image"]).groups()
            if name != image["name"]:
                continue
            if "digest" in image:
                tag = "@" + image["digest"]
            elif "newTag" in image:
                tag = ":" + str(image["newTag"])
            container["image"] = image.get("newName", name) + (tag or "")


def load(directory, kind):
    path = directory / "kustomization.yaml"
    documents = read_yaml(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise Refused(f"{path}: needs to be one map")
    build = documents[0]
    allow(build, {"apiVersion", "kind", "resources", "components", "patches", "configMapGenerator",
                  "labels", "images"}, path)
    if build.get("kind") != kind or build.get("apiVersion") != KINDS[kind]:
        raise Refused(f"{path}: needs to be a {kind} of {KINDS[kind]}")
    return build


def transform(directory, build, things):
    for component in build.get("components", []):
        where = (directory / component).resolve()
        part = load(where, "Component")
        things = transform(where, part, distinct(where, things + resources(where, part)))
    for entry in build.get("patches", []):
        allow(entry, {"path"}, f"{directory}: patches")
        for patch in read_yaml(directory / entry["path"]):
            apply_patch(things, patch, directory / entry["path"])
    for labels in build.get("labels", []):
        apply_labels(things, labels, f"{directory}: labels")
    for image in build.get("images", []):
        apply_image(things, image, f"{directory}: images")
    return things


def resources(directory, build):
    """The objects that a kustomization or component names or generates itself."""
    things = []
    for name in build.get("resources", []):
        path = directory / name
        if path.is_dir():
            things += render(path)
        elif path.is_file():
            things += copy.deepcopy(read_yaml(path))
        else:
            raise Refused(f"{directory}/kustomization.yaml: resources: no such file: {name}")
    things += [generate(directory, g) for g in build.get("configMapGenerator", [])]
    # Anchors in the files would otherwise make one patch change several places.
    return [unshared(thing) for thing in things]


def distinct(directory, things):
    seen = set()
    for thing in things:
        if identity(thing) in seen:
            raise Refused(f"{directory}: {'/'.join(identity(thing))} is there twice")
        seen.add(identity(thing))
    return things


def render(directory):
    """All objects of a kustomization, in the order in which it names them."""
    directory = pathlib.Path(directory).resolve()
    build = load(directory, "Kustomization")
    return transform(directory, build, distinct(directory, resources(directory, build)))


def unshared(value):
    """A copy in which nothing is shared between two places."""
    if isinstance(value, dict):
        return {k: unshared(v) for k, v in value.items()}
    return [unshared(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: render.py DIRECTORY")
    try:
        yaml.safe_dump_all(render(sys.argv[1]), sys.stdout, sort_keys=False)
    except Refused as error:
        sys.exit(f"render.py: {error}")
