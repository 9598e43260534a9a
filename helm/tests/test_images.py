"""The images and the compose file: what they copy and mount is there, and nothing runs as root. Nothing is built: that needs Docker."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import yaml

from tools.chart import ROOT, profiles, render

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


@contextmanager
def started(command):
    """The port at which a program comes to listen, or none; `command` makes its words of a folder and a port."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen([*map(str, command(folder, port))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            yield port if answers(process, port) else None
        finally:
            process.kill()
            process.wait()


def answers(process, port):
    """Whether a program comes to listen within a while, and lives."""
    for _ in range(600):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def listens(turnserver, arguments):
    """Whether coturn, told so but for where it listens, comes to listen."""

    def command(folder, port):
        here = {"--listening-ip": "127.0.0.1", "--listening-port": port, "--pidfile": f"{folder}/pid", "--userdb": f"{folder}/db", "--relay-ip": "127.0.0.1"}
        kept = [argument.replace("$(POD_IP)", "127.0.0.1") for argument in arguments if argument.split("=")[0] not in here]
        return [*turnserver, *kept, *(f"{name}={value}" for name, value in here.items())]

    with started(command) as port:
        return port is not None


def container(profile, component, *more):
    """The one container of a workload that the chart makes."""
    (workload,) = [it for _, it in render(profile, *more) if it["kind"] in {"Deployment", "StatefulSet"} and it["metadata"]["name"].endswith(f"-{component}")]
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return found


