"""The network: everything is denied, and what is needed is opened; no more."""

import unittest

from tools.chart import profiles, render


def policies(profile):
    """A profile's NetworkPolicies by the end of their names."""
    return {it["metadata"]["name"].removeprefix("calls-switchboard-"): it["spec"] for _, it in render(profile) if it["kind"] == "NetworkPolicy"}


def selects(selector, labels):
    """Whether a selector by labels means a pod with these."""
    return selector.get("matchLabels", {}).items() <= labels.items()


def labels(component):
    """A pod's labels, as far as policies look at them."""
    return {"app.kubernetes.io/name": "switchboard", "app.kubernetes.io/instance": "calls", "app.kubernetes.io/component": component}


def opened(rules, peer):
    """The ports that rules open to or from pods of a component, or to anybody."""
    ports = set()
    for rule in rules:
        among = rule.get("from", rule.get("to"))
        if among is None or any(selects(it.get("podSelector", {"matchLabels": {"": ""}}), labels(peer)) for it in among):
            ports |= {port["port"] for port in rule["ports"]}
    return ports


class Network(unittest.TestCase):
    def test_everything_is_denied_first(self):
        for profile in set(profiles()) - {"gateway-coturn", "cluster-tls"}:
            deny = policies(profile)["deny-all"]
            self.assertEqual(deny["policyTypes"], ["Ingress", "Egress"])
            self.assertNotIn("ingress", deny)
            self.assertNotIn("egress", deny)
            for component in ("api", "node", "redis", "mongodb", "test"):
                self.assertTrue(selects(deny["podSelector"], labels(component)), component)

    def test_hand_overs_come_from_nodes_alone(self):
        node = policies("evaluation")["node"]
        self.assertEqual(opened(node["ingress"], "node"), {"http", "internal"})
        self.assertEqual(opened(node["ingress"], "api"), {"http"})
        self.assertEqual(opened(node["egress"], "node"), {"internal"})

    def test_metrics_are_for_the_monitoring_alone(self):
        for component in ("api", "node"):
            rules = policies("evaluation")[component]["ingress"]
            (metrics,) = [rule for rule in rules if rule["ports"][0]["port"] == "metrics"]
            self.assertEqual(metrics["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}])

    def test_public_ports_are_for_those_in_front_when_they_are_named(self):
        (rule,) = [rule for rule in policies("production")["api"]["ingress"] if rule["ports"][0]["port"] == "http"]
        self.assertEqual(rule["from"][0], {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}})
        self.assertTrue(selects(rule["from"][1]["podSelector"], labels("test")), "`helm test` gets through")
        self.assertEqual(len(rule["from"]), 2)

    def test_pods_reach_their_stores_and_nothing_else(self):
        inner = policies("evaluation")
        self.assertEqual(opened(inner["api"]["egress"], "redis"), {6379})
        self.assertEqual(opened(inner["api"]["egress"], "mongodb"), {27017})
        self.assertEqual(opened(inner["redis"]["ingress"], "node"), {6379})
        self.assertEqual(opened(inner["redis"]["ingress"], "test"), set())
        self.assertEqual(opened(inner["mongodb"]["ingress"], "api"), {27017})
        outer = policies("production")["node"]["egress"][1:]
        self.assertEqual([rule["ports"] for rule in outer], [[{"port": 6379, "protocol": "TCP"}], [{"port": 27017, "protocol": "TCP"}]])
        self.assertTrue(all("to" in rule for rule in outer))

    def test_every_port_of_a_cluster_and_the_rules_for_webhooks_are_opened(self):
        named = {name.removeprefix("calls-with-a-name-of-30-letter-"): spec for name, spec in policies("cluster-tls").items()}
        self.assertEqual(opened(named["node"]["egress"], "redis"), {6379, 6380, 6381, 27017, 16379})
        self.assertLessEqual({80, 443, 8443}, opened(named["api"]["egress"], "anybody"))
        self.assertNotIn(443, opened(named["node"]["egress"], "anybody"))
        self.assertNotIn(16379, opened(named["api"]["egress"], "anybody"))

    def test_both_programs_reach_the_collector_of_traces_and_nobody_does_without_one(self):
        monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        for component in ("api", "node"):
            (name,) = [name for name in policies("cluster-tls") if name.endswith(f"-{component}")]
            # The address' port is a Service's, the other one its pods'.
            ports = [{"port": port, "protocol": "TCP"} for port in (4318, 14318)]
            self.assertIn({"ports": ports, "to": [monitoring]}, policies("cluster-tls")[name]["egress"])
            for profile in ("evaluation", "production"):
                self.assertNotIn(4318, {port["port"] for rule in policies(profile)[component]["egress"] for port in rule["ports"]})

    def test_a_collector_without_a_port_is_reached_at_that_of_http(self):
        objects = render("evaluation", "--set", "tracing.endpoint=http://traces.example.org/otlp")
        (policy,) = [it["spec"] for _, it in objects if it["kind"] == "NetworkPolicy" and it["metadata"]["name"].endswith("-node")]
        self.assertIn({"ports": [{"port": 80, "protocol": "TCP"}]}, policy["egress"])
