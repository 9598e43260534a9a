"""Invalid values are refused with a message that names the value and the reason."""

import json
import re
import tempfile
import unittest

import yaml

from tests.test_workloads import settings
from tools import values_reference
from tools.chart import CHART, helm, profiles, render

VALID = CHART / "ci" / "evaluation-values.yaml"

# Values to set, and a part of the expected message. First the mistakes that the schema refuses.
MISTAKES = {
    "replicas=3": "Additional property replicas is not allowed",
    "node.replica=3": "Additional property replica is not allowed",
    "node.replicas=two": "node.replicas: Invalid type. Expected: integer, given: string",
    "node.replicas=0": "node.replicas: Must be greater than or equal to 1",
    "redis.partitions=5000": "redis.partitions: Must be less than or equal to 4096",
    "redis.tls=sometimes": "redis.tls: Invalid type. Expected: boolean",
    "redis.mode=sentinels": "redis.mode must be one of the following",
    "redis.hosts={redis}": "redis.hosts.0: Does not match pattern",
    "redis.prefix=a b": "redis.prefix: Does not match pattern",
    "mongodb.existingSecret=My Secret": "mongodb.existingSecret: Does not match pattern",
    "frontendUrl=calls.example.org": "frontendUrl: Does not match pattern",
    "frontendUrl=https://calls.example.org/page": "frontendUrl: Does not match pattern",
    "allowedOrigins={*}": "allowedOrigins.0: Does not match pattern",
    "turn.urls={https://turn.example.org}": "turn.urls.0: Does not match pattern",
    "turn.ttlSeconds=1": "turn.ttlSeconds: Must be greater than or equal to 60",
    "fullnameOverride=a-name-that-leaves-no-room-for-pods": "fullnameOverride: String length must be less than or equal to 30",
    "fullnameOverride=a.b": "fullnameOverride: Does not match pattern",
    "fullnameOverride=1a": "fullnameOverride: Does not match pattern",
    "nameOverride=a.b": "nameOverride: Does not match pattern",
    "node.env.outbox=1": "does not match",
    "node.terminationGracePeriodSeconds=3601": "node.terminationGracePeriodSeconds: Must be less than or equal to 3600",
    "api.terminationGracePeriodSeconds=3601": "api.terminationGracePeriodSeconds: Must be less than or equal to 3600",
    "image.repository=Calls": "image.repository: Does not match pattern",
    "coturn.externalIp=turn.example.org": "coturn.externalIp: Does not match pattern",
    "networkPolicy.tracesPorts={0}": "networkPolicy.tracesPorts.0: Must be greater than or equal to 1",
    "monitoring.serviceMonitor.interval=5m": "monitoring.serviceMonitor.interval: Does not match pattern",
    "image.pullPolicy=Often": "image.pullPolicy must be one of the following",
    "coturn.image=coturn/coturn": "coturn.image: Does not match pattern",
    "networkPolicy.mongodbPorts={70000}": "networkPolicy.mongodbPorts.0: Must be less than or equal to 65535",
    "tracing.endpoint=collector:4318": "tracing.endpoint: Does not match pattern",
    "tracing.endpoint=https://collector:4318": "tracing.endpoint: Does not match pattern",
    "tracing.share=25": "tracing.share: Must be less than or equal to 1",
    "evaluation.redis.storage=lots": "evaluation.redis.storage: Does not match pattern",
    "monitoring.serviceMonitor.interval=often": "monitoring.serviceMonitor.interval: Does not match pattern",
    "commonLabels.a b=c": "commonLabels: Property name of \"a b\" does not match",
    "commonLabels.team=a/b": "commonLabels.team: Does not match pattern",
    "commonLabels.team=3": "commonLabels.team: Invalid type. Expected: string, given: integer",
    "commonAnnotations.a b=c": "commonAnnotations: Property name of \"a b\" does not match",
    "api.podAnnotations.checked=true": "api.podAnnotations.checked: Invalid type. Expected: string, given: boolean",
    "node.podLabels.mesh=true": "node.podLabels.mesh: Invalid type. Expected: string, given: boolean",
    "image.digest.api=sha256:12": "image.digest.api: Does not match pattern",
    "image.digest=sha256:12": "image.digest: Invalid type. Expected: object, given: string",
    "api.serviceAccount.create=maybe": "api.serviceAccount.create: Invalid type. Expected: boolean",
    "api.serviceAccount.name=My Account": "api.serviceAccount.name: Does not match pattern",
    "node.securityContext.runAsUser=0": "node.securityContext.runAsUser: Must be greater than or equal to 1",
    "node.securityContext.fsGroup=nobody": "node.securityContext.fsGroup: Invalid type. Expected: [integer,null], given: string",
    "node.securityContext.privileged=true": "node.securityContext: Additional property privileged is not allowed",
    "node.autoscaling.initialReplicas=0": "node.autoscaling.initialReplicas: Must be greater than or equal to 1",
    "node.resources.requests.cpu=half": "node.resources.requests.cpu: Does not match pattern",
    "evaluation.redis.resources.limits.memory=-1": "evaluation.redis.resources.limits.memory: Must be greater than or equal to 0",
    "api.extraEnv[0].name=1A,api.extraEnv[0].value=b": "api.extraEnv.0.name: Does not match pattern",
    "api.extraEnv[0].name=A,api.extraEnv[0].value=1": "api.extraEnv.0.value: Invalid type. Expected: string, given: integer",
    "api.extraEnv[0].name=A": "api.extraEnv.0: Must have at least 2 properties",
    "api.extraEnv.A=b": "api.extraEnv: Invalid type. Expected: array, given: object",
    "api.extraEnvFrom[0].secret=s": "api.extraEnvFrom.0: Additional property secret is not allowed",
    "api.extraEnvFrom[0].prefix=s": "api.extraEnvFrom.0: configMapRef is required",
    "node.extraVolumes[0].emptyDir.medium=Memory": "node.extraVolumes.0: name is required",
    "node.extraVolumes[0].name=a_b,node.extraVolumes[0].emptyDir.medium=Memory": "node.extraVolumes.0.name: Does not match pattern",
    "node.extraVolumeMounts[0].name=a,node.extraVolumeMounts[0].mountPath=relative": "node.extraVolumeMounts.0.mountPath: Does not match pattern",
    "node.extraVolumeMounts[0].name=a,node.extraVolumeMounts[0].path=/a": "node.extraVolumeMounts.0: mountPath is required",
    "node.sidecars[0].name=a": "node.sidecars.0: image is required",
    "api.initContainers[0].image=a": "api.initContainers.0: name is required",
    "api.hostAliases[0].ip=redis,api.hostAliases[0].hostnames={a}": "api.hostAliases.0.ip: Does not match pattern",
    "api.hostAliases[0].ip=192.0.2.1": "api.hostAliases.0: hostnames is required",
    "api.topologySpreadConstraints[0].maxSkew=1": "api.topologySpreadConstraints.0: topologyKey is required",
    "api.topologySpreadConstraints[0].whenUnsatisfiable=Never": "api.topologySpreadConstraints.0.whenUnsatisfiable must be one of the following",
    "api.tolerations[0].effect=Never": "api.tolerations.0.effect must be one of the following",
    "api.affinity.nodeAffinty.a=b": "api.affinity: Additional property nodeAffinty is not allowed",
    "api.nodeSelector.pool=1": "api.nodeSelector.pool: Invalid type. Expected: string, given: integer",
    "networkPolicy.dnsPorts={0}": "networkPolicy.dnsPorts.0: Must be greater than or equal to 1",
    "networkPolicy.dnsTo[0].cidr=10.0.0.10/32": "networkPolicy.dnsTo.0: Additional property cidr is not allowed",
    "networkPolicy.extraEgress[0].from[0].ipBlock.cidr=10.0.0.0/8": "networkPolicy.extraEgress.0: Additional property from is not allowed",
    "networkPolicy.extraIngress[0].to[0].ipBlock.cidr=10.0.0.0/8": "networkPolicy.extraIngress.0: Additional property to is not allowed",
    "monitoring.podMonitor.interval=5m": "monitoring.podMonitor.interval: Does not match pattern",
    "coturn.tlsPrivateKeyKey=a b": "coturn.tlsPrivateKeyKey: Does not match pattern",
    "test.enabled=perhaps": "test.enabled: Invalid type. Expected: boolean",
    "node.replicas=null": "node: replicas is required",
    "ingress=null": "(root): ingress is required",
    # Mistakes that the templates refuse.
    "commonLabels.app\\.kubernetes\\.io/name=x": "commonLabels: the chart sets app.kubernetes.io/name itself",
    "evaluation.redis.podLabels.app\\.kubernetes\\.io/component=x": "evaluation.redis.podLabels: the chart sets app.kubernetes.io/component itself",
    "monitoring.dashboards.labels.helm\\.sh/chart=x": "monitoring.dashboards.labels: the chart sets helm.sh/chart itself",
    "api.extraEnv[0].name=REDIS_URL,api.extraEnv[0].value=b": "api.extraEnv: REDIS_URL is set by another value or a Secret, or twice",
    "api.env.A=a,api.extraEnv[0].name=A,api.extraEnv[0].value=b": "api.extraEnv: A is set by another value or a Secret, or twice",
    "node.extraVolumes[0].name=ca,node.extraVolumes[0].secret.secretName=a": "node.extraVolumes: the name ca is taken",
    "node.extraVolumeMounts[0].name=a,node.extraVolumeMounts[0].mountPath=/a": "node.extraVolumeMounts: no volume in extraVolumes is named a",
    "node.extraVolumes[0].name=a,node.extraVolumes[0].secret.secretName=a,node.extraVolumeMounts[0].name=a,node.extraVolumeMounts[0].mountPath=/etc/switchboard/ca/": "node.extraVolumeMounts: something is mounted at /etc/switchboard/ca/ already",
    "node.sidecars[0].name=node,node.sidecars[0].image=a": "node: two containers are named node",
    "node.serviceAccount.name=calls-switchboard-api": "node.serviceAccount.create: another workload creates calls-switchboard-api",
    "node.autoscaling.initialReplicas=30": "node.autoscaling.initialReplicas: must be from minReplicas to maxReplicas",
    "monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true": "monitoring.podMonitor.enabled: serviceMonitor is enabled",
    "frontendUrl=": "frontendUrl: set the public URL of the page",
    "image.repository=": "image.repository: set the registry and folder of both images",
    "redis.mode=sentinel": "redis.sentinel.master: name the master that the Sentinels watch",
    "redis.sentinel.username=asker": "redis.sentinel.existingSecret: name a Secret with the password of redis.sentinel.username",
    "redis.clientCertificate.existingSecret=a": "redis.clientCertificate.existingSecret: a client certificate needs redis.tls",
    "redis.username=calls": "redis.existingSecret: name a Secret with the password of redis.username",
    "turn.usernameKey=user,turn.credentialKey=credential": "turn.existingSecret: name a Secret",
    "turn.existingSecret=turn,turn.usernameKey=user": "turn.credentialKey: set both turn.usernameKey and turn.credentialKey, or neither",
    "turn.existingSecret=turn,turn.credentialKey=credential": "turn.credentialKey: set both turn.usernameKey and turn.credentialKey, or neither",
    "coturn.enabled=true,turn.existingSecret=turn,turn.usernameKey=user,turn.credentialKey=credential": "turn.usernameKey: must be empty with coturn.enabled",
    "coturn.externalIp=203.0.113.7,coturn.replicas=2": "coturn.externalIp: is the address of one machine",
    "secrets.existingSecret=": "secrets.existingSecret: name a Secret with the keys JWT_ACCESS_SECRET and JWT_REFRESH_SECRET",
    "secrets.accessAlgorithm=RS256": "secrets.accessAlgorithm must be one of the following",
    "secrets.accessKey=": "secrets.accessKey: name the key in the Secret that signs tokens, or set secrets.accessAlgorithm to EdDSA",
    "secrets.accessAlgorithm=EdDSA": "secrets.accessPrivateKeyKey: name the key in the Secret with the private key",
    "api.env.JWT_ACCESS_ALGORITHM=EdDSA": "api.env: JWT_ACCESS_ALGORITHM is set by another value or a Secret",
    "secrets.refreshKey=JWT_ACCESS_SECRET": "access and refresh tokens must be signed by different keys",
    "evaluation.redis.enabled=false": "redis.hosts: set the address of Redis as host:port",
    "evaluation.mongodb.enabled=false": "mongodb.existingSecret: name a Secret",
    "redis.hosts={a:1}": "redis.hosts: evaluation.redis is enabled; use only one of the two",
    "evaluation.redis.enabled=false,redis.hosts={a:1,b:2}": "redis.hosts: standalone mode takes one host; set redis.mode to cluster",
    "evaluation.redis.enabled=false,redis.hosts={a:1},redis.mode=cluster,redis.database=1": "a cluster has only database 0",
    "mongodb.existingSecret=mongodb": "mongodb.existingSecret: evaluation.mongodb is enabled; use only one of the two",
    "turn.urls={turn:a:3478}": "turn.existingSecret: name a Secret",
    "webhooks.urls={https://hooks.example.org}": "webhooks.existingSecret: name a Secret",
    "coturn.enabled=true,turn.existingSecret=turn": "turn.urls: set the public addresses of coturn",
    "coturn.enabled=true,turn.existingSecret=turn,turn.urls={turn:a:3478}": "coturn.realm: set the realm",
    "coturn.minPort=60000,coturn.maxPort=50000": "coturn.maxPort: must be above coturn.minPort",
    "node.terminationGracePeriodSeconds=15": "node.terminationGracePeriodSeconds: must be at least endpointSeconds + 15",
    "endpointSeconds=20": "api.terminationGracePeriodSeconds: must be at least endpointSeconds + 15",
    "node.autoscaling.minReplicas=30": "node.autoscaling.maxReplicas: must not be below minReplicas",
    "ingress.host=": "ingress.host: set the host name of the Ingress",
    "gateway.enabled=true": "gateway.parentRefs: name the Gateways",
    "image.tag=latest": "image.tag: set a fixed version",
    "api.env.JWT_ACCESS_SECRET=x": "api.env: JWT_ACCESS_SECRET is set by another value or a Secret",
}


