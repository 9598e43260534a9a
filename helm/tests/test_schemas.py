"""What the chart renders is what Kubernetes takes, whatever the values and whichever the version."""

import unittest

import kubernetes_validate

from tools.chart import CHART, helm, profiles, render

# The oldest that the chart supports, one between, and the newest whose schemas there are.
VERSIONS = ["1.30", "1.33", "1.37"]
# Extensions of Kubernetes have no schemas here; what matters of them is asserted in the other tests.
EXTENSIONS = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}


class Schemas(unittest.TestCase):
    def test_helm_lint_finds_nothing_with_any_values(self):
        for profile in profiles():
            with self.subTest(profile):
                told = helm("lint", "--strict", CHART, "--values", CHART / "ci" / f"{profile}-values.yaml", check=False)
                self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    def test_every_object_is_valid_in_every_supported_version(self):
        for profile in profiles():
            objects = [(source, it) for source, it in render(profile) if it["kind"] not in EXTENSIONS]
            self.assertGreater(len(objects), 10)
            for version in VERSIONS:
                for source, it in objects:
                    with self.subTest(profile=profile, version=version, source=source):
                        kubernetes_validate.validate(it, version, strict=True)

    def test_no_two_objects_have_the_same_name(self):
        for profile in profiles():
            with self.subTest(profile):
                names = [(it["kind"], it["metadata"]["name"]) for _, it in render(profile)]
                self.assertEqual(len(names), len(set(names)), names)
