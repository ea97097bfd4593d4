"""Which settings and arrivals a node can take, and which requests its latency models are not made for."""

from __future__ import annotations

from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload.stream import Traffic


def check_setting(scenario: Scenario, setting: Setting) -> None:
    """Raise `InputError` for a setting that the scenario's node can't take."""
    if setting.threshold is not None and not scenario.has_accelerator:
        raise InputError("threshold", setting.threshold, "must be null: the scenario has no accelerator")
    scenario.plan_index(setting.plan)


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
        if stage.accelerator is not None and offloads(rule, entering):
            stage.accelerator.latency.warn_beyond(items)
