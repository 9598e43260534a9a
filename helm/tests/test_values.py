"""Wrong values are refused, with a sentence that says which and why."""

import json
import re
import unittest

import yaml

from tests.test_workloads import settings
from tools import values_reference
from tools.chart import CHART, helm, profiles, render

SOUND = CHART / "ci" / "evaluation-values.yaml"

# What is set, and what the refusal says of it. First what the schema refuses by itself, a kind of mistake a line.
MISTAKES = {
    "replicas=3": "Additional property replicas is not allowed",
    "node.replica=3": "Additional property replica is not allowed",
    "node.replicas=two": "node.replicas: Invalid type. Expected: integer, given: string",
    "node.replicas=0": "node.replicas: Must be greater than or equal to 1",
    "redis.partitions=5000": "redis.partitions: Must be less than or equal to 4096",
    "redis.tls=sometimes": "redis.tls: Invalid type. Expected: boolean",
    "redis.mode=sentinel": "redis.mode must be one of the following",
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
    # Then what only several values together make wrong.
    "frontendUrl=": "frontendUrl: say at which address browsers find the page",
    "image.repository=": "image.repository: say from where both images are pulled",
    "redis.username=calls": "redis.existingSecret: name a Secret with the password of redis.username",
    "turn.usernameKey=user,turn.credentialKey=credential": "turn.existingSecret: name a Secret",
    "turn.existingSecret=turn,turn.usernameKey=user": "turn.credentialKey: a TURN server's user has a name and a credential",
    "turn.existingSecret=turn,turn.credentialKey=credential": "turn.credentialKey: a TURN server's user has a name and a credential",
    "coturn.enabled=true,turn.existingSecret=turn,turn.usernameKey=user,turn.credentialKey=credential": "turn.usernameKey: coturn of this chart knows no users",
    "coturn.externalIp=203.0.113.7,coturn.replicas=2": "coturn.externalIp: is the address of one machine",
    "secrets.existingSecret=": "secrets.existingSecret: name a Secret with the keys JWT_ACCESS_SECRET and JWT_REFRESH_SECRET",
    "secrets.refreshKey=JWT_ACCESS_SECRET": "access and refresh tokens must be signed by different keys",
    "evaluation.redis.enabled=false": "redis.hosts: say where Redis is",
    "evaluation.mongodb.enabled=false": "mongodb.existingSecret: name a Secret",
    "redis.hosts={a:1}": "redis.hosts: there is evaluation.redis already",
    "evaluation.redis.enabled=false,redis.hosts={a:1,b:2}": "several hosts are a cluster",
    "evaluation.redis.enabled=false,redis.hosts={a:1},redis.mode=cluster,redis.database=1": "a cluster has only database 0",
    "mongodb.existingSecret=mongodb": "mongodb.existingSecret: there is evaluation.mongodb already",
    "turn.urls={turn:a:3478}": "turn.existingSecret: name a Secret",
    "webhooks.urls={https://hooks.example.org}": "webhooks.existingSecret: name a Secret",
    "coturn.enabled=true,turn.existingSecret=turn": "turn.urls: say at which addresses clients reach coturn",
    "coturn.enabled=true,turn.existingSecret=turn,turn.urls={turn:a:3478}": "coturn.realm: say the realm",
    "coturn.minPort=60000,coturn.maxPort=50000": "coturn.maxPort: must be above coturn.minPort",
    "node.terminationGracePeriodSeconds=15": "leave at least 10 s for moving clients off",
    "endpointSeconds=20": "api.terminationGracePeriodSeconds: leave at least 15 s",
    "node.autoscaling.minReplicas=30": "node.autoscaling.maxReplicas: must not be below minReplicas",
    "ingress.host=": "ingress.host: say the host",
    "gateway.enabled=true": "gateway.parentRefs: name the Gateways",
    "image.tag=latest": "image.tag: name one image for good",
    "api.env.JWT_ACCESS_SECRET=x": "api.env: JWT_ACCESS_SECRET is a secret",
}


