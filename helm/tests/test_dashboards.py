"""The dashboards: every query is one that Prometheus takes, and every panel can be read."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tools.chart import CHART, ROOT
from tools.dashboards import DASHBOARDS

# What Grafana puts in their places.
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*"}


def queries():
    """(dashboard, panel, query) of every panel."""
    for board in DASHBOARDS:
        for panel in board.json()["panels"]:
            for target in panel.get("targets", []):
                yield board.name, panel["title"], filled(target["expr"])


def filled(query):
    """A query as Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def measured():
    """Every metric that a program has in its catalogue, and what Prometheus itself knows of a target."""
    catalogues = [ROOT / "common/src/telemetry/catalog.rs", ROOT / "api/src/catalog.rs", ROOT / "signal-node/src/catalog.rs"]
    return {"up", *(name for path in catalogues for name in re.findall(r'"((?:switchboard|process)_\w+)"', path.read_text()))}


class Dashboards(unittest.TestCase):
    def test_dashboards_and_rules_ask_for_metrics_that_there_are(self):
        rules = [path.read_text() for path in (CHART / "monitoring").glob("*.yaml")]
        asked = re.findall(r"\b(?:switchboard|process)_\w+(?=[{\[)])", "".join([*rules, *(query for _, _, query in queries())]))
        self.assertGreater(len(asked), 100)
        self.assertEqual({re.sub("_(bucket|count|sum)$", "", name) for name in asked} - measured(), set())

    def test_prometheus_takes_every_query(self):
        rules = [{"record": f"query:{index}", "expr": query} for index, (_, _, query) in enumerate(queries())]
        self.assertGreater(len(rules), 50)
        self.assertNotIn("$", "".join(rule["expr"] for rule in rules))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "queries.yaml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
            told = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    def test_panels_fit_beside_each_other_and_have_titles_of_their_own(self):
        for board in DASHBOARDS:
            drawn = board.json()["panels"]
            self.assertEqual(len({panel["id"] for panel in drawn}), len(drawn))
            places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in drawn]
            self.assertEqual(len(set(places)), len(places), board.name)
            self.assertTrue(all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in drawn))
            for row in board.rows:
                titles = [panel.title for panel in row.panels]
                self.assertEqual(len(set(titles)), len(titles), board.name)
