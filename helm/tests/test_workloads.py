"""The pods: how they are watched, what they may do, what they know, and how they go."""

import re
import shutil
import tempfile
import unittest
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.cluster import cluster
from tools.chart import CHART, NAMESPACE, RELEASE, ROOT, helm, profiles, render


def pods(profile, *kinds):
    """(name, spec) of the pods of a profile's workloads."""
    for _, it in render(profile):
        if it["kind"] in (kinds or ("Deployment", "StatefulSet")):
            yield it["metadata"]["labels"]["app.kubernetes.io/component"], it["spec"]["template"]["spec"]
        elif it["kind"] == "Pod" and not kinds:
            yield "test", it["spec"]


def ours(profile):
    """The two programs' pods, by component."""
    return {name: spec for name, spec in pods(profile, "Deployment") if name in {"api", "node"}}


def one(profile, kind, suffix):
    """The object of a kind whose name is the installation's, and this."""
    names = {f"calls-switchboard{suffix}", f"calls-with-a-name-of-30-letter{suffix}"}
    (found,) = [it for _, it in render(profile) if it["kind"] == kind and it["metadata"]["name"] in names]
    return found


def settings(profile, component):
    """A program's variables: from its ConfigMap, and from its own list."""
    (container,) = ours(profile)[component]["containers"]
    own = {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
    return {**one(profile, "ConfigMap", f"-{component}")["data"], **own}


def notes(profile):
    """What is said after an installation. Helm says it to a cluster alone: a copy of the chart says it in an object."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CHART, Path(folder) / "chart"))
        (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
        (copy / "templates" / "said.yaml").write_text('{said: {{ tpl (.Files.Get "notes.txt") . | quote }}}\n')
        out = helm("template", RELEASE, copy, "--namespace", NAMESPACE, "--values", CHART / "ci" / f"{profile}-values.yaml", "--show-only", "templates/said.yaml").stdout
        return yaml.safe_load(out)["said"]


class Security(unittest.TestCase):
    def test_every_pod_keeps_the_restricted_profile_and_has_no_token(self):
        for profile in profiles():
            for name, spec in pods(profile):
                with self.subTest(profile=profile, pod=name):
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    self.assertIs(spec["enableServiceLinks"], False)
                    self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                    self.assertGreater(spec["securityContext"]["runAsUser"], 0)
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    # coturn alone relays media on the machine's own ports.
                    self.assertEqual(spec.get("hostNetwork", False), name == "coturn")
                    for container in spec["containers"]:
                        context = container["securityContext"]
                        self.assertIs(context["allowPrivilegeEscalation"], False)
                        self.assertIs(context["readOnlyRootFilesystem"], True)
                        # The one that the profile lets be added, to the one program whose file asks for it.
                        more = {"add": ["NET_BIND_SERVICE"]} if name == "coturn" else {}
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"], **more})
                        self.assertIn("memory", container["resources"]["limits"])
                        self.assertIn("cpu", container["resources"]["requests"])

    def test_every_pod_has_the_registrys_credentials(self):
        for profile in ("cluster-tls", "gateway-coturn"):
            for name, spec in pods(profile):
                with self.subTest(profile=profile, pod=name):
                    self.assertEqual(spec["imagePullSecrets"], [{"name": "registry"}])

    def test_accounts_of_our_own_have_no_token_and_no_rights(self):
        for profile in profiles():
            kinds = {it["kind"] for _, it in render(profile)}
            self.assertFalse(kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})
            for component, spec in ours(profile).items():
                account = one(profile, "ServiceAccount", f"-{component}")
                self.assertEqual(spec["serviceAccountName"], account["metadata"]["name"])
                self.assertIs(account["automountServiceAccountToken"], False)

    def test_the_chart_makes_no_secret_and_every_secret_comes_from_one_that_exists(self):
        for profile in profiles():
            self.assertNotIn("Secret", {it["kind"] for _, it in render(profile)})
            for component in ("api", "node"):
                known = settings(profile, component)
                for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"):
                    self.assertIn("secretKeyRef", known[name])
        known = settings("production", "node")
        for name in ("CLUSTER_SECRET", "REDIS_PASSWORD", "MONGODB_URI", "TURN_SECRET"):
            self.assertIn("secretKeyRef", known[name], name)
        self.assertNotIn("CLUSTER_SECRET", settings("production", "api"), "the api is no node")
        for name in ("WEBHOOK_SECRET", "ADMIN_API_KEYS"):
            self.assertIn("secretKeyRef", settings("production", "api")[name], name)
            self.assertNotIn(name, known, "a node has no use for it")


class Settings(unittest.TestCase):
    def test_redis_is_reached_as_the_values_say(self):
        self.assertEqual(settings("evaluation", "api")["REDIS_URL"], "redis://calls-switchboard-redis:6379")
        self.assertEqual(settings("production", "api")["REDIS_URL"], "redis://switchboard:$(REDIS_PASSWORD)@redis.stores.svc.cluster.local:6379")
        self.assertEqual(settings("cluster-tls", "api")["REDIS_URL"], "rediss+cluster://calls:$(REDIS_PASSWORD)@redis-0.redis:6379,redis-1.redis:6380")
        for profile in profiles():
            (container,) = ours(profile)["node"]["containers"]
            names = [variable["name"] for variable in container["env"]]
            if "$(REDIS_PASSWORD)" in settings(profile, "node")["REDIS_URL"]:
                self.assertLess(names.index("REDIS_PASSWORD"), names.index("REDIS_URL"), "a variable may name those before it alone")

    def test_a_turn_server_with_one_user_for_all_is_told_of_by_its_keys(self):
        values = "turn.urls={turn:a:3478},turn.existingSecret=turn,turn.usernameKey=user,turn.credentialKey=word"
        for component in ("api", "node"):
            (config,) = [it for _, it in render("evaluation", "--set", values) if it["kind"] == "Deployment" and it["metadata"]["name"].endswith(f"-{component}")]
            (container,) = config["spec"]["template"]["spec"]["containers"]
            known = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}
            self.assertEqual(known["TURN_SERVER_USERNAME"], {"secretKeyRef": {"name": "turn", "key": "user"}})
            self.assertEqual(known["TURN_SERVER_CREDENTIAL"], {"secretKeyRef": {"name": "turn", "key": "word"}})
            self.assertNotIn("TURN_SECRET", known)

    def test_releases_that_share_a_redis_have_prefixes_of_their_own(self):
        prefixes = set()
        for release, namespace in [("a", "x"), ("b", "x"), ("a", "y"), ("a-name-of-a-release-with-forty-characters", "x")]:
            objects = render("evaluation", "--namespace", namespace, release=release)
            (config,) = [it for _, it in objects if it["kind"] == "ConfigMap" and it["metadata"]["name"].endswith("-api")]
            prefixes.add(config["data"]["REDIS_PREFIX"])
            self.assertRegex(config["data"]["REDIS_PREFIX"], r"^[A-Za-z0-9_-]{1,32}$")
        self.assertEqual(len(prefixes), 4, prefixes)

    def test_nodes_reach_each_other_by_the_pods_addresses(self):
        self.assertEqual(settings("evaluation", "node")["INTERNAL_URL"], "http://$(POD_IP):9202")
        self.assertEqual(settings("cluster-tls", "node")["INTERNAL_URL"], "http://[$(POD_IP)]:9202")
        self.assertEqual(settings("cluster-tls", "node")["BIND_ADDRESS"], "::")
        headless = one("evaluation", "Service", "-node-internal")["spec"]
        self.assertEqual((headless["clusterIP"], headless["publishNotReadyAddresses"]), ("None", True))

    def test_traces_go_where_the_values_say_and_nowhere_by_themselves(self):
        for component in ("api", "node"):
            known = settings("cluster-tls", component)
            self.assertEqual(known["OTEL_EXPORTER_OTLP_ENDPOINT"], "http://collector.monitoring:4318")
            self.assertEqual(known["OTEL_TRACES_SAMPLER_ARG"], "0.25")
            self.assertNotIn("OTEL_EXPORTER_OTLP_ENDPOINT", settings("production", component))

    def test_a_pods_name_is_a_nodes_id(self):
        """Kubernetes adds 17 characters to a Deployment's name, and the program 9 of its 64."""
        for profile in profiles():
            self.assertLessEqual(len(one(profile, "Deployment", "-node")["metadata"]["name"]) + 17, 55)

    def test_every_variable_is_one_that_a_program_reads(self):
        sources = [*ROOT.glob("common/src/config/*.rs"), ROOT / "api/src/config.rs", ROOT / "signal-node/src/config.rs"]
        read = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', "".join(path.read_text() for path in sources)))
        ours_alone = {"POD_IP", "REDIS_PASSWORD", "SSL_CERT_FILE"}
        for profile in profiles():
            for component in ("api", "node"):
                self.assertEqual(set(settings(profile, component)) - ours_alone - read, set())

    def test_new_settings_are_a_new_rollout(self):
        changed = render("evaluation", "--set", "node.eventsPerSecond=7")
        before, after = (
            {it["metadata"]["name"]: it["spec"]["template"]["metadata"]["annotations"] for _, it in objects if it["kind"] == "Deployment"}
            for objects in (render("evaluation"), changed)
        )
        self.assertNotEqual(before["calls-switchboard-node"], after["calls-switchboard-node"])
        self.assertEqual(before["calls-switchboard-api"], after["calls-switchboard-api"])


class Going(unittest.TestCase):
    def test_hook_drain_and_grace_add_up(self):
        for profile in profiles():
            for component, spec in ours(profile).items():
                with self.subTest(profile=profile, component=component):
                    (container,) = spec["containers"]
                    hook = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                    grace = spec["terminationGracePeriodSeconds"]
                    if component == "node":
                        known = settings(profile, "node")
                        self.assertEqual(known["DRAIN_DELAY_MS"], "0", "the hook has waited already")
                        self.assertEqual(hook * 1000 + int(known["DRAIN_DEADLINE_MS"]) + 5000, grace * 1000)
                        self.assertGreaterEqual(int(known["DRAIN_DEADLINE_MS"]), 10_000)
                    else:
                        self.assertGreaterEqual(grace, hook + 15)

    def test_a_rollout_adds_a_pod_before_it_takes_one_and_a_budget_keeps_all_but_one(self):
        for profile in profiles():
            for component in ("api", "node"):
                deployment = one(profile, "Deployment", f"-{component}")["spec"]
                self.assertEqual(deployment["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
                budget = one(profile, "PodDisruptionBudget", f"-{component}")["spec"]
                self.assertEqual(budget["maxUnavailable"], 1)
                self.assertEqual(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow")
                self.assertEqual(budget["selector"], deployment["selector"])

    def test_what_is_autoscaled_has_no_number_of_replicas_and_nodes_go_slowly(self):
        for component in ("api", "node"):
            self.assertNotIn("replicas", one("production", "Deployment", f"-{component}")["spec"])
            self.assertIn("replicas", one("evaluation", "Deployment", f"-{component}")["spec"])
        scaler = one("production", "HorizontalPodAutoscaler", "-node")["spec"]
        self.assertEqual(scaler["metrics"][0]["pods"]["metric"]["name"], "switchboard_sockets_open")
        down = scaler["behavior"]["scaleDown"]
        self.assertEqual((down["stabilizationWindowSeconds"], down["policies"][0]["value"]), (1800, 1))
        grace = ours("production")["node"]["terminationGracePeriodSeconds"]
        self.assertGreaterEqual(down["policies"][0]["periodSeconds"], 2 * grace)
        (longest,) = [it for _, it in render("production", "--set", "node.terminationGracePeriodSeconds=3600") if it["kind"] == "HorizontalPodAutoscaler" and it["metadata"]["name"].endswith("-node")]
        self.assertEqual(longest["spec"]["behavior"]["scaleDown"]["policies"][0]["periodSeconds"], 1800, "Kubernetes takes no more")

    def test_a_live_release_that_begins_to_be_autoscaled_keeps_its_pods(self):
        with cluster(NAMESPACE, **{"calls-switchboard-node": 7}) as address:
            objects = render("production", "--dry-run=server", "--kube-apiserver", address)
        replicas = {it["metadata"]["name"]: it["spec"].get("replicas") for _, it in objects if it["kind"] == "Deployment"}
        self.assertEqual(replicas, {"calls-switchboard-node": 7, "calls-switchboard-api": None})


class Watching(unittest.TestCase):
    def test_liveness_asks_for_the_process_alone_and_readiness_for_more(self):
        for profile in profiles():
            for component, spec in ours(profile).items():
                (container,) = spec["containers"]
                for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
                    with self.subTest(profile=profile, component=component, probe=probe):
                        self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "metrics"})
                # A check of readiness gives up after 2 s by itself.
                self.assertGreater(container["readinessProbe"]["timeoutSeconds"], 2)
                live = container["livenessProbe"]
                self.assertGreaterEqual(live["periodSeconds"] * live["failureThreshold"], 60, "a pause is no death")

    def test_pods_spread_over_zones_and_machines(self):
        for profile in profiles():
            for spec in ours(profile).values():
                keys = [constraint["topologyKey"] for constraint in spec["topologySpreadConstraints"]]
                self.assertEqual(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
        self.assertIn("podAntiAffinity", ours("production")["node"]["affinity"])
        self.assertEqual(list(ours("cluster-tls")["api"]["affinity"]), ["nodeAffinity"])

    def test_the_ports_are_those_that_the_programs_are_told(self):
        for profile in profiles():
            for component, names in {"api": {"http": "API_PORT", "metrics": "METRICS_PORT"}, "node": {"http": "SIGNALING_PORT", "metrics": "METRICS_PORT", "internal": "INTERNAL_PORT"}}.items():
                (container,) = ours(profile)[component]["containers"]
                ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
                known = settings(profile, component)
                self.assertEqual(ports, {name: known[variable] for name, variable in names.items()})

    def test_monitors_find_a_port_of_a_service_and_name_the_jobs_that_alerts_know(self):
        for component in ("api", "node"):
            monitor = one("production", "ServiceMonitor", f"-{component}")["spec"]
            (endpoint,) = monitor["endpoints"]
            self.assertEqual(endpoint["relabelings"], [{"targetLabel": "job", "replacement": f"switchboard-{component}"}])
            chosen = monitor["selector"]["matchLabels"].items()
            services = [it for _, it in render("production") if it["kind"] == "Service" and chosen <= it["metadata"]["labels"].items()]
            exposing = [it for it in services if endpoint["port"] in [port["name"] for port in it["spec"]["ports"]]]
            self.assertEqual(len(exposing), 1, "each pod is scraped once")


class Publishing(unittest.TestCase):
    def test_sockets_go_to_nodes_and_the_rest_to_the_api(self):
        (rule,) = one("production", "Ingress", "-public")["spec"]["rules"]
        paths = [(path["path"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]]
        self.assertEqual(paths, [("/socket.io/", "calls-switchboard-node"), ("/", "calls-switchboard-api")])
        route = one("gateway-coturn", "HTTPRoute", "-public")["spec"]
        paths = [(rule["matches"][0]["path"]["value"], rule["backendRefs"][0]["name"]) for rule in route["rules"]]
        self.assertEqual(paths, [("/socket.io/", "calls-switchboard-node"), ("/", "calls-switchboard-api")])
        self.assertEqual(route["rules"][0]["timeouts"], {"request": "0s"})

    def test_coturn_knows_the_secret_relays_to_no_inner_address_and_is_what_clients_are_told(self):
        (container,) = dict(pods("gateway-coturn", "Deployment"))["coturn"]["containers"]
        arguments = container["args"]
        self.assertTrue({"--use-auth-secret", "--static-auth-secret=$(TURN_SECRET)", "--no-cli", "--no-multicast-peers", "--no-tcp-relay"} <= set(arguments))
        self.assertIn("--external-ip=203.0.113.7/$(POD_IP)", arguments)
        self.assertIn("--allowed-peer-ip=$(POD_IP)", arguments, "two clients of one relay")
        denied = [argument for argument in arguments if argument.startswith("--denied-peer-ip=")]
        self.assertGreater(len(denied), 8)
        secret = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}["TURN_SECRET"]
        self.assertEqual(secret, settings("gateway-coturn", "node")["TURN_SECRET"])

    def test_coturns_are_replaced_one_by_one_and_none_before_its_ports_are_free(self):
        strategy = one("gateway-coturn", "Deployment", "-coturn")["spec"]["strategy"]
        self.assertEqual(strategy, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})

    def test_the_page_and_its_sockets_are_at_the_address_that_people_are_told(self):
        for profile in profiles():
            for _, it in render(profile):
                if it["kind"] == "Ingress":
                    (rule,) = it["spec"]["rules"]
                    self.assertEqual(urlsplit(settings(profile, "api")["FRONTEND_URL"]).hostname, rule["host"])
        # The Ingress is at port 80 of its controller, people are told another one: both texts say how it comes there.
        forward = "kubectl port-forward --namespace ingress-nginx service/ingress-nginx-controller 8080:80\n"
        self.assertEqual(settings("evaluation", "api")["FRONTEND_URL"], "http://localhost:8080")
        self.assertEqual(one("evaluation", "Ingress", "-public")["spec"]["ingressClassName"], "nginx")
        self.assertIn(forward, (CHART / "README.md").read_text())
        self.assertIn(forward, notes("evaluation"))
        self.assertNotIn("port-forward", notes("production"))
