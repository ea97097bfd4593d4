"""A run's verdict for a reader: an undecided one with its reason."""

from __future__ import annotations

import math

from deeprec_env.fleet.result import FleetResult
from deeprec_env.simulation.simulate import Result


def verdict_in_words(result: Result | FleetResult) -> str:
    """The verdict; of one that is undecided, which interval holds its limit, and what would decide it."""
    if result.verdict != "undecided":
        return result.verdict
    scenario, tail = result.scenario, result.tail
    checks = [("p95", tail.p95_ci_s, scenario.sla_s)]
    if scenario.p99_factor is not None:
        checks.append(("p99", tail.p99_ci_s, scenario.p99_factor * scenario.sla_s))
    reasons = []
    for name, (low_s, high_s), limit_s in checks:
        if math.isnan(low_s):
            reasons.append(f"{name} is not known")
        elif math.isinf(high_s):
            reasons.append(f"the interval of {name} is open above: too few queries for so rare a latency")
        elif high_s > limit_s:
            reasons.append(f"the interval of {name} holds its limit of {limit_s * 1e3:g} ms")
    return f"undecided: {'; '.join(reasons)}; more --queries"
