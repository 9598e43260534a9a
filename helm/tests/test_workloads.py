"""Pods: security, settings, termination, probes, monitoring and publishing."""

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
    """Yields (component, pod spec) of a profile's workloads."""
    for _, it in render(profile):
        if it["kind"] in (kinds or ("Deployment", "StatefulSet")):
            yield it["metadata"]["labels"]["app.kubernetes.io/component"], it["spec"]["template"]["spec"]
        elif it["kind"] == "Pod" and not kinds:
            yield "test", it["spec"]


def ours(profile):
    """Returns the pod specs of api and node, by component."""
    return {name: spec for name, spec in pods(profile, "Deployment") if name in {"api", "node"}}


def program(spec, component):
    """Returns the program's container of a pod. The others are of the operator."""
    (found,) = [container for container in spec["containers"] if container["name"] == component]
    return found


def one(profile, kind, suffix):
    """Returns the object of this kind whose name is the full name plus the suffix."""
    names = {f"calls-switchboard{suffix}", f"calls-with-a-name-of-30-letter{suffix}"}
    (found,) = [it for _, it in render(profile) if it["kind"] == kind and it["metadata"]["name"] in names]
    return found


def settings(profile, component):
    """Returns a program's environment variables, from its ConfigMap and its container."""
    container = program(ours(profile)[component], component)
    own = {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}
    return {**one(profile, "ConfigMap", f"-{component}")["data"], **own}


def replicas(profile, *more):
    """Returns the rendered numbers of pods of api and node; None for one without a number."""
    found = {it["metadata"]["name"].rpartition("-")[2]: it["spec"].get("replicas") for _, it in render(profile, *more) if it["kind"] == "Deployment"}
    return {name: found[name] for name in ("api", "node")}


