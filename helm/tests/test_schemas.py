"""With all values in ci/, the objects are valid in every supported version of Kubernetes."""

import re
import unittest

import kubernetes_validate

from tools.chart import CHART, helm, profiles, render

# The oldest supported version, one in the middle, and the newest one with a schema.
VERSIONS = ["1.30", "1.33", "1.37"]
# Kinds of extensions with their versions. There are no schemas for them, so this file checks the
# fields that their definitions allow and require.
EXTENSIONS = {"ServiceMonitor": "monitoring.coreos.com/v1", "PodMonitor": "monitoring.coreos.com/v1", "PrometheusRule": "monitoring.coreos.com/v1", "HTTPRoute": "gateway.networking.k8s.io/v1"}


class Schemas(unittest.TestCase):
    def test_helm_lint_accepts_the_chart_with_all_values(self):
        for profile in profiles():
            with self.subTest(profile):
                result = helm("lint", "--strict", CHART, "--values", CHART / "ci" / f"{profile}-values.yaml", check=False)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_every_object_is_valid_in_every_supported_version(self):
        for profile in profiles():
            objects = [(source, it) for source, it in render(profile) if it["kind"] not in EXTENSIONS]
            self.assertGreater(len(objects), 10)
            for version in VERSIONS:
                for source, it in objects:
                    with self.subTest(profile=profile, version=version, source=source):
                        kubernetes_validate.validate(it, version, strict=True)

    def test_every_object_of_an_extension_has_only_the_fields_of_its_definition(self):
        seen = set()
        for profile in profiles():
            for _, it in render(profile):
                if it["kind"] in EXTENSIONS:
                    seen.add(it["kind"])
                    with self.subTest(profile=profile, kind=it["kind"]):
                        self.assertEqual((it["apiVersion"], set(it)), (EXTENSIONS[it["kind"]], {"apiVersion", "kind", "metadata", "spec"}))
                        getattr(self, it["kind"])(it["spec"])
        self.assertEqual(seen, set(EXTENSIONS))

    def ServiceMonitor(self, spec):
        self.monitor(spec, "endpoints")

    def PodMonitor(self, spec):
        self.monitor(spec, "podMetricsEndpoints")

    def monitor(self, spec, endpoints):
        self.assertEqual(set(spec), {"selector", endpoints})
        self.assertEqual(set(spec["selector"]), {"matchLabels"})
        for endpoint in spec[endpoints]:
            self.assertEqual(set(endpoint), {"port", "interval", "relabelings"})
            self.assertRegex(endpoint["interval"], r"^\d+(s|m)$")
            for relabeling in endpoint["relabelings"]:
                self.assertEqual(set(relabeling), {"targetLabel", "replacement"})

    def PrometheusRule(self, spec):
        self.assertEqual(set(spec), {"groups"})
        names = [group["name"] for group in spec["groups"]]
        self.assertEqual(len(names), len(set(names)))
        for group in spec["groups"]:
            self.assertEqual(set(group), {"name", "rules"})
            for rule in group["rules"]:
                self.assertIsInstance(rule["expr"], str)
                self.assertEqual(set(rule) - {"for"}, {"record", "expr"} if "record" in rule else {"alert", "expr", "labels", "annotations"})
                self.assertRegex(rule.get("for", "1m"), r"^\d+(s|m|h)$")
                for words in (rule.get("labels", {}), rule.get("annotations", {})):
                    self.assertTrue(all(isinstance(word, str) for word in words.values()), words)

    def HTTPRoute(self, spec):
        self.assertEqual(set(spec), {"parentRefs", "hostnames", "rules"})
        for parent in spec["parentRefs"]:
            self.assertLessEqual({"name"}, set(parent))
        for rule in spec["rules"]:
            self.assertLessEqual(set(rule), {"matches", "timeouts", "backendRefs"})
            for match in rule["matches"]:
                self.assertEqual((set(match), match["path"]["type"]), ({"path"}, "PathPrefix"))
                self.assertRegex(match["path"]["value"], "^/")
            for backend in rule["backendRefs"]:
                self.assertEqual((set(backend), type(backend["port"])), ({"name", "port"}, int))
            self.assertTrue(all(re.fullmatch(r"\d+(h|m|s|ms)", time) for time in rule.get("timeouts", {}).values()))

    def test_no_two_objects_have_the_same_name(self):
        for profile in profiles():
            with self.subTest(profile):
                names = [(it["kind"], it["metadata"]["name"]) for _, it in render(profile)]
                self.assertEqual(len(names), len(set(names)), names)
