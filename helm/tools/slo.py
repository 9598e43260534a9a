"""monitoring/slos.yaml: for each objective the share that went wrong over several windows, and alerts on how fast its budget burns.

The way of the Google SRE workbook, chapter 5: a budget that lasts 30 days, two windows for each alert, so that it comes early and goes
as soon as the trouble does. Where little goes on a few that fail are a large share, and no trend: an alert wants a number of them, too.
"""

from dataclasses import dataclass

WINDOWS = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"]


@dataclass(frozen=True)
class Objective:
    """What share of something may go wrong: `bad` of `all`, both by `{rate}` over `{window}`; fewer than `few` of them are no alert."""

    name: str
    record: str
    promise: str
    budget: str
    bad: str
    all: str
    few: int


OBJECTIVES = [
    Objective(
        "Joins",
        "switchboard:joins_failed",
        "99.9 % of joins do not fail on our side",
        "0.001",
        'sum by (namespace) ({rate}(switchboard_joins_total{{outcome="failed"}}[{window}]))',
        "sum by (namespace) ({rate}(switchboard_joins_total[{window}]))",
        10,
    ),
    Objective(
        "Relays",
        "switchboard:relays_slow",
        "99 % of relayed events are in the room's log within 100 ms",
        "0.01",
        'sum by (namespace) ({rate}(switchboard_relay_seconds_count{{stage="logged"}}[{window}]))'
        ' - sum by (namespace) ({rate}(switchboard_relay_seconds_bucket{{stage="logged",le="0.1"}}[{window}]))',
        'sum by (namespace) ({rate}(switchboard_relay_seconds_count{{stage="logged"}}[{window}]))',
        # A call of four makes about 110 when it begins.
        100,
    ),
    Objective(
        "Resumes",
        "switchboard:resumes_missed",
        "99.5 % of those who come back to their seat have missed nothing",
        "0.005",
        'sum by (namespace) ({rate}(switchboard_resumes_total{{outcome="missed"}}[{window}]))',
        'sum by (namespace) ({rate}(switchboard_resumes_total{{outcome=~"resumed|missed"}}[{window}]))',
        10,
    ),
]

# Name, severity, and pairs of windows with the rate at which both must burn: 14.4 spends 2 % of the month in an hour, 6 5 % in six
# hours, 3 10 % in a day, 1 10 % in three.
SPEEDS = [
    ("Fast", "critical", [("5m", "1h", "14.4"), ("30m", "6h", "6")], "at this pace the month's budget is gone within days"),
    ("Slow", "warning", [("2h", "1d", "3"), ("6h", "3d", "1")], "at this pace the budget does not last the month"),
]

HEAD = """# The objectives, and how fast their budgets burn. Made from helm/tools/slo.py by `make k8s`; docs/RUNBOOKS.md has the runbooks.
groups:
"""


def rules():
    """The whole file."""
    return HEAD + "".join(group(objective) for objective in OBJECTIVES)


def group(objective):
    """An objective's rules."""
    records = "".join(record(objective, window) for window in WINDOWS)
    alerts = "".join(alert(objective, *speed) for speed in SPEEDS)
    return f"  # {objective.promise}.\n  - name: switchboard-slo-{objective.name.lower()}\n    rules:\n{records}{alerts}"


def record(objective, window):
    """The share that went wrong over a window."""
    bad, every = (what.format(rate="rate", window=window) for what in (objective.bad, objective.all))
    return f"      - record: {objective.record}:ratio_rate{window}\n        expr: ({bad}) / ({every})\n"


def alert(objective, speed, severity, pairs, meaning):
    """An alert on both windows of any pair."""
    name = f"SwitchboardSlo{objective.name}Burn{speed}"
    burns = [f"({burn(objective, short, rate)} and {burn(objective, long, rate)} and {several(objective, long)})" for short, long, rate in pairs]
    expression = "\n            or ".join(burns)
    return f"""      - alert: {name}
        expr: |
          {expression}
        labels: {{severity: {severity}, objective: {objective.name.lower()}}}
        annotations:
          summary: "The promise that {objective.promise} is at risk: {meaning}"
          runbook: docs/RUNBOOKS.md#{name.lower()}
"""


def burn(objective, window, rate):
    """Whether the budget burned faster than that over a window."""
    return f"{objective.record}:ratio_rate{window} > {rate} * {objective.budget}"


def several(objective, window):
    """Whether more than a few went wrong over a window."""
    return f"{objective.bad.format(rate='increase', window=window)} >= {objective.few}"
