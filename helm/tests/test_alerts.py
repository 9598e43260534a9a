"""Each alert fires when it should and only then: promtool evaluates it on artificial series."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tools.chart import CHART, ROOT, render

RULES = [CHART / "monitoring" / "alerts.yaml", CHART / "monitoring" / "slos.yaml"]

# For each alert: series for which it fires, series for which it does not, and the time of the
# check. In promtool's notation, with one value a minute: `0+5x30` begins at 0 and grows by 5 thirty
# times. Alerts with windows of days get one value per 15 minutes.
CASES = {
    "SwitchboardAppAtLimit": (
        {'switchboard_app_limited_total{limit="maxConcurrentCalls",instance="a"}': "0+20x60", 'switchboard_app_limited_total{limit="maxEventsPerSecond",instance="a"}': "0x60"},
        # An app that is refused for ten minutes.
        {'switchboard_app_limited_total{limit="maxConcurrentCalls",instance="a"}': "0x5 0+200x10 2000x60"},
        "50m",
    ),
    "SwitchboardAppLimitsOff": (
        {'switchboard_app_entries_open_total{job="switchboard-node",instance="a"}': "0+3x30"},
        {'switchboard_app_entries_open_total{job="switchboard-node",instance="a"}': "3x30"},
        "15m",
    ),
    "SwitchboardServiceDown": (
        {'up{job="switchboard-api",instance="a"}': "1 0x20", 'up{job="switchboard-api",instance="b"}': "1 0x20"},
        {'up{job="switchboard-api",instance="a"}': "1 0x20", 'up{job="switchboard-api",instance="b"}': "1x21", 'up{job="switchboard-node",instance="c"}': "1x21"},
        "5m",
    ),
    "SwitchboardPodDown": (
        {'up{job="switchboard-node",instance="a"}': "1 0x20"},
        {'up{job="switchboard-node",instance="a"}': "1 0 0 0 1x20", 'up{job="other",instance="a"}': "0x20"},
        "10m",
    ),
    "SwitchboardNodeDied": (
        {'switchboard_nodes_declared_dead_total{instance="a"}': "0 0 0 1x10"},
        {'switchboard_nodes_declared_dead_total{instance="a"}': "3x30"},
        "8m",
    ),
    "SwitchboardNodeSwept": (
        {'switchboard_swept_total{instance="a"}': "0 0 64x10"},
        {'switchboard_swept_total{instance="a"}': "64x30"},
        "8m",
    ),
    "SwitchboardPanics": (
        {'switchboard_panics_total{instance="a"}': "0 0 1x10", 'switchboard_panics_total{instance="b"}': "0x20"},
        {'switchboard_panics_total{instance="a"}': "1x20", 'switchboard_panics_total{instance="b"}': "0x20"},
        "8m",
    ),
    "SwitchboardDrainStuck": (
        {'switchboard_draining{instance="a"}': "0 1x20"},
        # A drain that takes the whole default grace period of 60 s.
        {'switchboard_draining{instance="a"}': "0 1 1 0x20"},
        "15m",
    ),
    "SwitchboardVersionsMixed": (
        {'switchboard_build_info{instance="a",version="1"}': "1x90", 'switchboard_build_info{instance="b",version="2"}': "1x90"},
        {'switchboard_build_info{instance="a",version="2"}': "1x90", 'switchboard_build_info{instance="b",version="2"}': "1x90"},
        "80m",
    ),
    "SwitchboardClusterDegraded": (
        {'switchboard_cluster_degraded{instance="a"}': "0 1x20"},
        {'switchboard_cluster_degraded{instance="a"}': "0 1 0x20"},
        "5m",
    ),
    "SwitchboardSubscriptionSilent": (
        {'switchboard_canary_silent_partitions{instance="a"}': "0 1x20"},
        {'switchboard_canary_silent_partitions{instance="a"}': "0 64 0x20"},
        "5m",
    ),
    "SwitchboardSubscriptionGaps": (
        {'switchboard_subscription_gaps_total{instance="a",cause="reconnected"}': "0+64x40"},
        # One reconnection is a gap in each of 64 partitions.
        {'switchboard_subscription_gaps_total{instance="a",cause="reconnected"}': "0x5 64x40"},
        "30m",
    ),
    "SwitchboardRedisRefusals": (
        {'switchboard_redis_lane_refused_total{reason="late"}': "0+3x20"},
        {'switchboard_redis_lane_refused_total{reason="late"}': "3x20"},
        "10m",
    ),
    "SwitchboardRedisErrors": (
        {'switchboard_redis_calls_total{script="join",outcome="error"}': "0+1x30"},
        {'switchboard_redis_calls_total{script="join",outcome="answered"}': "0+100x30", 'switchboard_redis_calls_total{script="join",outcome="error"}': "1x30"},
        "15m",
    ),
    "SwitchboardRedisSlow": (
        {'switchboard_redis_pipeline_seconds_bucket{le="0.1"}': "0+90x40", 'switchboard_redis_pipeline_seconds_bucket{le="0.25"}': "0+100x40", 'switchboard_redis_pipeline_seconds_bucket{le="+Inf"}': "0+100x40"},
        {'switchboard_redis_pipeline_seconds_bucket{le="0.1"}': "0+100x40", 'switchboard_redis_pipeline_seconds_bucket{le="0.25"}': "0+100x40", 'switchboard_redis_pipeline_seconds_bucket{le="+Inf"}': "0+100x40"},
        "30m",
    ),
    "SwitchboardRedisQueueGrows": (
        {'switchboard_redis_lane_queue_depth{instance="a"}': "20000x20"},
        {'switchboard_redis_lane_queue_depth{instance="a"}': "20000 50x20"},
        "5m",
    ),
    "SwitchboardRedisMemory": (
        {'switchboard_redis_memory_used_ratio{instance="a"}': "0.9x20"},
        {'switchboard_redis_memory_used_ratio{instance="a"}': "0.7x20"},
        "10m",
    ),
    "SwitchboardMongoErrors": (
        {'switchboard_mongodb_seconds_count{job="switchboard-api",outcome="ok"}': "0+90x30", 'switchboard_mongodb_seconds_count{job="switchboard-api",outcome="unavailable"}': "0+10x30"},
        {'switchboard_mongodb_seconds_count{job="switchboard-api",outcome="ok"}': "0+90x30", 'switchboard_mongodb_seconds_count{job="switchboard-api",outcome="duplicate"}': "0+10x30"},
        "15m",
    ),
    "SwitchboardOutboxLag": (
        {'switchboard_outbox_lag_seconds{instance="a"}': "100+60x20", 'switchboard_outbox_lag_seconds{instance="b"}': "0x20"},
        {'switchboard_outbox_lag_seconds{instance="a"}': "100 0x20"},
        "10m",
    ),
    "SwitchboardDeadFacts": (
        {"switchboard_dead_facts_total": "0 0 1x60"},
        {"switchboard_dead_facts_total": "1x120"},
        "30m",
    ),
    "SwitchboardWebhooksWait": (
        {'switchboard_webhook_lag_seconds{receiver="a"}': "0+60x60", 'switchboard_webhook_lag_seconds{receiver="b"}': "0x60"},
        {'switchboard_webhook_lag_seconds{receiver="a"}': "0+60x9 0x50", 'switchboard_webhook_lag_seconds{receiver="b"}': "300x60"},
        "30m",
    ),
    "SwitchboardWebhooksGivenUp": (
        {'switchboard_webhooks_total{outcome="given_up"}': "0 0 1x60"},
        {'switchboard_webhooks_total{outcome="postponed"}': "0+5x60", 'switchboard_webhooks_total{outcome="given_up"}': "0x60"},
        "30m",
    ),
    "SwitchboardApiErrors": (
        {'switchboard_http_request_seconds_count{status="200"}': "0+90x30", 'switchboard_http_request_seconds_count{status="503"}': "0+10x30"},
        {'switchboard_http_request_seconds_count{status="200"}': "0+90x30", 'switchboard_http_request_seconds_count{status="404"}': "0+10x30"},
        "15m",
    ),
    "SwitchboardApiSlow": (
        {'switchboard_http_request_seconds_bucket{route="/r",le="1"}': "0+90x40", 'switchboard_http_request_seconds_bucket{route="/r",le="2.5"}': "0+100x40", 'switchboard_http_request_seconds_bucket{route="/r",le="+Inf"}': "0+100x40"},
        {'switchboard_http_request_seconds_bucket{route="/r",le="1"}': "0+100x40", 'switchboard_http_request_seconds_bucket{route="/r",le="2.5"}': "0+100x40", 'switchboard_http_request_seconds_bucket{route="/r",le="+Inf"}': "0+100x40"},
        "30m",
    ),
    "SwitchboardPasswordQueueFull": (
        {"switchboard_password_refused_total": "0+5x20"},
        {"switchboard_password_refused_total": "5x20"},
        "10m",
    ),
    "SwitchboardRevocationsStale": (
        # Redis is silent: a read fails each 2 s.
        {'switchboard_revocations_stale_total{instance="a"}': "0+29x30"},
        {'switchboard_revocations_stale_total{instance="a"}': "0 20x30"},
        "15m",
    ),
    "SwitchboardIdentitySourceFails": (
        {'switchboard_jwks_reads_total{outcome="failed"}': "0+5x30"},
        {
            'switchboard_jwks_reads_total{outcome="failed"}': "5x30",
            'switchboard_jwks_reads_total{outcome="ok"}': "0+5x30",
        },
        "20m",
    ),
    "SwitchboardRateLimitsOff": (
        {"switchboard_rate_limit_open_total": "0+5x30"},
        {"switchboard_rate_limit_open_total": "5x30"},
        "15m",
    ),
    "SwitchboardKeyFileRefused": (
        {'switchboard_key_reloads_total{outcome="refused"}': "0+6x30"},
        {'switchboard_key_reloads_total{outcome="loaded"}': "0+6x30", 'switchboard_key_reloads_total{outcome="refused"}': "6x30"},
        "20m",
    ),
    "SwitchboardHandoversFail": (
        {'switchboard_handovers_total{outcome="answered"}': "0+80x30", 'switchboard_handovers_total{outcome="unreachable"}': "0+20x30"},
        {'switchboard_handovers_total{outcome="answered"}': "0+80x30", 'switchboard_handovers_total{outcome="aborted"}': "0+20x30"},
        "15m",
    ),
    "SwitchboardSlowClients": (
        {"switchboard_send_queue_overflows_total": "0+5x40", "switchboard_sockets_opened_total": "0+100x40"},
        {"switchboard_send_queue_overflows_total": "0+1x40", "switchboard_sockets_opened_total": "0+100x40"},
        "30m",
    ),
    "SwitchboardSocketsLost": (
        {'switchboard_sockets_closed_total{reason="ping_timeout"}': "0+500x20", "switchboard_sockets_open": "1000x20"},
        {'switchboard_sockets_closed_total{reason="ping_timeout"}': "0+50x20", 'switchboard_sockets_closed_total{reason="client_disconnect"}': "0+900x20", "switchboard_sockets_open": "1000x20"},
        "10m",
    ),
    # Fires after an hour at a rate that spends the budget in two days, but not after ten minutes.
    "SwitchboardSloJoinsBurnFast": (
        {'switchboard_joins_total{outcome="joined"}': "0+98x90", 'switchboard_joins_total{outcome="failed"}': "0+2x90"},
        {'switchboard_joins_total{outcome="joined"}': "0+100x90", 'switchboard_joins_total{outcome="failed"}': "0x40 0+2x5 10x60", 'switchboard_joins_total{outcome="refused"}': "0+50x90"},
        "80m",
    ),
    "SwitchboardSloJoinsBurnSlow": (
        {'switchboard_joins_total{outcome="joined"}': "0+996x110", 'switchboard_joins_total{outcome="failed"}': "0+4x110"},
        {'switchboard_joins_total{outcome="joined"}': "0+9995x110", 'switchboard_joins_total{outcome="failed"}': "0+5x110"},
        "1500m",
    ),
    "SwitchboardSloRelaysBurnFast": (
        {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0+100x90", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0+80x90"},
        {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0+100x90", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0+99x90"},
        "80m",
    ),
    "SwitchboardSloRelaysBurnSlow": (
        {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0+100x110", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0+96x110"},
        {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0+1000x110", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0+995x110"},
        "1500m",
    ),
    "SwitchboardSloResumesBurnFast": (
        {'switchboard_resumes_total{outcome="resumed"}': "0+90x90", 'switchboard_resumes_total{outcome="missed"}': "0+10x90"},
        # A session that was away for too long starts as a new session, which the objective allows.
        {'switchboard_resumes_total{outcome="resumed"}': "0+90x90", 'switchboard_resumes_total{outcome="missed"}': "0x90", 'switchboard_resumes_total{outcome="fresh"}': "0+10x90"},
        "80m",
    ),
    "SwitchboardSloResumesBurnSlow": (
        {'switchboard_resumes_total{outcome="resumed"}': "0+98x110", 'switchboard_resumes_total{outcome="missed"}': "0+2x110"},
        {'switchboard_resumes_total{outcome="resumed"}': "0+998x110", 'switchboard_resumes_total{outcome="missed"}': "0+2x110"},
        "1500m",
    ),
}

# More cases: (alert, series, time of the check, whether it fires).
UP = "1x60"
ONCE = "0x4 1x60"
# 12 joins an hour for 90 minutes.
FEW_JOINS = " ".join(["0"] + [str(join) for join in range(1, 20) for _ in range(5)])
MORE_CASES = [
    ("SwitchboardServiceDown", {'up{job="switchboard-api",instance="a"}': UP}, "5m", True),
    ("SwitchboardServiceDown", {'up{job="switchboard-node",instance="a"}': UP}, "5m", True),
    ("SwitchboardServiceDown", {'up{job="switchboard-api",instance="a"}': UP, 'up{job="switchboard-node",instance="b"}': UP}, "30m", False),
    # Problems that happened once or for a moment.
    ("SwitchboardRedisRefusals", {'switchboard_redis_lane_refused_total{reason="late"}': ONCE}, "30m", False),
    ("SwitchboardRedisRefusals", {'switchboard_redis_lane_refused_total{reason="late"}': "0x4 500 900x60"}, "30m", False),
    ("SwitchboardRedisErrors", {'switchboard_redis_calls_total{script="join",outcome="error"}': ONCE}, "30m", False),
    ("SwitchboardMongoErrors", {'switchboard_mongodb_seconds_count{job="a",outcome="ok"}': "0+3x60", 'switchboard_mongodb_seconds_count{job="a",outcome="unavailable"}': ONCE}, "30m", False),
    ("SwitchboardApiErrors", {'switchboard_http_request_seconds_count{status="200"}': "0+3x60", 'switchboard_http_request_seconds_count{status="503"}': ONCE}, "30m", False),
    ("SwitchboardPasswordQueueFull", {"switchboard_password_refused_total": ONCE}, "30m", False),
    ("SwitchboardRateLimitsOff", {"switchboard_rate_limit_open_total": ONCE}, "30m", False),
    ("SwitchboardSocketsLost", {'switchboard_sockets_closed_total{reason="ping_timeout"}': ONCE, "switchboard_sockets_open": "0x60"}, "30m", False),
    # One failure of 12 in an hour with little traffic; one call of four while Redis was slow for a
    # moment.
    ("SwitchboardSloJoinsBurnFast", {'switchboard_joins_total{outcome="joined"}': FEW_JOINS, 'switchboard_joins_total{outcome="failed"}': "0x60 1x30"}, "90m", False),
    ("SwitchboardSloRelaysBurnFast", {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0x60 112x30", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0x60 80x30"}, "90m", False),
    # Redis refuses each event at once: fast, and all the same a failure.
    ("SwitchboardSloRelaysBurnFast", {"switchboard_relays_failed_total": "0+20x90", 'switchboard_relay_seconds_count{stage="logged"}': "0+80x90", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0+80x90"}, "80m", True),
    ("SwitchboardSloResumesBurnFast", {'switchboard_resumes_total{outcome="resumed"}': FEW_JOINS, 'switchboard_resumes_total{outcome="missed"}': "0x60 1x30"}, "90m", False),
    ("SwitchboardSloJoinsBurnSlow", {'switchboard_joins_total{outcome="joined"}': "0+1x110", 'switchboard_joins_total{outcome="failed"}': "0x60 1x50"}, "1600m", False),
    ("SwitchboardSloRelaysBurnSlow", {"switchboard_relays_failed_total": "0x110", 'switchboard_relay_seconds_count{stage="logged"}': "0x60 112x50", 'switchboard_relay_seconds_bucket{stage="logged",le="0.1"}': "0x60 80x50"}, "1600m", False),
    ("SwitchboardSloResumesBurnSlow", {'switchboard_resumes_total{outcome="resumed"}': "0+1x110", 'switchboard_resumes_total{outcome="missed"}': "0x60 1x50"}, "1600m", False),
]


def cases(name):
    """Returns every (series, time, whether it fires) of an alert."""
    fires, silent, at = CASES[name]
    return [(fires, at, True), (silent, at, False), *(case[1:] for case in MORE_CASES if case[0] == name)]


def alerts(*files):
    """Returns every alert of these files, by default of all."""
    groups = [group for path in files or RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def step(name):
    """Returns the time between two values and two evaluations."""
    return "15m" if name.endswith("BurnSlow") else "1m"


def scenario(name, series, at, fires):
    """Returns a test for promtool: the alert fires at this time, or has never fired until then."""
    firing = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    firing = f"count({firing if fires else f'count_over_time({firing}[{at}])'}) > bool 0"
    return {
        "name": f"{name} {'fires' if fires else 'is silent'}",
        "interval": step(name),
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}],
    }


class Alerts(unittest.TestCase):
    def test_prometheus_accepts_the_rules(self):
        subprocess.run(["promtool", "check", "rules", *RULES], check=True, capture_output=True)

    def test_each_alert_fires_when_it_should_and_only_then(self):
        self.assertEqual(sorted(CASES), sorted(alert["alert"] for alert in alerts()), "each alert needs a case, each case an alert")
        for rules in RULES:
            named = [alert["alert"] for alert in alerts(rules)]
            for interval in {step(name) for name in named}:
                self.promtool(rules, interval, [name for name in named if step(name) == interval])

    def promtool(self, rules, interval, names):
        tests = [scenario(name, *case) for name in names for case in cases(name)]
        file = {"rule_files": [str(rules)], "evaluation_interval": interval, "tests": tests}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tests.yaml"
            path.write_text(yaml.safe_dump(file))
            result = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_the_drain_alert_waits_for_the_configured_grace_period(self):
        fixed = {alert["alert"]: alert["for"] for alert in alerts() if "for" in alert}
        grace = yaml.safe_load((CHART / "values.yaml").read_text())["node"]["terminationGracePeriodSeconds"]
        self.assertEqual(fixed["SwitchboardDrainStuck"], f"{(grace + 60) // 60}m")
        (rule,) = [it for _, it in render("production", "--set", "node.terminationGracePeriodSeconds=1800") if it["kind"] == "PrometheusRule"]
        made = {alert["alert"]: alert["for"] for group in rule["spec"]["groups"] for alert in group["rules"] if "for" in alert}
        self.assertEqual(made, {**fixed, "SwitchboardDrainStuck": "1860s"})

    def test_each_alert_has_a_severity_a_summary_and_an_existing_runbook(self):
        headings = re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "RUNBOOKS.md").read_text(), re.MULTILINE)
        for alert in alerts():
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], {"critical", "warning"})
                self.assertTrue(alert["annotations"]["summary"])
                self.assertEqual(alert["annotations"]["runbook"], f"docs/RUNBOOKS.md#{alert['alert'].lower()}")
                self.assertIn(alert["alert"], headings, "the runbook is missing")
