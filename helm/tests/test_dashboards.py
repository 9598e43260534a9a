"""Dashboards: Prometheus accepts every query, every metric exists, and panels do not overlap."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tools.chart import CHART, ROOT
from tools.dashboards import DASHBOARDS

# Values for Grafana's variables.
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*"}


def queries():
    """Yields (dashboard, panel, query) of every panel."""
    for board in DASHBOARDS:
        for panel in board.json()["panels"]:
            for target in panel.get("targets", []):
                yield board.name, panel["title"], without_variables(target["expr"])


def without_variables(query):
    """Replaces Grafana's variables in a query."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def known_metrics():
    """Returns every metric in a crate's catalog, and `up`, which Prometheus adds."""
    names = ("catalog.rs", "metric_catalog.rs", "declare.rs")
    files = [path for folder in ("common", "api", "signal-node") for path in (ROOT / folder).rglob("src/**/*.rs")]
    catalogs = [path for path in files if path.name in names]
    return {"up", *(name for path in catalogs for name in re.findall(r'"((?:switchboard|process)_\w+)"', path.read_text()))}


class Dashboards(unittest.TestCase):
    def test_dashboards_and_rules_use_only_metrics_that_exist(self):
        rules = [path.read_text() for path in (CHART / "monitoring").glob("*.yaml")]
        used = re.findall(r"\b(?:switchboard|process)_\w+(?=[{\[)])", "".join([*rules, *(query for _, _, query in queries())]))
        self.assertGreater(len(used), 100)
        self.assertEqual({re.sub("_(bucket|count|sum)$", "", name) for name in used} - known_metrics(), set())

    def test_panels_in_the_runbooks_exist(self):
        titles = {panel.title for board in DASHBOARDS for row in board.rows for panel in row.panels}
        # The runbooks set panel titles, and nothing else, in italics.
        used = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", (ROOT / "docs" / "RUNBOOKS.md").read_text())
        self.assertGreater(len(used), 10)
        self.assertEqual(set(used) - titles, set())

    def test_prometheus_accepts_every_query(self):
        rules = [{"record": f"query:{index}", "expr": query} for index, (_, _, query) in enumerate(queries())]
        self.assertGreater(len(rules), 50)
        self.assertNotIn("$", "".join(rule["expr"] for rule in rules))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "queries.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
            result = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_panels_do_not_overlap_and_have_unique_titles_in_their_row(self):
        for board in DASHBOARDS:
            panels = board.json()["panels"]
            self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
            places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in panels]
            self.assertEqual(len(set(places)), len(places), board.name)
            self.assertTrue(all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels))
            for row in board.rows:
                titles = [panel.title for panel in row.panels]
                self.assertEqual(len(set(titles)), len(titles), board.name)
