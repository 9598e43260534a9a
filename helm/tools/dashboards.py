"""Definitions of the four dashboards. Each begins with symptoms that users notice, then causes."""

import json

from tools.grafana import NAMESPACE_MATCHER, Dashboard, Panel, Row


def rate(metric, by="", where=""):
    """Returns the query for events per second."""
    return f"sum{grouped(by)} (rate({metric}{{{matchers(where)}}}[$__rate_interval]))"


def gauge(metric, by="", aggregate="sum", where=""):
    """Returns the query for the current value, aggregated over all pods."""
    return f"{aggregate}{grouped(by)} ({metric}{{{matchers(where)}}})"


def quantile(share, metric, by="", where=""):
    """Returns the query for a quantile of a histogram."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le' if by else 'le', where)})"


def quantiles(metric, where=""):
    """Returns the queries for median and 99th percentile."""
    return {"p50": quantile(0.5, metric, where=where), "p99": quantile(0.99, metric, where=where)}


def share(part, whole):
    """Returns the query for a share: 0 without series of `part`, no data while `whole` is 0."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def grouped(by):
    return f" by ({by})" if by else ""


def matchers(where):
    return f"{NAMESPACE_MATCHER},{where}" if where else NAMESPACE_MATCHER


LOGGED = 'stage="logged"'
RESUMED_OR_MISSED = 'outcome=~"resumed|missed"'

