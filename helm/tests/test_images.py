"""Images and compose file: copied and mounted files exist, and no program runs as root.

Nothing is built, because that needs Docker.
"""

import importlib.machinery
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import tomllib
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
    """Yields (stage, instruction, arguments) of the Dockerfile. Joins continued lines."""
    stage = None
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[1]
        if name:
            yield stage, name, rest


def in_context(path):
    """Returns whether .dockerignore lets a path into the build. The last matching line decides."""
    included = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!").strip()
        parts = [path, *map(str, Path(path).parents)]
        if pattern and not pattern.startswith("#") and any(fnmatch(part, pattern.replace("**/", "*")) for part in parts if part != "."):
            included = line.startswith("!")
    return included


@contextmanager
def started(command):
    """Starts `command(folder, port)`. Yields the port, or None if the program does not listen."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen([*map(str, command(folder, port))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            yield port if waits_for_port(process, port) else None
        finally:
            process.kill()
            process.wait()


def waits_for_port(process, port):
    """Returns whether a process listens on the port within 30 s and is still running."""
    for _ in range(600):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def listens(turnserver, arguments):
    """Returns whether coturn starts with these arguments, except addresses and files."""

    def command(folder, port):
        local = {"--listening-ip": "127.0.0.1", "--listening-port": port, "--pidfile": f"{folder}/pid", "--userdb": f"{folder}/db", "--relay-ip": "127.0.0.1"}
        kept = [argument.replace("$(POD_IP)", "127.0.0.1") for argument in arguments if argument.split("=")[0] not in local]
        return [*turnserver, *kept, *(f"{name}={value}" for name, value in local.items())]

    with started(command) as port:
        return port is not None


def container(profile, component, *more):
    """Returns the container of a workload in the rendered chart that has the workload's name."""
    (workload,) = [it for _, it in render(profile, *more) if it["kind"] in {"Deployment", "StatefulSet"} and it["metadata"]["name"].endswith(f"-{component}")]
    (found,) = [it for it in workload["spec"]["template"]["spec"]["containers"] if it["name"] == component]
    return found


def images_script():
    """Returns `scripts/images` as a module."""
    loader = importlib.machinery.SourceFileLoader("images", str(ROOT / "scripts" / "images"))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader("images", loader))
    loader.exec_module(made)
    return made


def program(name):
    """Returns the path of an installed program, or None."""
    return shutil.which(name, path=f"/usr/bin:/usr/local/bin:/usr/sbin:{ROOT / '.tools'}")


