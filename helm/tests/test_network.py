"""Network policies: all traffic is denied except the traffic that pods need."""

import unittest

from tools.chart import profiles, render


def policies(profile):
    """Returns a profile's NetworkPolicies by the last part of their names."""
    return {it["metadata"]["name"].removeprefix("calls-switchboard-"): it["spec"] for _, it in render(profile) if it["kind"] == "NetworkPolicy"}


def selects(selector, labels):
    """Returns whether a label selector matches these labels."""
    return selector.get("matchLabels", {}).items() <= labels.items()


def labels(component):
    """Returns the labels of a component's pods that policies select by."""
    return {"app.kubernetes.io/name": "switchboard", "app.kubernetes.io/instance": "calls", "app.kubernetes.io/component": component}


def opened(rules, peer):
    """Returns the ports that rules open to or from pods of a component."""
    ports = set()
    for rule in rules:
        peers = rule.get("from", rule.get("to"))
        if peers is None or any(selects(it.get("podSelector", {"matchLabels": {"": ""}}), labels(peer)) for it in peers):
            ports |= {port["port"] for port in rule["ports"]}
    return ports


class Network(unittest.TestCase):
    def test_all_traffic_is_denied_by_default(self):
        for profile in set(profiles()) - {"gateway-coturn", "cluster-tls"}:
            deny = policies(profile)["deny-all"]
            self.assertEqual(deny["policyTypes"], ["Ingress", "Egress"])
            self.assertNotIn("ingress", deny)
            self.assertNotIn("egress", deny)
            for component in ("api", "node", "redis", "mongodb", "test"):
                self.assertTrue(selects(deny["podSelector"], labels(component)), component)

    def test_only_nodes_may_hand_requests_over_to_nodes(self):
        node = policies("evaluation")["node"]
        self.assertEqual(opened(node["ingress"], "node"), {"http", "internal"})
        self.assertEqual(opened(node["ingress"], "api"), {"http"})
        self.assertEqual(opened(node["egress"], "node"), {"internal"})

    def test_only_the_monitoring_namespace_may_read_metrics(self):
        for component in ("api", "node"):
            rules = policies("evaluation")[component]["ingress"]
            (metrics,) = [rule for rule in rules if rule["ports"][0]["port"] == "metrics"]
            self.assertEqual(metrics["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}])

    def test_only_peers_in_public_from_and_helm_test_may_reach_public_ports(self):
        (rule,) = [rule for rule in policies("production")["api"]["ingress"] if rule["ports"][0]["port"] == "http"]
        self.assertEqual(rule["from"][0], {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}})
        self.assertTrue(selects(rule["from"][1]["podSelector"], labels("test")), "`helm test` may connect")
        self.assertEqual(len(rule["from"]), 2)

    def test_pods_may_reach_only_their_stores(self):
        inner = policies("evaluation")
        self.assertEqual(opened(inner["api"]["egress"], "redis"), {6379})
        self.assertEqual(opened(inner["api"]["egress"], "mongodb"), {27017})
        self.assertEqual(opened(inner["redis"]["ingress"], "node"), {6379})
        self.assertEqual(opened(inner["redis"]["ingress"], "test"), set())
        self.assertEqual(opened(inner["mongodb"]["ingress"], "api"), {27017})
        outer = policies("production")["node"]["egress"][1:]
        self.assertEqual([rule["ports"] for rule in outer], [[{"port": 6379, "protocol": "TCP"}], [{"port": 27017, "protocol": "TCP"}]])
        self.assertTrue(all("to" in rule for rule in outer))

    def test_all_ports_of_a_redis_cluster_and_of_webhooks_are_open(self):
        named = {name.removeprefix("calls-with-a-name-of-30-letter-"): spec for name, spec in policies("cluster-tls").items()}
        self.assertEqual(opened(named["node"]["egress"], "redis"), {6379, 6380, 6381, 27017, 16379})
        self.assertLessEqual({80, 443, 8443}, opened(named["api"]["egress"], "any"))
        self.assertNotIn(443, opened(named["node"]["egress"], "any"))
        self.assertNotIn(16379, opened(named["api"]["egress"], "any"))

    def test_the_ports_of_sentinels_and_of_their_servers_are_open(self):
        for component in ("api", "node"):
            self.assertEqual(opened(policies("sentinel")[component]["egress"], "redis") - {443}, {26379, 26380, 6390, 27017})

    def test_both_programs_may_reach_the_trace_collector_only_if_there_is_one(self):
        monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        for component in ("api", "node"):
            (name,) = [name for name in policies("cluster-tls") if name.endswith(f"-{component}")]
            # 4318 is the port of the Service in the URL, 14318 that of its pods.
            ports = [{"port": port, "protocol": "TCP"} for port in (4318, 14318)]
            self.assertIn({"ports": ports, "to": [monitoring]}, policies("cluster-tls")[name]["egress"])
            for profile in ("evaluation", "production"):
                self.assertNotIn(4318, {port["port"] for rule in policies(profile)[component]["egress"] for port in rule["ports"]})

    def test_a_trace_collector_without_a_port_uses_port_80(self):
        objects = render("evaluation", "--set", "tracing.endpoint=http://traces.example.org/otlp")
        (policy,) = [it["spec"] for _, it in objects if it["kind"] == "NetworkPolicy" and it["metadata"]["name"].endswith("-node")]
        self.assertIn({"ports": [{"port": 80, "protocol": "TCP"}]}, policy["egress"])
