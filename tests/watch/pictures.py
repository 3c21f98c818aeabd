"""What deploy/grafana and deploy/prometheus ask of Prometheus, as values; and what a PromQL expression
asks for, found in its text (Prometheus itself says whether it is one)."""

import json
import pathlib
import re
import shutil
import tempfile

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = REPOSITORY / "deploy/grafana"
MONITORS = REPOSITORY / "deploy/kustomize/components/prometheus-operator"
RULES = REPOSITORY / "deploy/prometheus/kerf.rules.yaml"
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
CLAUSE = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')


def scratch(test):
    """A directory that goes away with the test."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kerf-watch-"))
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


def boards():
    """{file name: the dashboard}"""
    return {path.name: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("*.json"))}


def monitors():
    """{job: the endpoint of its monitor}, with jobs named as the operator names them."""
    found = {}
    for path in sorted(MONITORS.glob("*monitor*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            name, spec = thing["metadata"]["name"], thing["spec"]
            if thing["kind"] == "PodMonitor":
                (endpoint,) = spec["podMetricsEndpoints"]
                found[f"{thing['metadata']['namespace']}/{name}"] = endpoint
            else:
                (endpoint,) = spec["endpoints"]
                found[f"{name}-metrics"] = endpoint  # The Service's name.
    return found


def alerts():
    """{name: the rule}"""
    return {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"]
            for rule in group["rules"] if "alert" in rule}


def filled(expression):
    """With Grafana's variables as they are when everything is chosen."""
    out = expression.replace("$__rate_interval", "15s").replace("$__range", "1h")
    return re.sub(r"\$(\{\w+\}|[a-z]\w*)", ".*", out)


def queries(board):
    """[(panel, reference, expression)] of a dashboard, variables filled in; those of its variables too."""
    out = []
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            out.append((panel["title"], target["refId"], filled(target["expr"])))
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            out.append((f"variable {variable['name']}", label, f'count by ({label}) ({filled(metric)})'))
    return out


def shown(board, title, reference):
    """The labels that a query's legend names, and those that its table has columns for."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            if (panel["title"], target["refId"]) == (title, reference):
                columns = {name for step in panel.get("transformations", ()) if step["id"] == "organize"
                           for name in step["options"]["renameByName"] if not name.startswith("Value")}
                if len(panel["targets"]) > 1:
                    columns = set()  # Each column is of one of them: see all_columns.
                return set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) | columns
    return set()


def all_columns(board):
    """{title of a table of several queries: the labels it has columns for}"""
    return {panel["title"]: {name for step in panel["transformations"] if step["id"] == "organize"
                             for name in step["options"]["renameByName"] if not name.startswith("Value")}
            for panel in board["panels"] if panel["type"] == "table" and len(panel["targets"]) > 1}


def selectors(expression):
    """[(metric, [(label, operator, value)])]"""
    found = []
    braces = []

    def keep(match):
        braces.append(match.group(0)[1:-1])
        return f"{{{len(braces) - 1}}}"
    text = re.sub(r'\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}', keep, expression)
    text = CLAUSE.sub(" ", STRING.sub(" ", text))
    text = re.sub(r"\[[^\]]*\]", " ", text)
    for match in re.finditer(r"([a-zA-Z_:][\w:]*)\s*(\(|\{(\d+)\})?", text):
        name, after, index = match.groups()
        if after == "(" or name in WORDS or re.fullmatch(r"[a-z]+", name) and CLAUSE.match(name + "()"):
            continue
        if re.search(r"\d$", text[:match.start()]):
            continue  # The e of 1e9, the unit of a duration.
        found.append((name, MATCHER.findall(braces[int(index)]) if index is not None else []))
    return found


def grouped(expression):
    """The labels that an expression groups or joins by."""
    return {label for clause in CLAUSE.finditer(STRING.sub(" ", expression))
            for label in re.findall(r"\w+", clause.group(0))[1:]}


def alternatives(operator, value):
    """The values that a matcher names one by one; nothing where it names none."""
    if operator == "=":
        return [value] if value else []
    if operator == "=~" and re.fullmatch(r"[\w|]+", value):
        return value.split("|")
    return []