def program(name):
    """Where a program is, if it is."""
    return shutil.which(name, path=f"/usr/bin:/usr/local/bin:/usr/sbin:{ROOT / '.tools'}")


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

    def test_each_image_is_below_40_mb_with_the_programs_of_a_release_build(self):
        """Where there is one; the base is the sum of its packages (docs/OPERATIONS.md, "Images")."""
        base, page = 16.5e6, sum(path.stat().st_size for path in (ROOT / "web").rglob("*") if path.is_file() and "node_modules" not in path.parts)
        self.assertIn(("build", "ARG", "STRIP=symbols"), list(instructions()))
        self.assertIn(("build", "ENV", "CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=${STRIP}"), list(instructions()))
        for program in ("api", "signal-node"):
            built = ROOT / "target" / "release" / program
            if not built.exists() or shutil.which("strip") is None:
                self.skipTest("no release build here")
            with tempfile.TemporaryDirectory() as folder:
                stripped = Path(folder) / program
                subprocess.run(["strip", "--strip-all", "-o", stripped, built], check=True)
                self.assertLess(base + page + stripped.stat().st_size, 40e6, program)

    def test_dependencies_are_compiled_once_and_each_image_says_what_it_is(self):
        (build,) = [rest for stage, name, rest in instructions() if (stage, name) == ("build", "RUN")]
        for kept in ("/usr/local/cargo/registry", "/src/target"):
            self.assertIn(f"--mount=type=cache,target={kept}", build)
        self.assertIn("cargo build --locked --release", build)
        for stage in ("api", "signal-node"):
            labels = " ".join(rest for at, name, rest in instructions() if name == "LABEL" and at in {"base", stage})
            for label in ("title", "description", "licenses", "version", "revision"):
                self.assertEqual(labels.count(f"org.opencontainers.image.{label}="), 1, f"{stage}: {label}")

    def test_nobody_is_led_to_images_of_strangers(self):
        """A name without a registry is Docker Hub's; the chart's README builds those that the evaluation values name."""
        named = [container(profile, program)["image"] for profile in profiles() for program in ("api", "node")]
        named += [service["image"] for service in COMPOSE["services"].values() if "build" in service]
        for image in named:
            self.assertRegex(image.split("/")[0], r"^localhost$|\.", image)
        readme = (ROOT / "helm" / "switchboard" / "README.md").read_text()
        for component, target in (("api", "api"), ("node", "signal-node")):
            image = container("evaluation", component)["image"]
            self.assertIn(f"docker build --target {target} --tag {image} .\n", readme)
            self.assertRegex(readme, rf"(?m)^kind load docker-image .*{re.escape(image)}( |$)")

    def test_nothing_in_an_image_is_for_writing_or_needs_a_shell(self):
        """Read-only: the images have no volume, and nothing that runs in a shell."""
        for stage, name, rest in instructions():
            if stage in {"base", "api", "signal-node"}:
                self.assertNotIn(name, {"VOLUME", "ADD", "SHELL", "HEALTHCHECK"}, rest)

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

    def test_coturn_takes_its_arguments_those_of_the_chart_too(self):
        turnserver = program("turnserver")
        if turnserver is None:
            self.skipTest("coturn comes with `scripts/setup test`")
        for arguments in (COMPOSE["services"]["coturn"]["command"], container("gateway-coturn", "coturn")["args"]):
            self.assertTrue(listens([turnserver], arguments), arguments)
            self.assertFalse(listens([turnserver], [*arguments, "--no-such-argument"]))

    def test_coturn_runs_with_the_capabilities_that_the_chart_leaves_it(self):
        """The image's turnserver has a capability of its own, and the kernel executes no such file for those who may not have it."""
        turnserver, setcap, setpriv = program("turnserver"), program("setcap"), program("setpriv")
        if None in {turnserver, setcap, setpriv} or os.getuid() != 0:
            self.skipTest("only root can give a file capabilities, with libcap2-bin; coturn comes with `scripts/setup test`")
        coturn = container("gateway-coturn", "coturn")
        left = coturn["securityContext"]["capabilities"].get("add", [])
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            marked = shutil.copy(turnserver, folder)
            if subprocess.run([setcap, "cap_net_bind_service=+ep", marked], capture_output=True).returncode:
                self.skipTest("files have no capabilities here")
            for bounding, executed in ((",".join(["-all", *(f"+{name.lower()}" for name in left)]), True), ("-all", False)):
                command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", f"--bounding-set={bounding}", marked, "--no-such-argument"]
                told = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual("Operation not permitted" not in told.stderr, executed, told.stderr)

    def test_redis_to_try_it_out_with_takes_its_arguments_and_answers(self):
        redis = program("redis-server")
        if redis is None:
            self.skipTest("redis-server comes with `scripts/setup`")
        for arguments in (COMPOSE["services"]["redis"]["command"][1:], container("evaluation", "redis")["args"]):
            with self.subTest(arguments):
                last = arguments[:-1] if arguments[-2:-1] == ["--dir"] else [*arguments, "--dir"]
                with started(lambda folder, port: [redis, *last, folder, "--port", port, "--bind", "127.0.0.1"]) as port:
                    self.assertIsNotNone(port, "it did not start")
                    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                        client.sendall(b"PING\r\nCONFIG GET client-output-buffer-limit\r\n")
                        told = b""
                        while b"pubsub" not in told and (some := client.recv(4096)):
                            told += some
                    self.assertTrue(told.startswith(b"+PONG\r\n"), told)
                    self.assertIn(b"pubsub 268435456 134217728 60", told)

    def test_mongodb_to_try_it_out_with_takes_its_arguments_and_listens(self):
        mongod = program("mongod")
        if mongod is None:
            self.skipTest("mongod comes with `scripts/setup`")
        commands = [COMPOSE["services"]["mongodb"]["command"], *(container("evaluation", "mongodb", "--set", f"ipv6={ipv6}")["command"] for ipv6 in ("false", "true"))]
        for command in commands:
            with self.subTest(command):
                self.assertIn("--bind_ip_all", command)
                kept = [word for word in command[1:] if word != "--bind_ip_all"]
                with started(lambda folder, port: [mongod, *kept, "--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1"]) as port:
                    self.assertIsNotNone(port, "it did not start")
        self.assertEqual(["--ipv6" in command for command in commands], [False, False, True], "mongod is deaf to IPv6 unless it is told")

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
