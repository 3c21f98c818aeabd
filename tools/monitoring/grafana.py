"""Words for Grafana dashboards: panels are placed from left to right and then down, and every query
asks the data source that the reader chose. Knows nothing of kerf's metrics."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLORS = ("green", "orange", "red")


def query(expression, legend="", instant=False, table=False):
    return {"expr": " ".join(expression.split()), "legendFormat": legend, "instant": instant or table,
            "range": not (instant or table), "format": "table" if table else "time_series"}


def thresholds(*bounds, colors=COLORS):
    """Green below the first bound, orange below the second, red above."""
    steps = [{"color": colors[0], "value": None}]
    steps += [{"color": color, "value": bound} for color, bound in zip(colors[1:], bounds)]
    return {"mode": "absolute", "steps": steps}


def panel(kind, title, description, queries, unit="short", width=8, height=8, **fields):
    """`fields`: min, max, decimals, thresholds, interval, overrides, options, custom."""
    defaults = {"unit": unit}
    for key in ("min", "max", "decimals", "mappings", "noValue"):
        if key in fields:
            defaults[key] = fields[key]
    defaults["thresholds"] = fields.get("thresholds", thresholds())
    if "custom" in fields:
        defaults["custom"] = fields["custom"]
    if not isinstance(queries, (list, tuple)):
        queries = [queries]
    out = {"title": title, "description": description, "type": kind, "datasource": SOURCE,
           "gridPos": {"w": width, "h": height},
           "fieldConfig": {"defaults": defaults, "overrides": fields.get("overrides", [])},
           "options": fields.get("options", {}),
           "targets": [{"refId": chr(ord("A") + at), "datasource": SOURCE, **one}
                       for at, one in enumerate(queries)]}
    if "interval" in fields:
        out["interval"] = fields["interval"]
    if "transformations" in fields:
        out["transformations"] = fields["transformations"]
    return out


def graph(title, description, queries, unit="short", stacked=False, steps=False, **fields):
    """Lines over time; with thresholds, these are drawn as lines."""
    custom = {"drawStyle": "line", "fillOpacity": 30 if stacked else 10, "lineWidth": 2,
              "showPoints": "never", "spanNulls": False,
              "stacking": {"mode": "normal" if stacked else "none", "group": "A"}}
    if steps:
        custom["lineInterpolation"] = "stepAfter"
    if "thresholds" in fields:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    fields.setdefault("options", {"legend": {"displayMode": "list", "placement": "bottom"},
                                  "tooltip": {"mode": "multi", "sort": "desc"}})
    return panel("timeseries", title, description, queries, unit, custom=custom, **fields)


def stat(title, description, queries, unit="short", colored="value", **fields):
    fields.setdefault("options", {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": colored,
                                  "textMode": "auto", "graphMode": "none"})
    fields.setdefault("width", 4)
    fields.setdefault("height", 4)
    return panel("stat", title, description, queries, unit, **fields)


def bars(title, description, queries, unit="short", **fields):
    fields.setdefault("options", {"reduceOptions": {"calcs": ["lastNotNull"]},
                                  "orientation": "horizontal", "displayMode": "gradient"})
    return panel("bargauge", title, description, queries, unit, **fields)


def table(title, description, queries, columns, units=None, **fields):
    """`columns`: {label, or "Value" or "Value #A": heading}, in this order; others are hidden. Several
    queries are joined by their labels."""
    several = isinstance(queries, list)
    values = [f"Value #{chr(ord('A') + at)}" for at in range(len(queries))] if several else ["Value"]
    hidden = {name: True for name in ("Time", *values) if name not in columns}
    transformations = [{"id": "merge", "options": {}}] if several else []
    transformations.append({"id": "organize", "options": {
        "excludeByName": hidden, "renameByName": columns,
        "indexByName": {name: at for at, name in enumerate(columns)}}})
    fields["overrides"] = [{"matcher": {"id": "byName", "options": columns[name]},
                            "properties": [{"id": "unit", "value": unit}]}
                           for name, unit in (units or {}).items()]
    return panel("table", title, description, queries, transformations=transformations, **fields)


def text(title, words, width=24, height=6):
    return {"title": title, "description": "", "type": "text", "gridPos": {"w": width, "h": height},
            "options": {"mode": "markdown", "content": words}}


def row(title):
    return {"title": title, "type": "row", "collapsed": False, "gridPos": {"w": 24, "h": 1},
            "panels": []}


def variable(name, label, metric, of=None, everything=".*"):
    """Values of the label `of` (as the variable is called, unless given) of a metric."""
    asked = f"label_values({metric}, {of or name})"
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": asked,
            "query": {"query": asked, "refId": name}, "refresh": 2, "sort": 3, "includeAll": True,
            "multi": True, "allValue": everything, "current": {"text": "All", "value": "$__all"}}


def placed(panels):
    """The panels with ids and places."""
    x = y = tallest = 0
    for number, each in enumerate(panels, 1):
        place = each["gridPos"]
        if x + place["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        place.update(x=x, y=y)
        each["id"] = number
        x, tallest = x + place["w"], max(tallest, place["h"])
    return panels


def board(uid, title, description, variables, panels, others):
    """`others`: (title, uid) of the dashboards that it links to."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource",
              "query": "prometheus", "current": {}, "hide": 0}
    return {"uid": uid, "title": title, "description": description,
            "tags": ["kerf", "gpu", "nvidia", "kubernetes"], "timezone": "browser",
            "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"}, "annotations": {"list": []},
            "links": [{"title": name, "type": "link", "url": f"/d/{other}", "keepTime": True,
                       "includeVars": True, "icon": "dashboard", "targetBlank": False, "tags": [],
                       "asDropdown": False, "tooltip": ""}
                      for name, other in others if other != uid],
            "templating": {"list": [source, *variables]}, "panels": placed(panels)}