OVERVIEW = Dashboard("overview", "Overview", "Health of the service and its objectives.", [
    Row("Objectives", [
        Panel("Failed joins", "percentunit", {"": share(rate("switchboard_joins_total", where='outcome="failed"'), rate("switchboard_joins_total"))},
              "Server errors; refusals do not count. Objective: at most 0.1 %.", "stat", (0.001, 0.0144)),
        Panel("Relay time, p99", "s", {"": quantile(0.99, "switchboard_relay_seconds", where=LOGGED)},
              "From reading the frame to writing the room's log. Objective: 99 % within 100 ms.", "stat", (0.1, 0.25)),
        Panel("Resumes with missed events", "percentunit", {"": share(rate("switchboard_resumes_total", where='outcome="missed"'), rate("switchboard_resumes_total", where=RESUMED_OR_MISSED))},
              "The client returned to its seat, but the log no longer had all missed events. Objective: at most 0.5 %.", "stat", (0.005, 0.072)),
        Panel("Failed REST requests", "percentunit", {"": share(rate("switchboard_http_request_seconds_count", where='status=~"5.."'), rate("switchboard_http_request_seconds_count"))},
              "Requests with a 5xx status.", "stat", (0.001, 0.01)),
    ], height=4),
    Row("Current state", [
        Panel("Nodes", "short", {"": gauge("up", where='job="switchboard-node"')}, kind="stat"),
        Panel("Api pods", "short", {"": gauge("up", where='job="switchboard-api"')}, kind="stat"),
        Panel("Sockets", "short", {"": gauge("switchboard_sockets_open")}, kind="stat"),
        Panel("Participants", "short", {"": gauge("switchboard_sessions")}, kind="stat"),
        Panel("Cluster degraded", "short", {"": gauge("switchboard_cluster_degraded", aggregate="max")}, "1: Redis does not respond, and clients are notified.", "stat", (0.5, 1)),
        Panel("Outbox lag", "s", {"": gauge("switchboard_outbox_lag_seconds", aggregate="max")}, "Age of the oldest fact that is not recorded in MongoDB.", "stat", (60, 900)),
    ], height=4),
    Row("Load", [
        Panel("Joins", "ops", {"{{outcome}}": rate("switchboard_joins_total", "outcome")}),
        Panel("Relays", "ops", {"{{kind}}": rate("switchboard_relays_total", "kind")}),
        Panel("REST requests", "reqps", {"{{status}}": rate("switchboard_http_request_seconds_count", "status")}),
    ]),
    Row("Pods", [
        Panel("CPU", "percentunit", {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{{{NAMESPACE_MATCHER}}}[$__rate_interval])"}, "100 % is one core."),
        Panel("Memory", "bytes", {"{{job}} {{instance}}": f"process_resident_memory_bytes{{{NAMESPACE_MATCHER}}}"}),
        Panel("Open file descriptors", "short", {"{{job}} {{instance}}": f"process_open_fds{{{NAMESPACE_MATCHER}}}"}),
        Panel("Faults of the software", "ops", {"panics, {{job}} {{instance}}": rate("switchboard_panics_total", "job, instance"), "log lines dropped, {{job}} {{instance}}": rate("switchboard_log_lines_dropped_total", "job, instance")}, "A panic is a bug. Lines are dropped when one place in the code writes more than 100 within 10 s."),
    ]),
])

SIGNALING = Dashboard("signaling", "Signaling", "Sockets, rooms and relays of the signaling nodes.", [
    Row("Sockets", [
        Panel("Open", "short", {"{{instance}}": gauge("switchboard_sockets_open", "instance")}),
        Panel("Opened", "ops", {"opened": rate("switchboard_sockets_opened_total")}),
        Panel("Closed, by reason", "ops", {"{{reason}}": rate("switchboard_sockets_closed_total", "reason")}),
        Panel("Refused", "ops", {"handshakes, {{reason}}": rate("switchboard_handshakes_refused_total", "reason"), "connections, {{reason}}": rate("switchboard_connections_refused_total", "reason")}),
    ]),
    Row("Rooms", [
        Panel("Participants", "short", {"{{instance}}": gauge("switchboard_sessions", "instance")}),
        Panel("Rooms", "short", {"{{instance}}": gauge("switchboard_rooms", "instance")}, "Rooms with a participant on this node. A room counts on each of its nodes."),
        Panel("Join time", "s", quantiles("switchboard_join_seconds")),
        Panel("Resumes", "ops", {"{{outcome}}": rate("switchboard_resumes_total", "outcome")}, "fresh: away for too long, so a new session. missed: the log no longer had all events."),
    ]),
    Row("Relays", [
        Panel("Time to Redis queue", "s", quantiles("switchboard_relay_seconds", 'stage="received"'), "From reading the frame to the queue for Redis."),
        Panel("Time to log", "s", quantiles("switchboard_relay_seconds", LOGGED), "From reading the frame to writing the room's log. The sender's acknowledgement waits for it.", limits=(0.1, 0.25)),
        Panel("Time to receiver", "s", quantiles("switchboard_relay_seconds", 'stage="delivered"'), "From the log to the receiver's socket. Measured with the clocks of two machines."),
        Panel("Queued for slow clients", "bytes", {"{{instance}}": gauge("switchboard_send_queue_bytes", "instance")}),
    ]),
    Row("Refusals", [
        Panel("Refusals, by code", "ops", {"{{code}}": rate("switchboard_refusals_total", "code")}),
        Panel("Over the rate limit", "ops", {"events": rate("switchboard_events_rate_limited_total")}),
        Panel("Slow clients", "ops", {"closed": rate("switchboard_send_queue_overflows_total"), "buffer overflow on resume": rate("switchboard_delivery_buffer_overflows_total")}),
        Panel("Hand-overs between nodes", "ops", {"{{outcome}}": rate("switchboard_handovers_total", "outcome")}),
    ]),
    Row("Cluster", [
        Panel("Canary", "s", quantiles("switchboard_canary_seconds"), "A node publishes to itself in its partitions. Time until it receives the message."),
        Panel("Silent partitions", "short", {"{{instance}}": gauge("switchboard_canary_silent_partitions", "instance")}, limits=(1, 2)),
        Panel("Subscription", "ops", {"gaps, {{cause}}": rate("switchboard_subscription_gaps_total", "cause"), "reconnects": rate("switchboard_bus_reconnects_total"), "malformed messages": rate("switchboard_envelopes_malformed_total")}),
        Panel("Nodes", "ops", {"declared dead": rate("switchboard_nodes_declared_dead_total"), "strays swept": rate("switchboard_stray_nodes_swept_total"), "swept while alive": rate("switchboard_swept_total"), "reseated, {{outcome}}": rate("switchboard_reseats_total", "outcome")}),
        Panel("Watched nodes", "short", {"{{instance}}": gauge("switchboard_watched_nodes", "instance")}, "Nodes whose heartbeats a node reads: 3, one more for each before the first that lives, and 16 times as many while none lives."),
        Panel("Drained sessions", "ops", {"{{instance}}": rate("switchboard_drained_sessions_total", "instance"), "draining nodes": gauge("switchboard_draining")}, "Sessions that terminating nodes move to other nodes."),
        Panel("Share of the load", "short", {"{{instance}} above the mean": gauge("switchboard_sessions_above_share", "instance"), "moved a second": rate("switchboard_rebalanced_sessions_total")}, "A node with clearly more sessions than the mean moves some to the others."),
    ]),
])

API = Dashboard("api", "API", "REST requests, sign-ins, rate limits and the recorder.", [
    Row("Requests", [
        Panel("By status", "reqps", {"{{status}}": rate("switchboard_http_request_seconds_count", "status")}),
        Panel("By route", "reqps", {"{{method}} {{route}}": rate("switchboard_http_request_seconds_count", "method, route")}),
        Panel("Time", "s", quantiles("switchboard_http_request_seconds")),
        Panel("Time by route, p99", "s", {"{{route}}": quantile(0.99, "switchboard_http_request_seconds", "route")}, limits=(0.5, 1)),
    ]),
    Row("Accounts", [
        Panel("Password queue", "short", {"{{instance}}": gauge("switchboard_password_queue", "instance")}),
        Panel("Password time, p99", "s", {"{{work}}": quantile(0.99, "switchboard_password_seconds", "work")}),
        Panel("Refused", "ops", {"password queue full": rate("switchboard_password_refused_total"), "over the rate limit, {{class}}": rate("switchboard_rate_limited_total", "class"), "allowed without a check, {{class}}": rate("switchboard_rate_limit_open_total", "class")}),
        Panel("Created", "ops", {"accounts": rate("switchboard_users_registered_total"), "calls": rate("switchboard_calls_created_total")}),
        Panel("Revoked sign-ins", "short", {"{{job}} {{instance}}": gauge("switchboard_revoked_sign_ins", "job, instance"), "failed reads, {{instance}}": rate("switchboard_revocations_stale_total", "instance")}),
    ]),
    Row("Apps", [
        Panel("Refused at a limit", "ops", {"{{limit}}": rate("switchboard_app_limited_total", "limit")}, "Joins, calls, requests and events. The logs name the app: \"app at a limit\"."),
        Panel("User tokens", "ops", {"{{outcome}}": rate("switchboard_app_tokens_total", "outcome"), "wrong origin": rate("switchboard_app_origins_refused_total")}),
        Panel("Requests of backends", "ops", {"{{outcome}}": rate("switchboard_app_requests_total", "outcome")}),
        Panel("Entries without a count", "ops", {"{{job}}": rate("switchboard_app_entries_open_total", "job")}, "Joins that passed the limits because Redis did not answer."),
        Panel("API keys", "short", {"known, fewest": gauge("switchboard_app_keys", aggregate="min"), "known, most": gauge("switchboard_app_keys", aggregate="max"), "failed reads a second": rate("switchboard_app_reads_total", where='outcome="failed"')}, "Every pod must know the same keys."),
    ]),
    Row("Recorder", [
        Panel("Outbox lag", "s", {"oldest": gauge("switchboard_outbox_lag_seconds", aggregate="max")}, "Age of the oldest fact that is not recorded in MongoDB.", limits=(60, 900)),
        Panel("Facts in the outbox", "short", {"all": gauge("switchboard_outbox_facts", aggregate="max")}),
        Panel("Recorded facts", "ops", {"{{kind}}": rate("switchboard_facts_recorded_total", "kind"), "dead": rate("switchboard_dead_facts_total")}),
        Panel("Owned partitions", "short", {"{{instance}}": gauge("switchboard_recorder_partitions_owned", "instance")}, "The sum over all pods must be the number of partitions, 64 by default."),
        Panel("Webhooks", "ops", {"{{outcome}}": rate("switchboard_webhooks_total", "outcome")}),
        Panel("Webhook lag", "s", {"{{receiver}}": gauge("switchboard_webhook_lag_seconds", "receiver", "max")}, "Age of the oldest webhook that the receiver has not accepted."),
    ]),
])

DEPENDENCIES = Dashboard("dependencies", "Dependencies", "Redis and MongoDB, measured by the pods.", [
    Row("Redis", [
        Panel("Degraded", "short", {"{{instance}}": gauge("switchboard_cluster_degraded", "instance")}, limits=(0.5, 1)),
        Panel("Pipeline round trip", "s", quantiles("switchboard_redis_pipeline_seconds"), limits=(0.05, 0.1)),
        Panel("Requests per pipeline", "short", quantiles("switchboard_redis_lane_batch_size"), "Grows with load, which keeps Redis efficient."),
        Panel("Memory used", "percentunit", {"fullest": gauge("switchboard_redis_memory_used_ratio", aggregate="max")}, "Share of maxmemory on the fullest shard. At 100 % Redis refuses every event.", limits=(0.6, 0.8)),
    ]),
    Row("Redis requests", [
        Panel("By script", "ops", {"{{script}}": rate("switchboard_redis_calls_total", "script")}),
        Panel("Retried or failed", "ops", {"{{script}}, {{outcome}}": rate("switchboard_redis_calls_total", "script, outcome", 'outcome!="answered"')}),
        Panel("Queued", "short", {"{{instance}}": gauge("switchboard_redis_lane_queue_depth", "instance")}),
        Panel("Refused", "ops", {"{{reason}}": rate("switchboard_redis_lane_refused_total", "reason"), "resumes": rate("switchboard_replays_refused_total")}),
        Panel("Connections", "ops", {"reconnects": rate("switchboard_redis_lane_reconnects_total"), "failovers": rate("switchboard_redis_takeovers_total")}),
    ]),
    Row("MongoDB", [
        Panel("Requests", "ops", {"{{operation}}": rate("switchboard_mongodb_seconds_count", "operation")}),
        Panel("Outcomes other than ok", "ops", {"{{operation}}, {{outcome}}": rate("switchboard_mongodb_seconds_count", "operation, outcome", 'outcome!="ok"')}),
        Panel("Refused without a free connection", "ops", {"{{share}}, {{reason}}": rate("switchboard_mongodb_refused_total", "share, reason")}),
        Panel("Time", "s", quantiles("switchboard_mongodb_seconds")),
        Panel("Time by operation, p99", "s", {"{{operation}}": quantile(0.99, "switchboard_mongodb_seconds", "operation")}),
    ]),
])

DASHBOARDS = [OVERVIEW, SIGNALING, API, DEPENDENCIES]


def files():
    """Returns name and text of each dashboard's file."""
    return {f"{board.name}.json": json.dumps(board.json(), indent=1) + "\n" for board in DASHBOARDS}
