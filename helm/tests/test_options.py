"""What operators change in objects and pods: each value has its effect, and no other one."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.cluster import cluster
from tests.test_workloads import one, program
from tools.chart import CHART, NAMESPACE, RELEASE, ROOT, helm, profiles, render

# Groups of values of the components that have pods. The profile `small` has all of them.
GROUPS = {"api": "api", "node": "node", "coturn": "coturn", "redis": "evaluation.redis", "mongodb": "evaluation.mongodb", "test": "test"}


def with_values(profile, **values):
    """Renders a profile with values; `__` stands for the dot in a name."""
    arguments = [argument for name, value in values.items() for argument in ("--set-json", f"{name.replace('__', '.')}={json.dumps(value)}")]
    return render(profile, *arguments)


def with_each(value, make, components=tuple(GROUPS)):
    """Renders the profile `small` with one value of each component: `make(component)`."""
    return with_values("small", **{f"{GROUPS[name]}.{value}": make(name) for name in components})


def component(it):
    """Returns the component that an object belongs to."""
    return it["metadata"]["labels"]["app.kubernetes.io/component"]


def of(objects, kind, suffix=""):
    """Returns the objects of a kind whose names end with the suffix."""
    return [it for _, it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)]


def template(objects, name):
    """Returns metadata and spec of the pods of a component."""
    for _, it in objects:
        if component(it) == name and it["kind"] in {"Deployment", "StatefulSet"}:
            return it["spec"]["template"]["metadata"], it["spec"]["template"]["spec"]
        if component(it) == name and it["kind"] == "Pod":
            return it["metadata"], it["spec"]
    raise AssertionError(f"no pod of {name}")


def policy(objects, suffix):
    """Returns the only NetworkPolicy with this suffix."""
    (found,) = of(objects, "NetworkPolicy", f"-{suffix}")
    return found["spec"]


class Metadata(unittest.TestCase):
    def test_common_labels_and_annotations_are_on_every_object_and_labels_on_every_pod(self):
        for profile in profiles():
            for source, it in with_values(profile, commonLabels={"cost-center": "calls"}, commonAnnotations={"example.org/contact": "ops"}):
                with self.subTest(profile=profile, source=source):
                    self.assertEqual(it["metadata"]["labels"]["cost-center"], "calls")
                    self.assertEqual(it["metadata"]["annotations"]["example.org/contact"], "ops")
                    pods = it["spec"].get("template", {}).get("metadata") if it["kind"] in {"Deployment", "StatefulSet"} else None
                    if pods:
                        self.assertEqual(pods["labels"]["cost-center"], "calls")
                        self.assertNotIn("example.org/contact", pods.get("annotations", {}), "a change would restart the pods")
                        self.assertNotIn("cost-center", it["spec"]["selector"]["matchLabels"])

    def test_labels_and_annotations_of_a_workload_are_on_its_objects_only(self):
        for value in ("labels", "annotations"):
            objects = with_each(value, lambda name: {"example.org/workload": name})
            marked = {name: [it for _, it in objects if it["metadata"].get(value, {}).get("example.org/workload") == name] for name in GROUPS}
            for name in GROUPS:
                with self.subTest(component=name, value=value):
                    self.assertTrue(marked[name])
                    self.assertEqual(marked[name], [it for _, it in objects if component(it) == name])

    def test_labels_and_annotations_of_pods_are_on_the_pods_only(self):
        workloads = sorted(set(GROUPS) - {"test"})
        for value, at in (("podLabels", "labels"), ("podAnnotations", "annotations")):
            objects = with_each(value, lambda name: {"workload": name}, workloads)
            self.assertEqual([template(objects, name)[0][at]["workload"] for name in workloads], workloads)
            self.assertEqual([it for _, it in objects if "workload" in it["metadata"].get(at, {})], [])
        self.assertIn("checksum/settings", template(objects, "api")[0]["annotations"])

    def test_the_most_particular_label_and_annotation_decides(self):
        objects = with_values(
            "production",
            commonLabels={"a": "common", "b": "common", "app.kubernetes.io/part-of": "video"},
            commonAnnotations={"a": "common", "b": "common", "c": "common"},
            api__labels={"a": "api"},
            api__annotations={"a": "api", "b": "api"},
            api__serviceAnnotations={"a": "service"},
        )
        (service,) = of(objects, "Service", "-api")
        self.assertEqual({key: service["metadata"]["labels"][key] for key in "ab"}, {"a": "api", "b": "common"})
        self.assertEqual(service["metadata"]["labels"]["app.kubernetes.io/part-of"], "video")
        self.assertEqual(service["metadata"]["annotations"], {"a": "service", "b": "api", "c": "common"})

    def test_objects_with_values_of_their_own_have_labels_and_annotations_of_their_own(self):
        mine = {"labels": {"mine": "yes"}, "annotations": {"mine": "yes"}}
        for profile, kind, group, names in (
            ("production", "Ingress", "ingress", mine),
            ("gateway-coturn", "HTTPRoute", "gateway", mine),
            ("production", "ConfigMap", "monitoring.dashboards", mine),
            ("production", "PrometheusRule", "monitoring.prometheusRule", {"labels": mine["labels"]}),
            ("production", "ServiceMonitor", "monitoring.serviceMonitor", {"labels": mine["labels"]}),
            ("mesh", "PodMonitor", "monitoring.podMonitor", {"labels": mine["labels"]}),
        ):
            objects = with_values(profile, **{f"{group}.{name}": value for name, value in names.items()})
            for name in names:
                marked = [it for _, it in objects if it["metadata"].get(name, {}).get("mine") == "yes"]
                with self.subTest(kind=kind, value=name):
                    self.assertTrue(marked)
                    # The rules' operator selects them by the labels of the ServiceMonitors too.
                    self.assertLessEqual({it["kind"] for it in marked}, {kind, "PrometheusRule"})

    def test_annotations_for_a_load_balancer_are_on_the_service_that_clients_reach(self):
        objects = with_each("serviceAnnotations", lambda name: {"example.org/lb": name}, ("api", "node"))
        marked = {(it["kind"], it["metadata"]["name"]): it["metadata"].get("annotations", {}).get("example.org/lb") for _, it in objects}
        marked = {at: value for at, value in marked.items() if value}
        self.assertEqual(marked, {("Service", f"calls-switchboard-{name}"): name for name in ("api", "node")})


class Pods(unittest.TestCase):
    def test_a_service_account_is_created_annotated_renamed_or_the_operators(self):
        for name in ("api", "node", "coturn"):
            for account, used, created in (
                ({"annotations": {"example.org/role": "calls"}}, f"calls-switchboard-{name}", True),
                ({"name": "mine"}, "mine", True),
                ({"name": "mine", "create": False}, "mine", False),
                ({"create": False}, "default", False),
            ):
                objects = with_values("small", **{f"{name}.serviceAccount.{key}": value for key, value in account.items()})
                _, spec = template(objects, name)
                found = [it for it in of(objects, "ServiceAccount") if component(it) == name]
                with self.subTest(component=name, account=account):
                    self.assertEqual(spec["serviceAccountName"], used)
                    self.assertEqual([it["metadata"]["name"] for it in found], [used] if created else [])
                    if "annotations" in account:
                        self.assertEqual(found[0]["metadata"]["annotations"], account["annotations"])

    def test_pods_get_a_token_of_the_kubernetes_api_only_if_they_are_to(self):
        for name in ("api", "node", "coturn"):
            objects = with_each("serviceAccount.automountToken", lambda _: True, [name])
            for other in ("api", "node", "coturn"):
                self.assertIs(template(objects, other)[1]["automountServiceAccountToken"], other == name)
                (account,) = of(objects, "ServiceAccount", f"-{other}")
                self.assertIs(account["automountServiceAccountToken"], other == name)

    def test_a_digest_replaces_the_tag_of_its_image(self):
        digest = "sha256:" + "ab" * 32
        for name, image in {"api": "api", "node": "signal-node"}.items():
            objects = with_values("cluster-tls", **{f"image.digest.{name}": digest})
            images = {other: program(template(objects, other)[1], other)["image"] for other in ("api", "node")}
            self.assertEqual(images.pop(name), f"registry.example.org/switchboard/{image}@{digest}")
            self.assertRegex(images.popitem()[1], ":sha-0123456$")

    def test_topology_spread_constraints_count_the_workloads_pods_unless_they_say_otherwise(self):
        short = {"maxSkew": 2, "topologyKey": "example.org/rack", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3}
        whole = {"maxSkew": 1, "topologyKey": "example.org/row", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}}}
        for name in ("api", "node"):
            (deployment,) = of(render("small"), "Deployment", f"-{name}")
            added = {"labelSelector": deployment["spec"]["selector"], "matchLabelKeys": ["pod-template-hash"]}
            changed = with_each("topologySpreadConstraints", lambda _: [short, whole], ("api", "node"))
            found = template(changed, name)[1]["topologySpreadConstraints"]
            self.assertEqual(found, [{**short, **added}, whole])
            for constraint in template(render("small"), name)[1]["topologySpreadConstraints"]:
                self.assertLessEqual(added.items(), constraint.items())
            self.assertNotIn("topologySpreadConstraints", template(with_each("topologySpreadConstraints", lambda _: [], ("api", "node")), name)[1])

    def test_extra_variables_come_after_the_charts_and_extra_sources_before_its_config_map(self):
        """Kubernetes resolves references to earlier variables, and the last source decides."""
        variables = [{"name": "A", "value": "$(REDIS_URL)"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
        extra = [{"secretRef": {"name": "s"}, "prefix": "X_"}, {"configMapRef": {"name": "c", "optional": True}}]
        for name in ("api", "node"):
            container = program(template(with_values("small", **{f"{name}.extraEnv": variables, f"{name}.extraEnvFrom": extra}), name)[1], name)
            self.assertEqual(container["env"][-2:], variables)
            self.assertIn("REDIS_URL", [it["name"] for it in container["env"][:-2]])
            self.assertEqual(container["envFrom"], [*extra, {"configMapRef": {"name": f"calls-switchboard-{name}"}}])

    def test_extra_volumes_and_mounts_join_those_of_the_chart(self):
        volume, mount = {"name": "v", "emptyDir": {}}, {"name": "v", "mountPath": "/v", "readOnly": True}
        for name in ("api", "node"):
            for more, before in (({}, []), ({"trustedCa.existingSecret": "own-ca"}, ["ca"])):
                _, spec = template(with_values("small", **{f"{name}.extraVolumes": [volume], f"{name}.extraVolumeMounts": [mount], **more}), name)
                self.assertEqual([it["name"] for it in spec["volumes"]], [*before, "v"])
                self.assertEqual(spec["volumes"][-1], volume)
                self.assertEqual([it["name"] for it in program(spec, name)["volumeMounts"]], [*before, "v"])
                self.assertEqual(program(spec, name)["volumeMounts"][-1], mount)
            self.assertNotIn("volumes", template(render("small"), name)[1])

    def test_init_containers_and_sidecars_are_rendered_as_they_are(self):
        first, beside = {"name": "first", "image": "a:1", "restartPolicy": "Always"}, {"name": "beside", "image": "b:1", "args": ["x"]}
        for name in ("api", "node"):
            _, spec = template(with_values("small", **{f"{name}.initContainers": [first], f"{name}.sidecars": [beside]}), name)
            self.assertEqual(spec["initContainers"], [first])
            self.assertEqual([it["name"] for it in spec["containers"]], [name, "beside"])
            self.assertEqual(spec["containers"][1], beside)

    def test_placement_priority_and_hosts_of_every_pod(self):
        for value, make, names in (
            ("priorityClassName", lambda name: f"class-of-{name}", GROUPS),
            ("nodeSelector", lambda name: {"pool": name}, GROUPS),
            ("tolerations", lambda name: [{"key": name, "operator": "Exists"}], GROUPS),
            ("hostAliases", lambda name: [{"ip": "192.0.2.1", "hostnames": [f"redis.{name}"]}], ("api", "node")),
        ):
            objects = with_each(value, make, names)
            for name in GROUPS:
                with self.subTest(value=value, component=name):
                    self.assertEqual(template(objects, name)[1].get(value), make(name) if name in names else None)
                    self.assertNotIn(value, template(render("small"), name)[1])

    def test_each_id_of_a_pod_can_be_another_or_the_clusters(self):
        for key in ("runAsUser", "runAsGroup", "fsGroup"):
            for value in (None, 1000660000):
                objects = with_each(f"securityContext.{key}", lambda _: value)
                for name in GROUPS:
                    before = template(render("small"), name)[1]["securityContext"]
                    self.assertIn(key, before)
                    expected = {**before, key: value} if value else {field: kept for field, kept in before.items() if field != key}
                    with self.subTest(component=name, id=key, value=value):
                        self.assertEqual(template(objects, name)[1]["securityContext"], expected)
                        self.assertIs(expected["runAsNonRoot"], True)

    def test_resources_of_the_evaluation_stores_can_be_changed(self):
        for name in ("redis", "mongodb"):
            _, spec = template(with_each("resources.requests.cpu", lambda _: "33m", [name]), name)
            self.assertEqual(program(spec, name)["resources"]["requests"]["cpu"], "33m")

    def test_cpu_autoscaling_looks_at_the_programs_container_only(self):
        metric = one("production", "HorizontalPodAutoscaler", "-api")["spec"]["metrics"]
        self.assertEqual([(it["type"], it["containerResource"]["container"]) for it in metric], [("ContainerResource", "api")])

    def test_the_chart_fits_into_a_small_cluster_with_a_surge_pod_of_each_kind(self):
        for profile in ("evaluation", "small"):
            kinds, total = set(), 0
            for _, it in render(profile):
                if it["kind"] in {"Deployment", "StatefulSet"}:
                    kinds.add(component(it))
                    containers = it["spec"]["template"]["spec"]["containers"]
                    total += (it["spec"]["replicas"] + 1) * sum(millis(container) for container in containers)
                elif it["kind"] == "Pod":
                    total += sum(millis(container) for container in it["spec"]["containers"])
            self.assertLessEqual({"api", "node", "redis", "mongodb"}, kinds)
            self.assertEqual("coturn" in kinds, profile == "small")
            self.assertTrue(400 < total <= 1100, f"{profile} requests {total}m")


def millis(container):
    """Returns the CPU request of a container in thousandths of a core."""
    text = container["resources"]["requests"]["cpu"]
    return int(text.removesuffix("m")) if text.endswith("m") else round(float(text) * 1000)


class Network(unittest.TestCase):
    def test_ports_and_peers_of_dns_can_be_changed(self):
        ports = [{"port": port, "protocol": protocol} for port in (53, 5353) for protocol in ("UDP", "TCP")]
        cache = [{"ipBlock": {"cidr": "169.254.20.10/32"}}]
        self.assertEqual(policy(render("evaluation"), "dns")["egress"], [{"ports": ports[:2]}])
        found = policy(with_values("evaluation", networkPolicy__dnsPorts=[53, 5353], networkPolicy__dnsTo=cache), "dns")["egress"]
        self.assertEqual(found, [{"ports": ports, "to": cache}])
        self.assertEqual(policy(render("openshift"), "dns")["egress"][0]["ports"], ports[2:])

    def test_extra_rules_are_for_every_pod(self):
        rule = [{"ports": [{"port": 15008, "protocol": "TCP"}]}]
        deny = policy(render("evaluation"), "deny-all")["podSelector"]
        self.assertEqual(of(render("evaluation"), "NetworkPolicy", "-extra"), [])
        for value, direction in (("extraIngress", "ingress"), ("extraEgress", "egress")):
            found = policy(with_values("evaluation", **{f"networkPolicy.{value}": rule}), "extra")
            self.assertEqual((found["podSelector"], found[direction]), (deny, rule))
            self.assertEqual({"ingress", "egress"} & set(found), {direction})

    def test_every_port_of_a_service_has_its_protocol(self):
        protocols = {}
        for profile in ("production", "evaluation"):
            for it in of(render(profile), "Service"):
                for port in it["spec"]["ports"]:
                    protocols[it["metadata"]["name"].removeprefix("calls-switchboard-"), port["name"]] = port.get("appProtocol")
        http = {(service, port): "http" for service, port in (("api", "http"), ("api", "metrics"), ("node", "http"), ("node-internal", "metrics"))}
        # Istio encrypts connections to a pod's address only as `tcp`.
        self.assertEqual(protocols, {**http, ("node-internal", "internal"): "tcp", ("redis", "redis"): "tcp", ("mongodb", "mongodb"): "tcp"})

    def test_pod_monitors_replace_service_monitors_and_select_each_pod_once(self):
        off = with_values("production", monitoring__serviceMonitor__enabled=False, monitoring__podMonitor__enabled=True, monitoring__podMonitor__interval="30s")
        self.assertEqual(of(off, "ServiceMonitor"), [])
        self.assertEqual(len(of(off, "PodMonitor")), 2)
        self.assertEqual(of(render("production"), "PodMonitor"), [])
        for name in ("api", "node"):
            (monitor,) = of(off, "PodMonitor", f"-{name}")
            (deployment,) = of(off, "Deployment", f"-{name}")
            self.assertEqual(monitor["spec"]["selector"], deployment["spec"]["selector"])
            (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
            self.assertEqual((endpoint["port"], endpoint["interval"]), ("metrics", "30s"))
            self.assertIn("metrics", [port["name"] for port in program(deployment["spec"]["template"]["spec"], name)["ports"]])
            self.assertEqual(endpoint["relabelings"], [{"targetLabel": "job", "replacement": f"switchboard-{name}"}])


class Tools(unittest.TestCase):
    def test_rendering_twice_gives_the_same_text(self):
        for profile in profiles():
            first, second = (helm("template", RELEASE, CHART, "--values", CHART / "ci" / f"{profile}-values.yaml").stdout for _ in range(2))
            self.assertEqual(first, second)

    def test_argo_cd_renders_the_same_objects_as_helm_with_the_cluster(self):
        with cluster(NAMESPACE, **{"calls-switchboard-node": 7, "calls-switchboard-api": 5}) as address:
            self.assertEqual(render("argocd", "--dry-run=server", "--kube-apiserver", address), render("argocd"))

    def test_the_manuals_argo_cd_application_ignores_the_numbers_of_the_autoscaled_deployments(self):
        manual = (ROOT / "docs" / "OPERATIONS.md").read_text().split("\n### Argo CD\n")[1]
        spec = yaml.safe_load(manual.split("```yaml\n")[1].split("```")[0])["spec"]
        self.assertEqual(spec["source"]["helm"]["releaseName"], RELEASE)
        self.assertEqual(spec["syncPolicy"]["syncOptions"], ["RespectIgnoreDifferences=true"])
        ignored = {it["name"] for it in spec["ignoreDifferences"] if (it["group"], it["kind"], it["jsonPointers"]) == ("apps", "Deployment", ["/spec/replicas"])}
        self.assertEqual(ignored, {it["spec"]["scaleTargetRef"]["name"] for it in of(render("argocd"), "HorizontalPodAutoscaler")})

    def test_the_proxy_of_a_mesh_leaves_metrics_alone_and_lives_as_long_as_the_pod(self):
        for name in ("api", "node"):
            metadata, spec = template(render("mesh"), name)
            ports = {port["name"]: port["containerPort"] for port in program(spec, name)["ports"]}
            self.assertEqual(metadata["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"], str(ports["metrics"]))
            proxy = yaml.safe_load(metadata["annotations"]["proxy.istio.io/config"])
            self.assertIs(proxy["holdApplicationUntilProxyStarts"], True)
            self.assertGreaterEqual(int(proxy["terminationDrainDuration"].removesuffix("s")), spec["terminationGracePeriodSeconds"])

    def test_secrets_and_their_keys_are_those_of_the_operator(self):
        objects = render("external-secrets")
        found = {}
        for name in ("api", "node", "coturn"):
            for variable in program(template(objects, name)[1], name)["env"]:
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    self.assertEqual(found.setdefault(variable["name"], (reference["name"], reference["key"])), (reference["name"], reference["key"]))
        self.assertEqual(
            found,
            {
                "JWT_ACCESS_SECRET": ("calls-signing", "access"),
                "JWT_ACCESS_SECRET_PREVIOUS": ("calls-signing", "access-previous"),
                "JWT_REFRESH_SECRET": ("calls-signing", "refresh"),
                "JWT_REFRESH_SECRET_PREVIOUS": ("calls-signing", "refresh-previous"),
                "CLUSTER_SECRET": ("calls-signing", "cluster"),
                "CLUSTER_SECRET_PREVIOUS": ("calls-signing", "cluster-previous"),
                "REDIS_PASSWORD": ("calls-redis", "redis-password"),
                "MONGODB_URI": ("calls-mongodb", "uri"),
                "APP_MASTER_KEY": ("calls-signing", "app-master"),
                "APP_MASTER_KEY_PREVIOUS": ("calls-signing", "app-master-previous"),
                "TURN_SECRET": ("calls-turn", "static-auth-secret"),
                "TURN_SECRET_PREVIOUS": ("calls-turn", "static-auth-secret-previous"),
                "WEBHOOK_SECRET": ("calls-webhooks", "signing-key"),
                "WEBHOOK_SECRET_PREVIOUS": ("calls-webhooks", "signing-key-previous"),
                "ADMIN_API_KEYS": ("calls-admin", "operators"),
            },
        )
        volumes = {it["name"]: it.get("secret") for name in ("api", "coturn") for it in template(objects, name)[1]["volumes"]}
        self.assertEqual(volumes["ca"], {"secretName": "calls-ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]})
        items = [{"key": "chain.pem", "path": "tls.crt"}, {"key": "key.pem", "path": "tls.key"}]
        self.assertEqual(volumes["tls"], {"secretName": "calls-turn-certificate", "items": items})

    def test_a_private_key_signs_access_tokens_beside_the_secret_or_in_place_of_it(self):
        key = ("--set", "secrets.accessPrivateKeyKey=ed25519")
        for more, algorithm, secret in (
            ((), "HS256", True),
            (("--set", "secrets.accessAlgorithm=EdDSA"), "EdDSA", True),
            (("--set", "secrets.accessAlgorithm=EdDSA,secrets.accessKey="), "EdDSA", False),
        ):
            objects = render("external-secrets", *key, *more)
            for name in ("api", "node"):
                with self.subTest(algorithm=algorithm, secret=secret, name=name):
                    known = {it["name"]: it.get("valueFrom", {}).get("secretKeyRef") for it in program(template(objects, name)[1], name)["env"]}
                    self.assertEqual(known["JWT_ACCESS_PRIVATE_KEY"], {"name": "calls-signing", "key": "ed25519"})
                    previous = {"name": "calls-signing", "key": "JWT_ACCESS_PRIVATE_KEY_PREVIOUS", "optional": True}
                    self.assertEqual(known["JWT_ACCESS_PRIVATE_KEY_PREVIOUS"], previous)
                    self.assertEqual({"JWT_ACCESS_SECRET", "JWT_ACCESS_SECRET_PREVIOUS"} <= set(known), secret)
                    self.assertEqual(any(variable.startswith("JWT_ACCESS_SECRET") for variable in known), secret)
                    (settings,) = [it["data"] for it in of(objects, "ConfigMap") if it["metadata"]["name"] == f"calls-switchboard-{name}"]
                    self.assertEqual(settings["JWT_ACCESS_ALGORITHM"], algorithm)

    def test_a_private_key_is_read_from_a_mounted_file_if_asked_for(self):
        _, spec = template(render("external-secrets", "--set", "secrets.files=true,secrets.accessPrivateKeyKey=ed25519"), "api")
        known = {variable["name"]: variable for variable in program(spec, "api")["env"]}
        self.assertEqual(known["JWT_ACCESS_PRIVATE_KEY_FILE"]["value"], "/etc/switchboard/keys/JWT_ACCESS_PRIVATE_KEY")
        (volume,) = [it for it in spec["volumes"] if it["name"] == "keys"]
        items = [source["secret"]["items"] for source in volume["projected"]["sources"]]
        self.assertIn([{"key": "ed25519", "path": "JWT_ACCESS_PRIVATE_KEY"}], items)

    def test_coturn_gets_the_secret_without_the_blanks_around_it_as_the_programs_do(self):
        _, spec = template(render("small"), "coturn")
        command = program(spec, "coturn")["command"]
        with fakes(turnserver='printf "<%s>" "$@"') as path:
            for secret, expected in (("s3cret", "s3cret"), ("s3cret\n", "s3cret"), (" \t\r\n two  words %s*\r\n\n", "two  words %s*"), ("", None), (" \n", None)):
                result = subprocess.run([*command, "--first", "a b"], env={"PATH": path, "TURN_SECRET": secret}, capture_output=True, text=True)
                with self.subTest(secret):
                    if expected is None:
                        self.assertNotEqual(result.returncode, 0)
                        self.assertIn("is empty: see turn.existingSecret", result.stderr)
                    else:
                        self.assertEqual(result.stdout, f"<--first><a b><--static-auth-secret={expected}>", result.stderr)

    def test_coturn_accepts_the_credentials_of_every_secret_during_a_rotation(self):
        _, spec = template(render("small"), "coturn")
        command = program(spec, "coturn")["command"]
        cases = [
            ("one", " two , three 3*,\n", ["one", "two", "three 3*"]),
            # A mounted file has one secret a line; a comma is a part of a secret.
            ("one,1\n two \r\n\n", "", ["one,1", "two"]),
            ("one\n", None, ["one"]),
            ("", "two", None),
        ]
        with fakes(turnserver='printf "<%s>" "$@"') as path:
            for current, previous, expected in cases:
                known = {"PATH": path, "TURN_SECRET": current} | ({} if previous is None else {"TURN_SECRET_PREVIOUS": previous})
                result = subprocess.run([*command, "--first", "a b"], env=known, capture_output=True, text=True)
                with self.subTest(current=current, previous=previous):
                    if expected is None:
                        self.assertNotEqual(result.returncode, 0)
                        self.assertIn("is empty: see turn.existingSecret", result.stderr)
                    else:
                        secrets = "".join(f"<--static-auth-secret={secret}>" for secret in expected)
                        self.assertEqual(result.stdout, f"<--first><a b>{secrets}", result.stderr)

    def test_secrets_are_read_from_mounted_files_if_asked_for(self):
        objects = render("external-secrets", "--set", "secrets.files=true")
        common = {"JWT_ACCESS_SECRET": ("calls-signing", "access"), "JWT_REFRESH_SECRET": ("calls-signing", "refresh"), "APP_MASTER_KEY": ("calls-signing", "app-master"), "TURN_SECRET": ("calls-turn", "static-auth-secret")}
        own = {"api": {"WEBHOOK_SECRET": ("calls-webhooks", "signing-key")}, "node": {"CLUSTER_SECRET": ("calls-signing", "cluster")}}
        for name in ("api", "node"):
            _, spec = template(objects, name)
            container = program(spec, name)
            known = {variable["name"]: variable for variable in container["env"]}
            (mount,) = [it for it in container["volumeMounts"] if it["name"] == "keys"]
            self.assertEqual(mount, {"name": "keys", "mountPath": "/etc/switchboard/keys", "readOnly": True})
            (volume,) = [it for it in spec["volumes"] if it["name"] == "keys"]
            files = {}
            for source in volume["projected"]["sources"]:
                (item,) = source["secret"]["items"]
                files[f"/etc/switchboard/keys/{item['path']}"] = (source["secret"]["name"], item["key"])
            expected = common | own[name]
            self.assertEqual({variable: files[known[f"{variable}_FILE"]["value"]] for variable in expected}, expected)
            self.assertEqual(len(files), len(expected))
            self.assertFalse([variable for variable in known if variable in expected or variable.endswith("_PREVIOUS")])
        # coturn reads no file: it gets the same key, with its lines.
        coturn = {it["name"]: it for it in program(template(objects, "coturn")[1], "coturn")["env"]}
        self.assertEqual(coturn["TURN_SECRET"]["valueFrom"]["secretKeyRef"]["key"], "static-auth-secret")


class HelmTest(unittest.TestCase):
    def run_check(self, opens_after):
        """Runs the test's script with a clock of its own. Returns the process and the seconds."""
        _, spec = template(render("small"), "test")
        (container,) = spec["containers"]
        # A request that the network drops takes its timeout of 5 s.
        wget = f'now=$(cat "$CLOCK"); [ "$now" -ge {opens_after} ] || {{ echo $((now + 5)) > "$CLOCK"; exit 1; }}; echo \'{{"sid":"x"}}\''
        with fakes(sleep='echo $(($(cat "$CLOCK") + $1)) > "$CLOCK"', wget=wget) as path:
            clock = Path(path.split(":")[0]) / "clock"
            clock.write_text("0")
            result = subprocess.run(container["command"], env={"PATH": path, "NAME": "calls", "CLOCK": str(clock)}, capture_output=True, text=True, timeout=60)
            return result, int(clock.read_text())

    def test_it_passes_when_the_network_opens_within_a_minute(self):
        for seconds in (0, 20, 55):
            result, took = self.run_check(seconds)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertTrue(seconds <= took <= seconds + 10, took)

    def test_it_tries_for_two_minutes_before_it_fails_and_names_the_check(self):
        result, took = self.run_check(100_000)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("failed 12 times: health", result.stdout)
        self.assertTrue(110 <= took <= 120, took)

    def test_the_pod_stays_for_its_logs_until_the_next_test(self):
        metadata, spec = template(render("small"), "test")
        self.assertEqual(metadata["annotations"], {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation"})
        self.assertEqual(spec["restartPolicy"], "Never")

    def test_it_can_be_left_out(self):
        objects = render("argocd")
        self.assertEqual((of(objects, "Pod"), of(objects, "NetworkPolicy", "-test")), ([], []))


class fakes:
    """Programs in a folder that comes first in PATH: `with fakes(name=script) as path`."""

    def __init__(self, **scripts):
        self.scripts = scripts

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        for name, script in self.scripts.items():
            file = Path(self.folder.name) / name
            file.write_text(f"#!/bin/sh\n{script}\n")
            os.chmod(file, 0o755)
        return f"{self.folder.name}:/usr/bin:/bin"

    def __exit__(self, *_):
        self.folder.cleanup()
