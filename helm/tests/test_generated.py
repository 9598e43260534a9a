"""Generated files are up to date."""

import re
import unittest

import yaml

from tools import generate, manifests
from tools.chart import ROOT


class Generated(unittest.TestCase):
    def test_all_generated_files_are_as_make_k8s_writes_them(self):
        for files in (generate.parts(), generate.rendered()):
            self.assertEqual([str(path.relative_to(ROOT)) for path in generate.stale(files)], [])

    def test_the_plain_manifests_are_complete(self):
        for profile in manifests.PROFILES:
            folder = ROOT / "k8s" / profile
            listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
            self.assertEqual(sorted([*listed, "kustomization.yaml"]), sorted(path.name for path in folder.iterdir()))
            kinds = {it["kind"] for name in listed for it in yaml.safe_load_all((folder / name).read_text())}
            self.assertTrue({"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "Ingress"} <= kinds)

    def test_the_manual_names_the_namespace_and_secrets_of_the_plain_manifests(self):
        manual = (ROOT / "docs" / "OPERATIONS.md").read_text().split("\n## Kubernetes\n")[1].split("\n## ")[0]
        for profile in manifests.PROFILES:
            self.assertEqual(yaml.safe_load((ROOT / "k8s" / profile / "kustomization.yaml").read_text())["namespace"], manifests.NAMESPACE)
        for command in (f"kubectl create namespace {manifests.NAMESPACE}", f"kubectl --namespace {manifests.NAMESPACE} create secret generic", "kubectl apply -k k8s/evaluation"):
            self.assertIn(f"\n{command}", manual)
        manifest = "".join(path.read_text() for path in (ROOT / "k8s" / "production").iterdir())
        needed = re.findall(r"secretKeyRef:\s+name: (\S+)\s+key: (\S+)", manifest)
        self.assertGreater(len(set(needed)), 7)
        for secret, key in needed:
            self.assertRegex(manual, rf"(?m)^\| `{secret}` \| .*`{key}`")
        for secret in re.findall(r"secretName: (\S+)", manifest):
            self.assertIn(f"\n| `{secret}` |", manual)
