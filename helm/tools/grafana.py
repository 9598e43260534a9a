"""Generates Grafana's JSON. A dashboard has rows of panels, each with a unit and queries."""

from dataclasses import dataclass, field

WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}
# One Prometheus may scrape several installations, so each query selects a namespace.
NAMESPACE_MATCHER = 'namespace=~"$namespace"'


@dataclass(frozen=True)
class Panel:
    """One graph. `queries` maps legends to PromQL queries."""

    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""
    kind: str = "timeseries"
    # Values from which the panel is orange and red.
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """Panels side by side under a title."""

    title: str
    panels: list[Panel]
    height: int = HEIGHT


@dataclass(frozen=True)
class Dashboard:
    """A dashboard, written to a file of `monitoring/dashboards/`."""

    name: str
    title: str
    description: str
    rows: list[Row] = field(default_factory=list)

    def json(self):
        """Returns the dashboard in Grafana's import format."""
        return {
            "uid": f"switchboard-{self.name}",
            "title": f"Switchboard / {self.title}",
            "description": self.description,
            "tags": ["switchboard"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [SOURCE_VARIABLE, NAMESPACE_VARIABLE]},
            "links": [{"type": "dashboards", "title": "Switchboard", "tags": ["switchboard"], "includeVars": True, "keepTime": True}],
            "panels": list(self.placed()),
        }

    def placed(self):
        """Yields every panel with its position and id."""
        top, number = 0, 0
        for row in self.rows:
            number += 1
            yield {"id": number, "type": "row", "title": row.title, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}, "panels": []}
            top += 1
            width = WIDTH // len(row.panels)
            for index, panel in enumerate(row.panels):
                number += 1
                place = {"x": index * width, "y": top, "w": width, "h": row.height}
                yield {"id": number, "gridPos": place, **panel_json(panel)}
            top += row.height


SOURCE_VARIABLE = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}
NAMESPACE_VARIABLE = {
    "name": "namespace",
    "label": "Namespace",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(switchboard_build_info, namespace)", "refId": "namespace"},
    "refresh": 2,
    "includeAll": True,
    # Outside of Kubernetes, series have no namespace.
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def panel_json(panel):
    """Returns a panel's JSON without its position."""
    queries = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    defaults = {"unit": panel.unit, "min": 0}
    if panel.limits:
        steps = [{"color": "green", "value": None}, *({"color": c, "value": v} for c, v in zip(["orange", "red"], panel.limits))]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults |= {"custom": {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "thresholdsStyle": {"mode": "line" if panel.limits else "off"}}}
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    else:
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background" if panel.limits else "value", "graphMode": "area"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": queries,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }
