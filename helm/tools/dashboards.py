"""The four dashboards. Each begins with what people notice, and goes on to why."""

import json

from tools.grafana import SELECTED, Dashboard, Panel, Row


def rate(metric, by="", where=""):
    """How often something happens in a second."""
    return f"sum{grouped(by)} (rate({metric}{{{selected(where)}}}[$__rate_interval]))"


def gauge(metric, by="", fold="sum", where=""):
    """What something is now, over all pods."""
    return f"{fold}{grouped(by)} ({metric}{{{selected(where)}}})"


def quantile(share, metric, by="", where=""):
    """The time that a share of something stays under."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le' if by else 'le', where)})"


def spread(metric, where=""):
    """The middle, and the slow end."""
    return {"1 of 2": quantile(0.5, metric, where=where), "99 of 100": quantile(0.99, metric, where=where)}


def share(part, whole):
    """One rate of another: 0 before the first, nothing while there is nothing to have a share of."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def grouped(by):
    return f" by ({by})" if by else ""


def selected(where):
    return f"{SELECTED},{where}" if where else SELECTED


LOGGED = 'stage="logged"'
BACK = 'outcome=~"resumed|missed"'

OVERVIEW = Dashboard("overview", "Overview", "Whether people can call each other, and what is in the way.", [
    Row("What was promised", [
        Panel("Joins that failed", "percentunit", {"": share(rate("switchboard_joins_total", where='outcome="failed"'), rate("switchboard_joins_total"))},
              "On our side; refusals are not counted. Promised: at most 0.1 %.", "stat", (0.001, 0.0144)),
        Panel("Relays, 99 of 100", "s", {"": quantile(0.99, "switchboard_relay_seconds", where=LOGGED)},
              "From a frame read to its place in the room's log. Promised: at most 100 ms.", "stat", (0.1, 0.25)),
        Panel("Resumes that missed something", "percentunit", {"": share(rate("switchboard_resumes_total", where='outcome="missed"'), rate("switchboard_resumes_total", where=BACK))},
              "Came back to a seat whose log had a hole by then. Promised: at most 0.5 %.", "stat", (0.005, 0.072)),
        Panel("REST requests that failed", "percentunit", {"": share(rate("switchboard_http_request_seconds_count", where='status=~"5.."'), rate("switchboard_http_request_seconds_count"))},
              "", "stat", (0.001, 0.01)),
    ], height=4),
    Row("Now", [
        Panel("Nodes", "short", {"": gauge("up", where='job="switchboard-node"')}, kind="stat"),
        Panel("Api pods", "short", {"": gauge("up", where='job="switchboard-api"')}, kind="stat"),
        Panel("Sockets", "short", {"": gauge("switchboard_sockets_open")}, kind="stat"),
        Panel("Participants", "short", {"": gauge("switchboard_sessions")}, kind="stat"),
        Panel("Cluster degraded", "short", {"": gauge("switchboard_cluster_degraded", fold="max")}, "1: Redis does not answer, and clients were told so.", "stat", (0.5, 1)),
        Panel("Facts wait for", "s", {"": gauge("switchboard_outbox_lag_seconds", fold="max")}, "The oldest one that MongoDB does not have yet.", "stat", (60, 900)),
    ], height=4),
    Row("Load", [
        Panel("Joins", "ops", {"{{outcome}}": rate("switchboard_joins_total", "outcome")}),
        Panel("Relays", "ops", {"{{kind}}": rate("switchboard_relays_total", "kind")}),
        Panel("REST", "reqps", {"{{status}}": rate("switchboard_http_request_seconds_count", "status")}),
    ]),
    Row("Pods", [
        Panel("Processor", "percentunit", {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{{{SELECTED}}}[$__rate_interval])"}, "1 is a whole core."),
        Panel("Memory", "bytes", {"{{job}} {{instance}}": f"process_resident_memory_bytes{{{SELECTED}}}"}),
        Panel("Descriptors", "short", {"{{job}} {{instance}}": f"process_open_fds{{{SELECTED}}}"}),
    ]),
])

SIGNALING = Dashboard("signaling", "Signaling", "Sockets, rooms and relays of the nodes.", [
    Row("Sockets", [
        Panel("Open", "short", {"{{instance}}": gauge("switchboard_sockets_open", "instance")}),
        Panel("Opened", "ops", {"opened": rate("switchboard_sockets_opened_total")}),
        Panel("Closed, by reason", "ops", {"{{reason}}": rate("switchboard_sockets_closed_total", "reason")}),
        Panel("Handshakes refused", "ops", {"{{reason}}": rate("switchboard_handshakes_refused_total", "reason")}),
    ]),
    Row("Rooms", [
        Panel("Participants", "short", {"{{instance}}": gauge("switchboard_sessions", "instance")}),
        Panel("Rooms", "short", {"{{instance}}": gauge("switchboard_rooms", "instance")}, "With somebody on this node; a room counts on each of its nodes."),
        Panel("Joins, time", "s", spread("switchboard_join_seconds")),
        Panel("Resumes", "ops", {"{{outcome}}": rate("switchboard_resumes_total", "outcome")}, "fresh: away for too long. missed: the log had a hole."),
    ]),
    Row("Relays", [
        Panel("Handed on", "s", spread("switchboard_relay_seconds", 'stage="received"'), "From a frame read to the queue for Redis."),
        Panel("Logged", "s", spread("switchboard_relay_seconds", LOGGED), "From a frame read to its place in the room's log: what the sender waits for.", limits=(0.1, 0.25)),
        Panel("Delivered", "s", spread("switchboard_relay_seconds", 'stage="delivered"'), "From the log to the receiver's socket, by two clocks."),
        Panel("Queued for slow sockets", "bytes", {"{{instance}}": gauge("switchboard_outbox_queued_bytes", "instance")}),
    ]),
    Row("Refusals", [
        Panel("Refused, by code", "ops", {"{{code}}": rate("switchboard_refusals_total", "code")}),
        Panel("Over their rate", "ops", {"events": rate("switchboard_events_rate_limited_total")}),
        Panel("Too slow to read", "ops", {"closed": rate("switchboard_outbox_overflows_total"), "coming back": rate("switchboard_delivery_buffer_overflows_total")}),
        Panel("Hand-overs between nodes", "ops", {"{{outcome}}": rate("switchboard_handovers_total", "outcome")}),
    ]),
    Row("The cluster", [
        Panel("Canary", "s", spread("switchboard_canary_seconds"), "A node publishes to itself in each partition; the time until it hears it."),
        Panel("Silent partitions", "short", {"{{instance}}": gauge("switchboard_canary_silent_partitions", "instance")}, limits=(1, 2)),
        Panel("Subscription", "ops", {"gaps, {{cause}}": rate("switchboard_subscription_gaps_total", "cause"), "reconnects": rate("switchboard_bus_reconnects_total")}),
        Panel("Nodes", "ops", {"buried": rate("switchboard_nodes_buried_total"), "swept alive": rate("switchboard_swept_total"), "seats taken again, {{outcome}}": rate("switchboard_reseats_total", "outcome")}),
        Panel("Moved off", "ops", {"{{instance}}": rate("switchboard_drained_sessions_total", "instance"), "draining": gauge("switchboard_draining")}, "While nodes go away."),
    ]),
])

API = Dashboard("api", "API", "REST, passwords, limits, and the recorder.", [
    Row("Requests", [
        Panel("By status", "reqps", {"{{status}}": rate("switchboard_http_request_seconds_count", "status")}),
        Panel("By route", "reqps", {"{{method}} {{route}}": rate("switchboard_http_request_seconds_count", "method, route")}),
        Panel("Time", "s", spread("switchboard_http_request_seconds")),
        Panel("99 of 100, by route", "s", {"{{route}}": quantile(0.99, "switchboard_http_request_seconds", "route")}, limits=(0.5, 1)),
    ]),
    Row("People", [
        Panel("Passwords that wait", "short", {"{{instance}}": gauge("switchboard_password_queue", "instance")}),
        Panel("Password, time", "s", {"{{work}}": quantile(0.99, "switchboard_password_seconds", "work")}),
        Panel("Refused", "ops", {"passwords": rate("switchboard_password_refused_total"), "over the rate, {{class}}": rate("switchboard_rate_limited_total", "class"), "let through unchecked, {{class}}": rate("switchboard_rate_limit_open_total", "class")}),
        Panel("New", "ops", {"accounts": rate("switchboard_users_registered_total"), "calls": rate("switchboard_calls_created_total")}),
        Panel("Revoked sign-ins", "short", {"{{job}} {{instance}}": gauge("switchboard_revoked_sign_ins", "job, instance"), "not read, {{instance}}": rate("switchboard_revocations_stale_total", "instance")}),
    ]),
    Row("The recorder", [
        Panel("Facts wait for", "s", {"oldest": gauge("switchboard_outbox_lag_seconds", fold="max")}, limits=(60, 900)),
        Panel("Facts that wait", "short", {"all": gauge("switchboard_outbox_facts", fold="max")}),
        Panel("Recorded", "ops", {"{{kind}}": rate("switchboard_facts_recorded_total", "kind"), "put aside": rate("switchboard_dead_facts_total")}),
        Panel("Partitions owned", "short", {"{{instance}}": gauge("switchboard_recorder_partitions_owned", "instance")}, "Together as many as there are, 64 by default."),
        Panel("Webhooks", "ops", {"{{outcome}}": rate("switchboard_webhooks_total", "outcome")}),
        Panel("Webhooks wait for", "s", {"{{receiver}}": gauge("switchboard_webhook_lag_seconds", "receiver", "max")}),
    ]),
])

DEPENDENCIES = Dashboard("dependencies", "Dependencies", "Redis and MongoDB, as the pods see them.", [
    Row("Redis", [
        Panel("Degraded", "short", {"{{instance}}": gauge("switchboard_cluster_degraded", "instance")}, limits=(0.5, 1)),
        Panel("A pipeline's round trip", "s", spread("switchboard_redis_pipeline_seconds"), limits=(0.05, 0.1)),
        Panel("Calls in a pipeline", "short", spread("switchboard_redis_lane_batch_size"), "More with load: that is what keeps Redis going."),
        Panel("Memory used", "percentunit", {"fullest": gauge("switchboard_redis_memory_used_ratio", fold="max")}, "Of maxmemory, on the fullest shard. When full it refuses every event.", limits=(0.6, 0.8)),
    ]),
    Row("Calls", [
        Panel("By script", "ops", {"{{script}}": rate("switchboard_redis_calls_total", "script")}),
        Panel("Not answered at once", "ops", {"{{script}}, {{outcome}}": rate("switchboard_redis_calls_total", "script, outcome", 'outcome!="answered"')}),
        Panel("That wait", "short", {"{{instance}}": gauge("switchboard_redis_lane_queue_depth", "instance")}),
        Panel("Refused", "ops", {"{{reason}}": rate("switchboard_redis_lane_refused_total", "reason")}),
        Panel("Connections", "ops", {"made again": rate("switchboard_redis_lane_reconnects_total"), "masters changed": rate("switchboard_redis_takeovers_total")}),
    ]),
    Row("MongoDB", [
        Panel("Calls", "ops", {"{{operation}}": rate("switchboard_mongodb_seconds_count", "operation")}),
        Panel("Not in order", "ops", {"{{operation}}, {{outcome}}": rate("switchboard_mongodb_seconds_count", "operation, outcome", 'outcome!="ok"')}),
        Panel("Time", "s", spread("switchboard_mongodb_seconds")),
        Panel("99 of 100, by operation", "s", {"{{operation}}": quantile(0.99, "switchboard_mongodb_seconds", "operation")}),
    ]),
])

DASHBOARDS = [OVERVIEW, SIGNALING, API, DEPENDENCIES]


def files():
    """Name and text of each dashboard's file."""
    return {f"{board.name}.json": json.dumps(board.json(), indent=1) + "\n" for board in DASHBOARDS}