class Images(unittest.TestCase):
    def test_files_that_the_build_needs_exist_and_are_in_its_context(self):
        copied = [source for stage, name, rest in instructions() if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]]
        for lock in ["sdk/js/package-lock.json", "web/package-lock.json"]:
            self.assertIn(lock, copied)
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertTrue(source == "." or in_context(source), f"{source} is not in the build context")
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        for needed in [*members, "Cargo.toml", "Cargo.lock"]:
            self.assertTrue(in_context(needed), f"cargo needs {needed}")
        for secret in [".git", ".data/secrets", ".env", "sdk/js/node_modules", "web/node_modules", "target"]:
            self.assertFalse(in_context(secret), secret)

    def test_the_page_is_built_and_copied(self):
        steps = list(instructions())
        self.assertTrue(any((stage, name) == ("page", "RUN") and "--prefix web run build" in rest for stage, name, rest in steps))
        self.assertIn(("files", "COPY", "--from=page /page/web/dist web/dist"), steps)

    def test_both_images_are_made_of_the_same_files_as_those_without_docker(self):
        (made,) = [rest for stage, name, rest in instructions() if (stage, name) == ("files", "RUN") and "scripts/images" in rest]
        self.assertIn("scripts/images --programs /out --folders /images", made)
        copied = {stage: rest for stage, name, rest in instructions() if name == "COPY" and stage in {"base", "api", "signal-node"}}
        self.assertEqual(copied, {stage: f"--from=files /images/{stage} /" for stage in ("base", "api", "signal-node")})
        for script in ("scripts/images", "scripts/sbom.py"):
            self.assertTrue(in_context(script), script)

    def test_both_images_have_an_empty_base_and_do_not_run_as_root(self):
        stages = {rest.split(" AS ")[1]: rest.split(" AS ")[0] for _, name, rest in instructions() if name == "FROM"}
        self.assertEqual({stages["api"], stages["signal-node"]}, {"base"})
        self.assertEqual(stages["base"], "scratch")
        for stage, base in stages.items():
            self.assertTrue(base == "scratch" or base in stages or re.search(r":\S+$", base), f"the version of {base} in stage {stage} is not pinned")
        self.assertIn(("base", "USER", "65532:65532"), list(instructions()))
        for stage, name, rest in instructions():
            if stage in {"base", "api", "signal-node"}:
                self.assertNotEqual(name, "RUN", "the image has no shell")
                if name == "ENTRYPOINT":
                    self.assertTrue(rest.startswith('["/usr/local/bin/'), rest)

    def test_each_image_with_release_programs_is_below_40_mb(self):
        """Needs a release build and the page. docs/OPERATIONS.md, "Images", has the size of each part."""
        made = images_script()
        built = {name: ROOT / "target" / "release" / name for name in made.IMAGES}
        needed = [*built.values(), ROOT / "web" / "dist" / "index.html"]
        if not all(path.exists() for path in needed) or not all(map(shutil.which, ("strip", "dpkg-query", "cargo"))):
            self.skipTest("no release build here")
        layers = made.layers(built, 0, "all")
        size = {layer: sum(map(len, files.values())) for layer, files in layers.items()}
        for name in built:
            self.assertLess(size["base"] + size[name], 40e6, name)

    def test_the_build_caches_dependencies_and_each_image_has_labels(self):
        (build,) = [rest for stage, name, rest in instructions() if (stage, name) == ("build", "RUN")]
        for kept in ("/usr/local/cargo/registry", "/src/target"):
            self.assertIn(f"--mount=type=cache,target={kept}", build)
        self.assertIn("cargo build --locked --release", build)
        for stage in ("api", "signal-node"):
            labels = " ".join(rest for at, name, rest in instructions() if name == "LABEL" and at in {"base", stage})
            for label in ("title", "description", "licenses", "version", "revision"):
                self.assertEqual(labels.count(f"org.opencontainers.image.{label}="), 1, f"{stage}: {label}")

    def test_image_names_never_point_to_docker_hub(self):
        """A name without a registry belongs to Docker Hub. The README builds the evaluation images."""
        named = [container(profile, program)["image"] for profile in profiles() for program in ("api", "node")]
        named += [service["image"] for service in COMPOSE["services"].values() if "build" in service]
        for image in named:
            self.assertRegex(image.split("/")[0], r"^localhost$|\.", image)
        readme = (ROOT / "helm" / "switchboard" / "README.md").read_text()
        for component, target in (("api", "api"), ("node", "signal-node")):
            image = container("evaluation", component)["image"]
            self.assertIn(f"docker build --target {target} --tag {image} .\n", readme)
            self.assertRegex(readme, rf"(?m)^kind load docker-image .*{re.escape(image)}( |$)")

    def test_images_made_without_docker_are_started_as_those_of_the_dockerfile(self):
        made = images_script()
        self.assertEqual({stage for stage, name, _ in instructions() if name == "ENTRYPOINT"}, set(made.IMAGES))
        for image in made.IMAGES:
            archive, _ = made.image(image, [b""], 0, "of-this-test")
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                (manifest,) = json.load(files.extractfile("manifest.json"))
                config = json.load(files.extractfile(manifest["Config"]))["config"]
            inherited = {"base", image}
            of = {name: rest for stage, name, rest in instructions() if stage in inherited}
            self.assertEqual(json.loads(of["ENTRYPOINT"]), config["Entrypoint"])
            self.assertEqual(sorted(f"{port}/tcp" for port in of["EXPOSE"].split()), sorted(config["ExposedPorts"]))
            self.assertEqual((of["USER"], of["STOPSIGNAL"]), (config["User"], config["StopSignal"]))
            self.assertIn(of["ENV"], config["Env"])
            labels = " ".join(rest for stage, name, rest in instructions() if name == "LABEL" and stage in inherited)
            for label in ("title", "description", "licenses"):
                name = f"org.opencontainers.image.{label}"
                self.assertIn(f'{name}="{config["Labels"][name]}"', labels)
            self.assertEqual(manifest["RepoTags"], [container("evaluation", "node" if image == "signal-node" else "api")["image"]])

    def test_images_need_no_volume_and_no_shell(self):
        for stage, name, rest in instructions():
            if stage in {"base", "api", "signal-node"}:
                self.assertNotIn(name, {"VOLUME", "ADD", "SHELL", "HEALTHCHECK"}, rest)

    def test_the_images_rust_version_can_build_the_project(self):
        required = re.search(r'^rust-version = "(\d+)\.(\d+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).groups()
        used = re.search(r"^ARG RUST=(\d+)\.(\d+)", DOCKERFILE, re.MULTILINE).groups()
        self.assertGreaterEqual(tuple(map(int, used)), tuple(map(int, required)))


class Compose(unittest.TestCase):
    def test_all_services_are_pinned_and_published_on_the_loopback_address_only(self):
        self.assertLessEqual({*PROGRAMS, "redis", "mongodb", "haproxy", "coturn", "prometheus", "grafana"}, set(COMPOSE["services"]))
        for name, service in COMPOSE["services"].items():
            with self.subTest(name):
                self.assertTrue("build" in service or re.search(r":v?\d", service["image"]), "the tag is not pinned")
                for port in service.get("ports", []):
                    self.assertTrue(port.startswith("127.0.0.1:"), port)
                for volume in service.get("volumes", []):
                    source = volume.split(":")[0]
                    self.assertTrue((ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source)

    def test_the_programs_have_the_same_restrictions_as_in_kubernetes(self):
        for name, target in PROGRAMS.items():
            service = COMPOSE["services"][name]
            self.assertEqual(service["build"]["target"], target)
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]))

    def test_nodes_know_each_others_address_and_share_the_secret_with_coturn(self):
        for name in ("node-1", "node-2"):
            known = COMPOSE["services"][name]["environment"]
            self.assertEqual((known["NODE_ID"], known["INTERNAL_URL"]), (name, f"http://{name}:9202"))
            self.assertIn(f"--static-auth-secret={known['TURN_SECRET']}", COMPOSE["services"]["coturn"]["command"])

    def test_haproxy_accepts_its_configuration(self):
        haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if haproxy is None:
            self.skipTest("needs haproxy: run `scripts/setup`")
        result = subprocess.run([haproxy, "-c", "-f", ROOT / "compose" / "haproxy.cfg"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_coturn_starts_with_the_arguments_of_compose_and_chart(self):
        turnserver = program("turnserver")
        if turnserver is None:
            self.skipTest("needs coturn: run `scripts/setup test`")
        chart = container("gateway-coturn", "coturn")
        in_chart = ["env", f"PATH={Path(turnserver).parent}:/usr/bin:/bin", "TURN_SECRET=of-this-test\n", *chart["command"]]
        for command, arguments in (([turnserver], COMPOSE["services"]["coturn"]["command"]), (in_chart, chart["args"])):
            self.assertTrue(listens(command, arguments), arguments)
            self.assertFalse(listens(command, [*arguments, "--no-such-argument"]))

    def test_coturn_runs_with_the_capabilities_in_the_chart(self):
        """The image's turnserver has a file capability, without which the kernel refuses to run it."""
        turnserver, setcap, setpriv = program("turnserver"), program("setcap"), program("setpriv")
        if None in {turnserver, setcap, setpriv} or os.getuid() != 0:
            self.skipTest("needs root, libcap2-bin, and coturn: run `scripts/setup test`")
        coturn = container("gateway-coturn", "coturn")
        added = coturn["securityContext"]["capabilities"].get("add", [])
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            marked = shutil.copy(turnserver, folder)
            if subprocess.run([setcap, "cap_net_bind_service=+ep", marked], capture_output=True).returncode:
                self.skipTest("the file system does not support capabilities")
            for bounding, executed in ((",".join(["-all", *(f"+{name.lower()}" for name in added)]), True), ("-all", False)):
                command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", f"--bounding-set={bounding}", marked, "--no-such-argument"]
                result = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual("Operation not permitted" not in result.stderr, executed, result.stderr)

    def test_evaluation_redis_starts_with_its_arguments(self):
        redis = program("redis-server")
        if redis is None:
            self.skipTest("needs redis-server: run `scripts/setup`")
        for arguments in (COMPOSE["services"]["redis"]["command"][1:], container("evaluation", "redis")["args"]):
            with self.subTest(arguments):
                last = arguments[:-1] if arguments[-2:-1] == ["--dir"] else [*arguments, "--dir"]
                with started(lambda folder, port: [redis, *last, folder, "--port", port, "--bind", "127.0.0.1"]) as port:
                    self.assertIsNotNone(port, "the server did not start")
                    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                        client.sendall(b"PING\r\nCONFIG GET client-output-buffer-limit\r\n")
                        reply = b""
                        while b"pubsub" not in reply and (data := client.recv(4096)):
                            reply += data
                    self.assertTrue(reply.startswith(b"+PONG\r\n"), reply)
                    self.assertIn(b"pubsub 268435456 134217728 60", reply)

    def test_evaluation_mongodb_starts_with_its_arguments(self):
        mongod = program("mongod")
        if mongod is None:
            self.skipTest("needs mongod: run `scripts/setup`")
        commands = [COMPOSE["services"]["mongodb"]["command"], *(container("evaluation", "mongodb", "--set", f"ipv6={ipv6}")["command"] for ipv6 in ("false", "true"))]
        for command in commands:
            with self.subTest(command):
                self.assertIn("--bind_ip_all", command)
                kept = [word for word in command[1:] if word != "--bind_ip_all"]
                with started(lambda folder, port: [mongod, *kept, "--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1"]) as port:
                    self.assertIsNotNone(port, "the server did not start")
        self.assertEqual(["--ipv6" in command for command in commands], [False, False, True], "mongod listens on IPv6 only with --ipv6")

    def test_prometheus_accepts_its_configuration_and_scrapes_the_jobs_in_the_alerts(self):
        with tempfile.TemporaryDirectory() as folder:
            # The same folders as in compose.yaml.
            shutil.copytree(ROOT / "helm" / "switchboard" / "monitoring", Path(folder) / "rules")
            file = shutil.copy(ROOT / "compose" / "prometheus.yaml", folder)
            result = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertIn("rules found", result.stdout)
            jobs = [job["job_name"] for job in yaml.safe_load(Path(file).read_text())["scrape_configs"]]
            self.assertEqual(jobs, ["switchboard-api", "switchboard-node"])
