"""The kustomizations of this repository, and variants of them that a reader of the documentation
would make by hand."""

import atexit
import functools
import pathlib
import re
import shutil
import tempfile

import render

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TEN_SLICES = REPOSITORY / "infrastructure/controllers/nvidia-device-plugin"
FOUR_SLICES = REPOSITORY / "gpu-device-plugin"
BASE = REPOSITORY / "deploy/kustomize/base"
COMPONENTS = REPOSITORY / "deploy/kustomize/components"


def variant(directory, change):
    """A copy of the deployment whose kustomization.yaml went through `change` (text to text)."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="kerf-deploy-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    for part in ("deploy/kustomize", "deploy/grafana", "infrastructure", "gpu-device-plugin"):
        shutil.copytree(REPOSITORY / part, top / part)
    copy = top / directory.relative_to(REPOSITORY)
    path = copy / "kustomization.yaml"
    before = path.read_text()
    after = change(before)
    if after == before:
        raise AssertionError(f"{path}: the change changes nothing")
    path.write_text(after)
    return copy


@functools.cache
def with_test_pods(directory):
    return variant(directory, lambda text: text.replace("  # - ", "  - "))


@functools.cache
def with_components(directory, *names):
    """The tree with these components after those it has; one that it has stays where it is."""
    up = "../" * len(directory.relative_to(REPOSITORY).parts)
    has = (directory / "kustomization.yaml").read_text()
    names = [name for name in names if f"/{name}\n" not in has]
    if not names:
        return directory

    def change(text):
        lines = "".join(f"  - {up}deploy/kustomize/components/{name}\n" for name in names)
        have = re.search(r"components:\n(  - .*\n)+", text)
        if have:
            return text[:have.end()] + lines + text[have.end():]
        return text + "components:\n" + lines

    return variant(directory, change)


@functools.cache
def with_root_plugin(directory):
    return with_components(directory, "root-plugin")


@functools.cache
def with_cdi(directory):
    return with_components(directory, "cdi")


@functools.cache
def with_cdi_and_root_plugin(directory):
    return with_components(directory, "cdi", "root-plugin")


@functools.cache
def with_labels(directory, *names):
    return with_components(directory, *(names or ("feature-discovery",)))


@functools.cache
def with_registry(directory):
    return variant(directory, lambda text: text.replace(
        "newName: kerf\n", "newName: registry.example:5000/gpu/kerf\n"))


# What a component stands after, where it does not stand alone.
AFTER = {"node-labels": ("feature-discovery",)}


def components():
    return sorted(path.parent.name for path in COMPONENTS.glob("*/kustomization.yaml"))


def every_tree():
    """Each deployment as it is, with each component, and as documented otherwise."""
    yield "base", BASE
    for name, directory in deployments():
        yield name, directory
        yield f"{name} with test pods", with_test_pods(directory)
        for component in components():
            if f"/{component}\n" not in (directory / "kustomization.yaml").read_text():
                yield (f"{name} with {component}",
                       with_components(directory, *AFTER.get(component, ()), component))
        yield f"{name} with cdi and root-plugin", with_cdi_and_root_plugin(directory)
        yield f"{name} with events and named-configs", with_components(directory, "events", "named-configs")
        yield f"{name} from a registry", with_registry(directory)


@functools.cache
def rendered(directory):
    """The objects of a tree, rendered once; not to be changed."""
    return render.render(directory)


def objects(directory, kind):
    return [thing for thing in rendered(directory) if thing["kind"] == kind]


def deployments():
    """(name, directory) of the two that users apply."""
    return ("ten slices", TEN_SLICES), ("four slices", FOUR_SLICES)


POWER = "nvidia-powerlimit"


def name_label(thing):
    return thing["metadata"].get("labels", {}).get("app.kubernetes.io/name")


def the(directory, kind):
    """The plugin's only object of this kind; what the component power adds does not count."""
    found = [thing for thing in objects(directory, kind) if name_label(thing) != POWER]
    if len(found) != 1:
        raise AssertionError(f"{directory}: {len(found)} objects of kind {kind} where there should be one")
    return found[0]
