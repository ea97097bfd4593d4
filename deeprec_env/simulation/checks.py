"""Which settings and arrivals a node can take, and which requests its latency models are not made for."""

from __future__ import annotations

import numpy as np

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.memory import check_memory
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting
from deeprec_env.simulation.arrays import NodeArrays, all_rows
from deeprec_env.workload.stream import Traffic

MOST_QUERIES = 10**10
"""Bound of a run: hours, and what is above days."""

_BYTES_PER_QUERY, _BYTES_PER_REQUEST = 400, 80
"""About what a run takes at its most, where it keeps its records and where it streams a block."""


def check_queries(queries: int) -> int:
    """How many queries a run has; `InputError` for too few to be measured, and for more than anyone waits for."""
    allowed = f"must be at least 1100: the first 1000 are warm-up; and at most {MOST_QUERIES}"
    return whole("queries", queries, 1100, MOST_QUERIES, allowed)


def check_run_memory(scenario: Scenario, queries: int, *, field: str = "queries") -> None:
    """Raise `InputError` for `field` if a run of so many queries, held at once, needs more memory than there is."""
    requests = requests_per_query(scenario)
    value = f"{queries} of {requests:.3g} requests each"
    check_memory(field, value, queries * (_BYTES_PER_QUERY + _BYTES_PER_REQUEST * requests))


def requests_per_query(scenario: Scenario) -> float:
    """Mean requests of a query at all stages, under the settings at the start."""
    items, probability = scenario.workload.sizes.probabilities()
    setting, total = scenario.setting, 0.0
    for stage, most in zip(scenario.stages, scenario.planned_items[setting.plan], strict=True):
        entering = np.minimum(items, most)
        parts = np.ceil(entering / setting.batch_size)
        if stage.whole or stage.cpu is None:
            parts = np.minimum(parts, 1)
        elif stage.accelerator is not None and setting.threshold is not None:
            parts = np.where(entering >= setting.threshold, 1, parts)
        total += float(probability @ parts)
    return total


def check_setting(scenario: Scenario, setting: Setting) -> None:
    """Raise `InputError` for a setting that the scenario's node can't take, or whose controls it does not use."""
    check_possible(scenario, setting)
    defaults = type(scenario.control).model_fields
    for name in FURTHER:
        given, default = getattr(setting, name), defaults[name].default
        if given != default and not scenario.control.uses(name):
            raise InputError(name, given, f"must be {default}: the scenario's control names no other, nor has a ladder")


def check_possible(scenario: Scenario, setting: Setting) -> None:
    """Raise `InputError` for a setting that no control of the scenario's node could make possible.

    It asks for an accelerator or a plan that is not there, or for a latency that no query has.
    """
    if setting.threshold is not None and not scenario.has_accelerator:
        raise InputError("threshold", setting.threshold, "must be null: the scenario has no accelerator")
    if setting.offload == PREDICTED and not scenario.has_accelerator:
        raise InputError("offload", PREDICTED, "must be threshold: the scenario has no accelerator")
    if setting.offload == PREDICTED:
        scenario.check_whole(PREDICTED, "offload")
    if setting.admit_ms is not None:
        scenario.check_whole(setting.admit_ms, "admit_ms")
        scenario.check_limit(setting.admit_ms)
    scenario.plan_index(setting.plan)


def check_rows(scenario: Scenario) -> None:
    """Raise `InputError` for a scenario that compiled code can't serve event by event: a latency is asked in Python."""
    if not all_rows(scenario):
        raise InputError("latency", "of its own base_s", "can't be asked event by event; use engine asyncio")


def check_known(node: NodeArrays, largest: int) -> None:
    """Raise `InputError` for queries that a node which predicts knows no mean service of."""
    most = node.mean_s.shape[-1] - 1
    if not node.decided_on_entry and largest > most:
        raise InputError(
            "items", largest, f"must be at most {most}, those of the largest query of the scenario's sizes"
        )


def check_ahead(ahead: Traffic, now_s: float) -> None:
    """Raise `InputError` for arrivals still to come that lie in the past."""
    if ahead.arrival_s.size and ahead.arrival_s[0] < now_s:
        raise InputError("arrival_s", float(ahead.arrival_s[0]), f"must not lie before the present, {now_s} s")


def warn_beyond(scenario: Scenario, largest: int, setting: Setting) -> None:
    """Let latency models warn of requests that they are not made for, where the largest query has `largest` items."""
    from deeprec_env.simulation.splitting import offloads, stage_rule  # Numba is loaded with the first query

    for position, stage in enumerate(scenario.planned_stages[setting.plan]):
        rule = stage_rule(scenario, position, setting)
        entering = min(largest, rule.most_items)
        items = -(-entering // max(1, min(rule.most_parts, entering)))
        if stage.cpu is not None:
            stage.cpu.latency.warn_beyond(min(items, rule.largest))
        if stage.accelerator is not None and (rule.predicted or offloads(rule, entering)):
            stage.accelerator.latency.warn_beyond(items)
