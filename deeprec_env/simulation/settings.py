"""Which settings and arrivals a node can take."""

from __future__ import annotations

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS, Threshold
from deeprec_env.scenario.schema import Scenario
from deeprec_env.workload.stream import Traffic


def check_settings(scenario: Scenario, batch_size: int, threshold: Threshold, plan: int) -> None:
    """Raise `InputError` for settings that the scenario's node can't take."""
    if not 1 <= batch_size <= MOST_ITEMS:
        raise InputError("batch_size", batch_size, f"must be at least 1 and at most {MOST_ITEMS}")
    if threshold is not None and not 1 <= threshold <= MOST_ITEMS:
        raise InputError("threshold", threshold, f"must be at least 1 and at most {MOST_ITEMS}, or null for never")
    if threshold is not None and not scenario.has_accelerator:
        raise InputError("threshold", threshold, "must be null: the scenario has no accelerator")
    scenario.plan_index(plan)


def check_ahead(ahead: Traffic, now_s: float) -> None:
    """Raise `InputError` for arrivals still to come that lie in the past."""
    if ahead.arrival_s.size and ahead.arrival_s[0] < now_s:
        raise InputError("arrival_s", float(ahead.arrival_s[0]), f"must not lie before the present, {now_s} s")


def warn_beyond(scenario: Scenario, largest: int, batch_size: int, threshold: Threshold, plan: int) -> None:
    """Let latency models warn of requests that they are not made for, where the largest query has `largest` items."""
    for stage, most in zip(scenario.planned_stages[plan], scenario.planned_items[plan], strict=True):
        items = min(largest, most)
        items = -(-items // max(1, min(scenario.sub_batches, items, scenario.fewest_items[plan])))
        if stage.cpu is not None:
            stage.cpu.latency.warn_beyond(items if stage.whole else min(items, batch_size))
        if stage.accelerator is not None and (stage.cpu is None or (threshold is not None and largest >= threshold)):
            stage.accelerator.latency.warn_beyond(items)
