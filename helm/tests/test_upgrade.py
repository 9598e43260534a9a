"""An upgrade from the version before: its values render, and no fixed field of an object changes."""

import shutil
import tempfile
import unittest
from pathlib import Path

import yaml

from tools.chart import CHART, NAMESPACE, RELEASE, helm, sources

PREVIOUS = Path(__file__).parent / "previous"
FIXED = yaml.safe_load((PREVIOUS / "immutable.yaml").read_text())


def rendered(profile, *more):
    """Renders the present chart with all values of the version before, and those of a profile."""
    files = ("--values", PREVIOUS / "values.yaml", "--values", PREVIOUS / "ci" / f"{profile}-values.yaml")
    out = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *files, *more).stdout
    return {f"{it['kind']}/{it['metadata']['name']}": it for _, text in sources(out) if (it := yaml.safe_load(text))}


class Upgrade(unittest.TestCase):
    def test_values_of_the_version_before_render_with_the_same_selectors(self):
        self.assertEqual(len(FIXED), 4)
        for profile, objects in FIXED.items():
            for more in ((), ("--is-upgrade",)):
                found = rendered(profile, *more)
                self.assertGreater(len(objects), 4)
                for name, fields in objects.items():
                    with self.subTest(profile=profile, object=name):
                        self.assertEqual({field: found[name]["spec"].get(field) for field in fields}, fields)

    def test_reusing_the_defaults_of_the_version_before_is_refused_by_name(self):
        """`--reuse-values` leaves out the defaults of new values, `--reset-then-reuse-values` does not."""
        with tempfile.TemporaryDirectory() as folder:
            chart = Path(shutil.copytree(CHART, Path(folder) / "chart"))
            shutil.copy(PREVIOUS / "values.yaml", chart)
            result = helm("template", RELEASE, chart, "--values", PREVIOUS / "ci" / "production-values.yaml", check=False)
        self.assertNotEqual(result.returncode, 0)
        for missing in ("(root): commonAnnotations is required", "api: serviceAccount is required", "image: digest is required"):
            self.assertIn(missing, result.stderr)