def notes(profile):
    """Renders NOTES.txt.

    `helm template` does not print the notes, so a copy of the chart renders them as an object.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CHART, Path(folder) / "chart"))
        (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
        (copy / "templates" / "notes.yaml").write_text('{notes: {{ tpl (.Files.Get "notes.txt") . | quote }}}\n')
        out = helm("template", RELEASE, copy, "--namespace", NAMESPACE, "--values", CHART / "ci" / f"{profile}-values.yaml", "--show-only", "templates/notes.yaml").stdout
        return yaml.safe_load(out)["notes"]


class Security(unittest.TestCase):
    def test_every_pod_meets_the_restricted_standard_and_has_no_token(self):
        for profile in profiles():
            for name, spec in pods(profile):
                with self.subTest(profile=profile, pod=name):
                    # An operator's own account may have a token.
                    self.assertIs(spec["automountServiceAccountToken"], (profile, name) == ("external-secrets", "node"))
                    self.assertIs(spec["enableServiceLinks"], False)
                    self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                    # OpenShift assigns the ids, and refuses pods that name one.
                    ids = {"runAsUser", "runAsGroup", "fsGroup"} & set(spec["securityContext"])
                    self.assertEqual(len(ids), 0 if profile == "openshift" else 3)
                    self.assertTrue(all(spec["securityContext"][name] > 0 for name in ids))
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    # Only coturn uses the machine's ports, to relay media.
                    self.assertEqual(spec.get("hostNetwork", False), name == "coturn")
                    for container in [*spec.get("initContainers", []), *spec["containers"]]:
                        context = container["securityContext"]
                        self.assertIs(context["allowPrivilegeEscalation"], False)
                        self.assertIs(context["readOnlyRootFilesystem"], True)
                        # The only capability that the standard allows. coturn's executable needs
                        # it.
                        more = {"add": ["NET_BIND_SERVICE"]} if name == "coturn" else {}
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"], **more})
                        self.assertIn("memory", container["resources"]["limits"])
                        self.assertIn("cpu", container["resources"]["requests"])

    def test_every_pod_has_the_registry_credentials(self):
        for profile in ("cluster-tls", "gateway-coturn"):
            for name, spec in pods(profile):
                with self.subTest(profile=profile, pod=name):
                    self.assertEqual(spec["imagePullSecrets"], [{"name": "registry"}])

    def test_service_accounts_have_no_token_and_no_permissions(self):
        for profile in profiles():
            kinds = {it["kind"] for _, it in render(profile)}
            self.assertFalse(kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})
            accounts = {it["metadata"]["name"]: it for _, it in render(profile) if it["kind"] == "ServiceAccount"}
            used = {name: spec["serviceAccountName"] for name, spec in pods(profile, "Deployment")}
            self.assertEqual(len(set(used.values())), len(used), "each workload has an account of its own")
            # The operator has created this one.
            created = set(used.values()) - {"calls-node"}
            self.assertEqual(set(accounts), created)
            for account in accounts.values():
                self.assertIs(account["automountServiceAccountToken"], False)

    def test_the_chart_creates_no_secret_and_reads_secrets_from_existing_ones(self):
        for profile in profiles():
            self.assertNotIn("Secret", {it["kind"] for _, it in render(profile)})
            for component in ("api", "node"):
                known = settings(profile, component)
                for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"):
                    self.assertIn("secretKeyRef", known[name])
                    # The key exists only during a rotation.
                    self.assertIs(known[f"{name}_PREVIOUS"]["secretKeyRef"]["optional"], True)
        known = settings("production", "node")
        for name in ("CLUSTER_SECRET", "REDIS_PASSWORD", "MONGODB_URI", "TURN_SECRET"):
            self.assertIn("secretKeyRef", known[name], name)
        self.assertNotIn("CLUSTER_SECRET", settings("production", "api"), "the api does not need it")
        for name in ("WEBHOOK_SECRET", "ADMIN_API_KEYS"):
            self.assertIn("secretKeyRef", settings("production", "api")[name], name)
            self.assertNotIn(name, known, "a node does not need it")


class Settings(unittest.TestCase):
    def test_the_redis_url_follows_from_the_values(self):
        self.assertEqual(settings("evaluation", "api")["REDIS_URL"], "redis://calls-switchboard-redis:6379")
        self.assertEqual(settings("production", "api")["REDIS_URL"], "redis://switchboard:$(REDIS_PASSWORD)@redis.stores.svc.cluster.local:6379")
        hosts = "sentinel-0.redis:26379,sentinel-1.redis:26379,sentinel-2.redis:26380"
        base = f"rediss+sentinel://calls:$(REDIS_PASSWORD)@{hosts}/calls/2"
        self.assertEqual(settings("sentinel", "node")["REDIS_URL"], f"{base}?sentinel_username=asker&sentinel_password=$(REDIS_SENTINEL_PASSWORD)")
        for own, query in (("true", ""), ("false", "?sentinel_password=")):
            values = f"redis.sentinel.username=,redis.sentinel.existingSecret=,redis.sentinel.passwordOfRedis={own}"
            objects = {it["metadata"]["name"]: it for _, it in render("sentinel", "--set", values) if it["kind"] == "Deployment"}
            (container,) = objects["calls-switchboard-node"]["spec"]["template"]["spec"]["containers"]
            (url,) = [it["value"] for it in container["env"] if it["name"] == "REDIS_URL"]
            self.assertEqual(url, base + query)
        self.assertEqual(settings("cluster-tls", "api")["REDIS_URL"], "rediss+cluster://calls:$(REDIS_PASSWORD)@redis-0.redis:6379,redis-1.redis:6380")
        for profile in profiles():
            container = program(ours(profile)["node"], "node")
            names = [variable["name"] for variable in container["env"]]
            if "$(REDIS_PASSWORD)" in settings(profile, "node")["REDIS_URL"]:
                self.assertLess(names.index("REDIS_PASSWORD"), names.index("REDIS_URL"), "a variable may refer only to earlier ones")

    def test_a_turn_server_with_one_user_gets_name_and_credential_from_its_secret(self):
        values = "turn.urls={turn:a:3478},turn.existingSecret=turn,turn.usernameKey=user,turn.credentialKey=word"
        for component in ("api", "node"):
            (config,) = [it for _, it in render("evaluation", "--set", values) if it["kind"] == "Deployment" and it["metadata"]["name"].endswith(f"-{component}")]
            container = program(config["spec"]["template"]["spec"], component)
            known = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}
            self.assertEqual(known["TURN_SERVER_USERNAME"], {"secretKeyRef": {"name": "turn", "key": "user"}})
            self.assertEqual(known["TURN_SERVER_CREDENTIAL"], {"secretKeyRef": {"name": "turn", "key": "word"}})
            self.assertNotIn("TURN_SECRET", known)

    def test_the_client_certificate_of_redis_is_mounted_where_the_programs_read_it(self):
        for component in ("api", "node"):
            known = settings("sentinel", component)
            pod = one("sentinel", "Deployment", f"-{component}")["spec"]["template"]["spec"]
            mounts = {it["name"]: it["mountPath"] for it in pod["containers"][0]["volumeMounts"]}
            volumes = {it["name"]: it["secret"]["secretName"] for it in pod["volumes"] if "secret" in it}
            self.assertEqual(known["REDIS_TLS_CERT_FILE"], f"{mounts['redis-tls']}/tls.crt")
            self.assertEqual(known["REDIS_TLS_KEY_FILE"], f"{mounts['redis-tls']}/tls.key")
            self.assertEqual((volumes["redis-tls"], volumes["ca"]), ("redis-client", "own-ca"))

    def test_releases_that_share_a_redis_have_different_prefixes(self):
        prefixes = set()
        for release, namespace in [("a", "x"), ("b", "x"), ("a", "y"), ("a-name-of-a-release-with-forty-characters", "x")]:
            objects = render("evaluation", "--namespace", namespace, release=release)
            (config,) = [it for _, it in objects if it["kind"] == "ConfigMap" and it["metadata"]["name"].endswith("-api")]
            prefixes.add(config["data"]["REDIS_PREFIX"])
            self.assertRegex(config["data"]["REDIS_PREFIX"], r"^[A-Za-z0-9_-]{1,32}$")
        self.assertEqual(len(prefixes), 4, prefixes)

    def test_nodes_reach_each_other_by_pod_addresses(self):
        self.assertEqual(settings("evaluation", "node")["INTERNAL_URL"], "http://$(POD_IP):9202")
        self.assertEqual(settings("cluster-tls", "node")["INTERNAL_URL"], "http://[$(POD_IP)]:9202")
        self.assertEqual(settings("cluster-tls", "node")["BIND_ADDRESS"], "::")
        headless = one("evaluation", "Service", "-node-internal")["spec"]
        self.assertEqual((headless["clusterIP"], headless["publishNotReadyAddresses"]), ("None", True))

    def test_traces_are_sent_only_to_a_configured_collector(self):
        for component in ("api", "node"):
            known = settings("cluster-tls", component)
            self.assertEqual(known["OTEL_EXPORTER_OTLP_ENDPOINT"], "http://collector.monitoring:4318")
            self.assertEqual(known["OTEL_TRACES_SAMPLER_ARG"], "0.25")
            self.assertNotIn("OTEL_EXPORTER_OTLP_ENDPOINT", settings("production", component))

    def test_a_pods_name_fits_into_a_node_id(self):
        """A node id has 64 characters: Kubernetes adds 17 to a Deployment's name, the program 9."""
        for profile in profiles():
            self.assertLessEqual(len(one(profile, "Deployment", "-node")["metadata"]["name"]) + 17, 55)

    def test_the_programs_read_every_variable_that_the_chart_sets(self):
        files = [path for folder in ("common", "api", "signal-node") for path in (ROOT / folder).rglob("src/**/*.rs")]
        sources = [path for path in files if path.stem == "config" or path.parent.name == "config"]
        read = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', "".join(path.read_text() for path in sources)))
        # Each secret that can be rotated has two more variables.
        rotated = {name for name in read if name.endswith(("_SECRET", "_MASTER_KEY"))}
        read |= {f"{name}{suffix}" for name in rotated for suffix in ("_PREVIOUS", "_FILE")}
        ours_alone = {"POD_IP", "REDIS_PASSWORD", "REDIS_SENTINEL_PASSWORD", "SSL_CERT_FILE"}
        for profile in profiles():
            for component in ("api", "node"):
                self.assertEqual(set(settings(profile, component)) - ours_alone - read, set())

    def test_changed_settings_start_a_rollout_of_their_program_only(self):
        changed = render("evaluation", "--set", "node.eventsPerSecond=7")
        before, after = (
            {it["metadata"]["name"]: it["spec"]["template"]["metadata"]["annotations"] for _, it in objects if it["kind"] == "Deployment"}
            for objects in (render("evaluation"), changed)
        )
        self.assertNotEqual(before["calls-switchboard-node"], after["calls-switchboard-node"])
        self.assertEqual(before["calls-switchboard-api"], after["calls-switchboard-api"])


class Termination(unittest.TestCase):
    def test_pre_stop_hook_and_drain_fit_into_the_grace_period(self):
        for profile in profiles():
            for component, spec in ours(profile).items():
                with self.subTest(profile=profile, component=component):
                    container = program(spec, component)
                    hook = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                    grace = spec["terminationGracePeriodSeconds"]
                    if component == "node":
                        known = settings(profile, "node")
                        self.assertEqual(known["DRAIN_DELAY_MS"], "0", "the hook has already waited")
                        self.assertEqual(hook * 1000 + int(known["DRAIN_DEADLINE_MS"]) + 5000, grace * 1000)
                        self.assertGreaterEqual(int(known["DRAIN_DEADLINE_MS"]), 10_000)
                    else:
                        self.assertGreaterEqual(grace, hook + 15)

    def test_a_rollout_starts_a_new_pod_first_and_a_disruption_may_take_one_pod(self):
        for profile in profiles():
            for component in ("api", "node"):
                deployment = one(profile, "Deployment", f"-{component}")["spec"]
                self.assertEqual(deployment["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
                budget = one(profile, "PodDisruptionBudget", f"-{component}")["spec"]
                self.assertEqual(budget["maxUnavailable"], 1)
                self.assertEqual(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow")
                self.assertEqual(budget["selector"], deployment["selector"])

    def test_autoscaled_deployments_have_no_replicas_and_nodes_are_scaled_down_slowly(self):
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
        self.assertEqual(longest["spec"]["behavior"]["scaleDown"]["policies"][0]["periodSeconds"], 1800, "the maximum in Kubernetes")

    def test_a_release_that_turns_on_autoscaling_keeps_its_number_of_pods(self):
        with cluster(NAMESPACE, **{"calls-switchboard-node": 7, "calls-switchboard-api": 4, "other-node": 9}) as address:
            self.assertEqual(replicas("production", "--dry-run=server", "--kube-apiserver", address), {"node": 7, "api": 4})

    def test_an_autoscaled_release_begins_with_its_minimum(self):
        with cluster(NAMESPACE) as address:
            self.assertEqual(replicas("production", "--dry-run=server", "--kube-apiserver", address), {"node": 3, "api": 2})

    def test_initial_replicas_are_rendered_with_and_without_a_cluster(self):
        self.assertEqual(replicas("argocd"), {"node": 3, "api": 2})
        with cluster(NAMESPACE, **{"calls-switchboard-node": 7}) as address:
            self.assertEqual(replicas("argocd", "--dry-run=server", "--kube-apiserver", address), {"node": 3, "api": 2})


class Monitoring(unittest.TestCase):
    def test_liveness_checks_only_the_process_and_readiness_checks_more(self):
        for profile in profiles():
            for component, spec in ours(profile).items():
                container = program(spec, component)
                for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
                    with self.subTest(profile=profile, component=component, probe=probe):
                        self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "metrics"})
                # The readiness checks give up after 2 s.
                self.assertGreater(container["readinessProbe"]["timeoutSeconds"], 2)
                live = container["livenessProbe"]
                self.assertGreaterEqual(live["periodSeconds"] * live["failureThreshold"], 60, "a short pause must not restart the pod")

    def test_pods_are_spread_over_zones_and_machines(self):
        for profile in profiles():
            for spec in ours(profile).values():
                keys = [constraint["topologyKey"] for constraint in spec["topologySpreadConstraints"]]
                # This profile has constraints of its own for nodes.
                own = profile == "external-secrets" and len(keys) == 1
                self.assertEqual(keys, ["topology.kubernetes.io/zone"] if own else ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
        self.assertIn("podAntiAffinity", ours("production")["node"]["affinity"])
        self.assertEqual(list(ours("cluster-tls")["api"]["affinity"]), ["nodeAffinity"])

    def test_container_ports_equal_the_programs_settings(self):
        for profile in profiles():
            for component, names in {"api": {"http": "API_PORT", "metrics": "METRICS_PORT"}, "node": {"http": "SIGNALING_PORT", "metrics": "METRICS_PORT", "internal": "INTERNAL_PORT"}}.items():
                container = program(ours(profile)[component], component)
                ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
                known = settings(profile, component)
                self.assertEqual(ports, {name: known[variable] for name, variable in names.items()})

    def test_each_service_monitor_selects_one_service_and_sets_the_job_name_in_the_alerts(self):
        for component in ("api", "node"):
            monitor = one("production", "ServiceMonitor", f"-{component}")["spec"]
            (endpoint,) = monitor["endpoints"]
            self.assertEqual(endpoint["relabelings"], [{"targetLabel": "job", "replacement": f"switchboard-{component}"}])
            chosen = monitor["selector"]["matchLabels"].items()
            services = [it for _, it in render("production") if it["kind"] == "Service" and chosen <= it["metadata"]["labels"].items()]
            exposing = [it for it in services if endpoint["port"] in [port["name"] for port in it["spec"]["ports"]]]
            self.assertEqual(len(exposing), 1, "each pod is scraped once")


class Publishing(unittest.TestCase):
    def test_sockets_are_routed_to_nodes_and_everything_else_to_the_api(self):
        (rule,) = one("production", "Ingress", "-public")["spec"]["rules"]
        paths = [(path["path"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]]
        self.assertEqual(paths, [("/socket.io/", "calls-switchboard-node"), ("/", "calls-switchboard-api")])
        route = one("gateway-coturn", "HTTPRoute", "-public")["spec"]
        paths = [(rule["matches"][0]["path"]["value"], rule["backendRefs"][0]["name"]) for rule in route["rules"]]
        self.assertEqual(paths, [("/socket.io/", "calls-switchboard-node"), ("/", "calls-switchboard-api")])
        self.assertEqual(route["rules"][0]["timeouts"], {"request": "0s"})

    def test_coturn_shares_the_secret_and_does_not_relay_to_internal_addresses(self):
        (container,) = dict(pods("gateway-coturn", "Deployment"))["coturn"]["containers"]
        arguments = container["args"]
        self.assertTrue({"--use-auth-secret", "--no-cli", "--no-multicast-peers", "--no-tcp-relay"} <= set(arguments))
        self.assertIn("--external-ip=203.0.113.7/$(POD_IP)", arguments)
        self.assertIn("--allowed-peer-ip=$(POD_IP)", arguments, "two clients of one relay reach each other")
        denied = [argument for argument in arguments if argument.startswith("--denied-peer-ip=")]
        self.assertGreater(len(denied), 8)
        secret = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}["TURN_SECRET"]
        self.assertEqual(secret, settings("gateway-coturn", "node")["TURN_SECRET"])

    def test_a_rollout_stops_one_coturn_before_it_starts_its_replacement(self):
        strategy = one("gateway-coturn", "Deployment", "-coturn")["spec"]["strategy"]
        self.assertEqual(strategy, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})

    def test_the_frontend_url_is_the_address_of_the_ingress(self):
        for profile in profiles():
            for _, it in render(profile):
                if it["kind"] == "Ingress":
                    (rule,) = it["spec"]["rules"]
                    self.assertEqual(urlsplit(settings(profile, "api")["FRONTEND_URL"]).hostname, rule["host"])
        # The evaluation URL has port 8080. README and notes contain the command that forwards it to
        # the Ingress controller's port 80.
        forward = "kubectl port-forward --namespace ingress-nginx service/ingress-nginx-controller 8080:80\n"
        self.assertEqual(settings("evaluation", "api")["FRONTEND_URL"], "http://localhost:8080")
        self.assertEqual(one("evaluation", "Ingress", "-public")["spec"]["ingressClassName"], "nginx")
        self.assertIn(forward, (CHART / "README.md").read_text())
        self.assertIn(forward, notes("evaluation"))
        self.assertNotIn("port-forward", notes("production"))
