"""An upgrade from the version before: its values render, and no fixed field of an object changes."""

import shutil
import tempfile
import unittest
from pathlib import Path

import yaml

from tools.chart import CHART, NAMESPACE, RELEASE, helm, sources
from tools.previous import FOLDER, fixed

BEFORE = yaml.safe_load((FOLDER / "fixed.yaml").read_text())


class Upgrade(unittest.TestCase):
    def test_values_of_the_version_before_render_without_a_change_of_fixed_fields(self):
        self.assertGreater(len(BEFORE), 3)
        for profile, objects in BEFORE.items():
            files = ("--values", FOLDER / "values.yaml", "--values", FOLDER / "ci" / f"{profile}-values.yaml")
            for more in ((), ("--is-upgrade",)):
                out = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *files, *more).stdout
                found = fixed(it for _, text in sources(out) if (it := yaml.safe_load(text)))
                with self.subTest(profile=profile, more=more):
                    self.assertGreater(len(objects), 4)
                    self.assertLessEqual(set(objects), set(found))
                    self.assertEqual({name: found[name] for name in objects}, objects)

    def test_reusing_the_defaults_of_the_version_before_is_refused_by_name(self):
        """`--reuse-values` leaves out the defaults of new values, `--reset-then-reuse-values` does not."""
        with tempfile.TemporaryDirectory() as folder:
            chart = Path(shutil.copytree(CHART, Path(folder) / "chart"))
            shutil.copy(FOLDER / "values.yaml", chart)
            result = helm("template", RELEASE, chart, "--values", FOLDER / "ci" / "production-values.yaml", check=False)
        self.assertNotEqual(result.returncode, 0)
        for missing in ("(root): commonAnnotations is required", "api: serviceAccount is required", "image: digest is required"):
            self.assertIn(missing, result.stderr)
