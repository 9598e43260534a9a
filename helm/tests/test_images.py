"""The images and the compose file: what they copy and mount is there, and nothing runs as root. Nothing is built: that needs Docker."""

import re
import shutil
import subprocess
import tempfile
import unittest
from fnmatch import fnmatch
from pathlib import Path

import yaml

from tools.chart import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROGRAMS = {"api": "api", "node-1": "signal-node", "node-2": "signal-node"}


def instructions():
    """(stage, instruction, arguments) of the Dockerfile, continued lines joined."""
    stage = None
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[1]
        if name:
            yield stage, name, rest


def sent(path):
    """Whether .dockerignore lets a path into the build: the last line that matches decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!").strip()
        parts = [path, *map(str, Path(path).parents)]
        if pattern and not pattern.startswith("#") and any(fnmatch(part, pattern.replace("**/", "*")) for part in parts if part != "."):
            kept = line.startswith("!")
    return kept


class Images(unittest.TestCase):
    def test_what_is_copied_from_the_project_is_there_and_sent(self):
        copied = [source for stage, name, rest in instructions() if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]]
        self.assertIn("web/package-lock.json", copied)
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertTrue(source == "." or sent(source), f"{source} is not sent to the build")
        members = re.search(r"^members = (\[.*\])$", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        for needed in [*yaml.safe_load(members), "Cargo.toml", "Cargo.lock"]:
            self.assertTrue(sent(needed), f"cargo needs {needed}")
        for secret in [".git", ".data/secrets", ".env", "web/node_modules", "target"]:
            self.assertFalse(sent(secret), secret)

    def test_what_the_page_needs_is_copied(self):
        taken = " ".join(rest for stage, name, rest in instructions() if stage == "api" and name == "COPY")
        for file in (ROOT / "web").iterdir():
            if file.suffix in {".html", ".css", ".svg", ".js"} or file.name == "app":
                patterns = [word.removeprefix("/page/") for word in taken.split() if word.startswith("/page/")]
                self.assertTrue(any(fnmatch(file.name, pattern) for pattern in patterns), file.name)

    def test_both_images_are_of_a_pinned_base_without_a_shell_and_not_root(self):
        stages = {rest.split(" AS ")[1]: rest.split(" AS ")[0] for _, name, rest in instructions() if name == "FROM"}
        self.assertEqual({stages["api"], stages["signal-node"]}, {"base"})
        self.assertTrue(stages["base"].startswith("gcr.io/distroless/"))
        for stage, base in stages.items():
            self.assertTrue(base in stages or re.search(r":\S+$", base), f"{stage} is of any version of {base}")
        self.assertIn(("base", "USER", "65532:65532"), list(instructions()))
        for stage, name, rest in instructions():
            if stage in {"base", "api", "signal-node"}:
                self.assertNotEqual(name, "RUN", "there is nothing to run it with")
                if name == "ENTRYPOINT":
                    self.assertTrue(rest.startswith('["/usr/local/bin/'), rest)

    def test_the_rust_of_the_image_can_build_this(self):
        wanted = re.search(r'^rust-version = "(\d+)\.(\d+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).groups()
        used = re.search(r"^ARG RUST=(\d+)\.(\d+)", DOCKERFILE, re.MULTILINE).groups()
        self.assertGreaterEqual(tuple(map(int, used)), tuple(map(int, wanted)))


class Compose(unittest.TestCase):
    def test_every_part_is_there_pinned_and_reachable_from_this_machine_alone(self):
        self.assertLessEqual({*PROGRAMS, "redis", "mongodb", "haproxy", "coturn", "prometheus", "grafana"}, set(COMPOSE["services"]))
        for name, service in COMPOSE["services"].items():
            with self.subTest(name):
                self.assertTrue("build" in service or re.search(r":v?\d", service["image"]), "a tag for good")
                for port in service.get("ports", []):
                    self.assertTrue(port.startswith("127.0.0.1:"), port)
                for volume in service.get("volumes", []):
                    source = volume.split(":")[0]
                    self.assertTrue((ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source)

    def test_the_programs_are_as_restricted_as_in_the_cluster(self):
        for name, target in PROGRAMS.items():
            service = COMPOSE["services"][name]
            self.assertEqual(service["build"]["target"], target)
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]))

    def test_nodes_find_each_other_and_coturn_has_the_secret_that_they_have(self):
        for name in ("node-1", "node-2"):
            known = COMPOSE["services"][name]["environment"]
            self.assertEqual((known["NODE_ID"], known["INTERNAL_URL"]), (name, f"http://{name}:9202"))
            self.assertIn(f"--static-auth-secret={known['TURN_SECRET']}", COMPOSE["services"]["coturn"]["command"])

    def test_haproxy_takes_its_configuration(self):
        haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if haproxy is None:
            self.skipTest("haproxy comes with `scripts/setup`")
        told = subprocess.run([haproxy, "-c", "-f", ROOT / "compose" / "haproxy.cfg"], capture_output=True, text=True)
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    def test_prometheus_takes_its_configuration_and_scrapes_the_jobs_that_alerts_know(self):
        with tempfile.TemporaryDirectory() as folder:
            # As they are mounted.
            shutil.copytree(ROOT / "helm" / "switchboard" / "monitoring", Path(folder) / "rules")
            file = shutil.copy(ROOT / "compose" / "prometheus.yaml", folder)
            told = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
            self.assertIn("rules found", told.stdout)
            jobs = [job["job_name"] for job in yaml.safe_load(Path(file).read_text())["scrape_configs"]]
            self.assertEqual(jobs, ["switchboard-api", "switchboard-node"])