class Values(unittest.TestCase):
    def test_each_mistake_is_refused_with_its_reason(self):
        for mistake, reason in MISTAKES.items():
            with self.subTest(mistake):
                result = helm("template", "calls", CHART, "--values", VALID, "--set", mistake, check=False)
                self.assertNotEqual(result.returncode, 0, "the mistake was accepted")
                self.assertIn(reason, result.stderr)

    def test_a_wrong_type_of_any_value_is_refused_with_the_name_of_the_value(self):
        wrong, names = {}, []
        for name, _, _ in values_reference.rows():
            default = values_reference.at(yaml.safe_load((CHART / "values.yaml").read_text()), name.split("."))
            put(wrong, name, "a b" if default is None or isinstance(default, (bool, int, list, dict)) else ["a b"])
            names.append(name)
        message = refused(wrong)
        for name in names:
            # A value of a fixed set has another message, without a colon.
            self.assertRegex(message, rf"(?m)^- {re.escape(name)}(: | must be )")

    def test_a_wrong_member_of_any_list_or_map_is_refused_with_its_name(self):
        wrong, names = {}, []
        for name, _, _ in values_reference.rows():
            default = values_reference.at(yaml.safe_load((CHART / "values.yaml").read_text()), name.split("."))
            if isinstance(default, list):
                put(wrong, name, [True])
                names.append(f"{name}.0")
            elif isinstance(default, dict):
                put(wrong, name, {"a b": True})
                names.append(name)
        message = refused(wrong)
        self.assertGreater(len(names), 60)
        for name in names:
            self.assertRegex(message, rf"(?m)^- {re.escape(name)}[:. ]")

    def test_no_value_may_be_null_but_those_that_say_so(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        nullable = {name for name, _, text in values_reference.rows() if "`null`" in text}
        self.assertLessEqual({"api.securityContext.runAsUser", "node.autoscaling.initialReplicas", "test.securityContext.fsGroup"}, nullable)
        named = set(properties(schema, schema)) - {"global"}
        missing = {}
        for name in named:
            put(missing, name, None)
        message = refused(missing)
        for name in named:
            group, _, key = name.rpartition(".")
            line = f"- {group or '(root)'}: {key} is required\n"
            self.assertEqual(line in message, name not in nullable, name)

    def test_env_must_not_set_a_variable_that_the_templates_set(self):
        variables = {variable for profile in profiles() for component in ("api", "node") for variable in settings(profile, component)} - {"REQUEST_TIMEOUT_MS"}
        # No profile uses a TURN server with one user for all clients.
        variables |= {"TURN_SERVER_USERNAME", "TURN_SERVER_CREDENTIAL"}
        self.assertLessEqual({"BIND_ADDRESS", "INTERNAL_URL", "NODE_ID", "SIGNALING_PORT", "WEBHOOK_SECRET"}, variables)
        for component in ("api", "node"):
            message = helm("template", "calls", CHART, "--values", VALID, "--set", ",".join(f"{component}.env.{name}=x" for name in sorted(variables)), check=False).stderr
            for name in variables:
                self.assertIn(f"\n{component}.env: {name} is set by another value or a Secret", message)
            allowed = helm("template", "calls", CHART, "--values", VALID, "--set-string", f"{component}.env.REQUEST_TIMEOUT_MS=1,{component}.env.SDP_MAX_BYTES=1", check=False)
            self.assertEqual(allowed.returncode, 0, allowed.stderr)

    def test_a_release_name_that_is_not_a_valid_service_name_is_changed_or_refused(self):
        for release, named in {"my.calls": "my-calls-switchboard-api", "my.switchboard": "my-switchboard-api"}.items():
            names = {it["metadata"]["name"] for _, it in render("evaluation", release=release) if it["kind"] == "Service"}
            self.assertIn(named, names)
        message = helm("template", "1calls", CHART, "--values", VALID, check=False).stderr
        self.assertIn("fullnameOverride: a Service's name must begin with a letter, but 1calls-switchboard does not", message)

    def test_all_mistakes_are_reported_at_once(self):
        message = helm("template", "calls", CHART, check=False).stderr
        for name in ["frontendUrl", "image.repository", "secrets.existingSecret", "redis.hosts", "mongodb.existingSecret"]:
            self.assertIn(f"\n{name}: ", message)

    def test_every_value_has_a_description_and_a_schema_and_every_property_of_the_schema_is_a_value(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        described = {name for name, _, _ in values_reference.rows()}
        self.assertEqual(set(leaves(values)) - described, set(), "values without a description")
        self.assertEqual(set(properties(schema, schema)) - {"global"}, described)

    def test_templates_read_only_values_that_exist(self):
        described = {name for name, _, _ in values_reference.rows()}
        groups = {".".join(name.split(".")[:depth]) for name in described for depth in range(1, 4)}
        for path in CHART.glob("templates/**/*.*"):
            for name in re.findall(r"\.Values\.([A-Za-z0-9.]+[A-Za-z0-9])", path.read_text()):
                with self.subTest(path.name, value=name):
                    self.assertIn(name, described | groups)


def put(values, name, value):
    """Puts a value into nested maps."""
    *groups, key = name.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[key] = value


def refused(values):
    """Returns the message with which the chart refuses values."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return helm("template", "calls", CHART, "--values", VALID, "--values", file.name, check=False).stderr


def leaves(values, path=()):
    """Yields the names of all values. A map that an operator fills counts as one value."""
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and value and not values_reference.members_are_free(here):
            yield from leaves(value, here)
        else:
            yield ".".join(here)


def properties(schema, whole, path=()):
    """Yields the names of all properties of the schema. Follows references."""
    if reference := schema.get("$ref"):
        schema = whole["definitions"][reference.removeprefix("#/definitions/")]
    if schema.get("properties") and (not path or not values_reference.members_are_free(path)):
        for key, inner in schema["properties"].items():
            yield from properties(inner, whole, (*path, key))
    else:
        yield ".".join(path)
