"""What is made from something else is as it would be made now."""

import unittest

import yaml

from tools import generate, manifests
from tools.chart import ROOT


class Generated(unittest.TestCase):
    def test_nothing_has_drifted_from_what_make_k8s_writes(self):
        for files in (generate.parts(), generate.rendered()):
            self.assertEqual([str(path.relative_to(ROOT)) for path in generate.stale(files)], [])

    def test_the_plain_manifests_are_complete(self):
        for profile in manifests.PROFILES:
            folder = ROOT / "k8s" / profile
            listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
            self.assertEqual(sorted([*listed, "kustomization.yaml"]), sorted(path.name for path in folder.iterdir()))
            kinds = {it["kind"] for name in listed for it in yaml.safe_load_all((folder / name).read_text())}
            self.assertTrue({"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "Ingress"} <= kinds)