class Values(unittest.TestCase):
    def test_each_kind_of_mistake_is_refused_with_its_reason(self):
        for mistake, reason in MISTAKES.items():
            with self.subTest(mistake):
                told = helm("template", "calls", CHART, "--values", SOUND, "--set", mistake, check=False)
                self.assertNotEqual(told.returncode, 0, "it was taken")
                self.assertIn(reason, told.stderr)

    def test_what_the_templates_set_is_set_by_nothing_else(self):
        variables = {variable for profile in profiles() for component in ("api", "node") for variable in settings(profile, component)} - {"REQUEST_TIMEOUT_MS"}
        # No profile has a user for all at a TURN server.
        variables |= {"TURN_SERVER_USERNAME", "TURN_SERVER_CREDENTIAL"}
        self.assertLessEqual({"BIND_ADDRESS", "INTERNAL_URL", "NODE_ID", "SIGNALING_PORT", "WEBHOOK_SECRET"}, variables)
        for component in ("api", "node"):
            told = helm("template", "calls", CHART, "--values", SOUND, "--set", ",".join(f"{component}.env.{name}=x" for name in sorted(variables)), check=False).stderr
            for name in variables:
                self.assertIn(f"\n{component}.env: {name} is a secret, or follows from other values", told)
            free = helm("template", "calls", CHART, "--values", SOUND, "--set-string", f"{component}.env.REQUEST_TIMEOUT_MS=1,{component}.env.OUTBOX_MAX_BYTES=1", check=False)
            self.assertEqual(free.returncode, 0, free.stderr)

    def test_a_release_whose_name_is_no_services_name_is_renamed_or_refused(self):
        for release, named in {"my.calls": "my-calls-switchboard-api", "my.switchboard": "my-switchboard-api"}.items():
            names = {it["metadata"]["name"] for _, it in render("evaluation", release=release) if it["kind"] == "Service"}
            self.assertIn(named, names)
        told = helm("template", "1calls", CHART, "--values", SOUND, check=False).stderr
        self.assertIn("fullnameOverride: a Service's name begins with a letter, 1calls-switchboard does not", told)

    def test_all_mistakes_are_told_at_once(self):
        told = helm("template", "calls", CHART, check=False).stderr
        for name in ["frontendUrl", "image.repository", "secrets.existingSecret", "redis.hosts", "mongodb.existingSecret"]:
            self.assertIn(f"\n{name}: ", told)

    def test_every_value_is_told_of_and_in_the_schema_and_every_property_of_the_schema_is_a_value(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        told = {name for name, _, _ in values_reference.rows()}
        self.assertEqual(set(leaves(values)) - told, set(), "values without a description")
        self.assertEqual(set(properties(schema, schema)) - {"global"}, told)

    def test_no_template_reads_a_value_that_there_is_not(self):
        told = {name for name, _, _ in values_reference.rows()}
        groups = {".".join(name.split(".")[:depth]) for name in told for depth in range(1, 4)}
        for path in CHART.glob("templates/**/*.*"):
            for name in re.findall(r"\.Values\.([A-Za-z0-9.]+[A-Za-z0-9])", path.read_text()):
                with self.subTest(path.name, value=name):
                    self.assertIn(name, told | groups)


def leaves(values, path=()):
    """The names of values, groups opened but for those that an operator fills."""
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and value and not values_reference.members_are_free(here):
            yield from leaves(value, here)
        else:
            yield ".".join(here)


def properties(schema, whole, path=()):
    """The names of properties, references followed."""
    if reference := schema.get("$ref"):
        schema = whole["definitions"][reference.removeprefix("#/definitions/")]
    if schema.get("properties") and (not path or not values_reference.members_are_free(path)):
        for key, inner in schema["properties"].items():
            yield from properties(inner, whole, (*path, key))
    else:
        yield ".".join(path)
