"""The day of a scenario that gives no capacity, built from that of its best setting."""

from __future__ import annotations

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.analysis.day import day_of, remembered_capacity
from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation.day_metrics import DayRuns, day_metrics
from deeprec_env.policies.fixed.grid_day import grid_day
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.scenario.schema import Capacity, Scenario
from deeprec_env.sources import RESULTS
from deeprec_env.workload.diurnal import Diurnal

DAYS = 4
"""Validation days of a search for the best setting."""

CLOSE = 0.02
"""A day that is so much of itself as the one before has the best setting that it was built from."""

MOST_ROUNDS = 5

_FIRST = 0.6
"""Of the highest rate that no pool is overloaded by: the capacity that the first day is built from."""


def with_best_day(scenario: Scenario, *, engine: str = "compiled") -> Scenario:
    """The scenario with a day of traffic: as it is if it has one, else that of its capacity.

    Where the file holds none, that of its best fixed setting for its own day is found first, and remembered in the
    user's cache folder. The capacity of the settings that a file happens to start with can be a third of it, and a day
    that is built from that tests nothing.
    """
    if isinstance(scenario.workload.arrivals, Diurnal):
        return scenario
    if scenario.capacity is not None:
        return day_of(scenario, scenario.capacity)
    found = remembered_capacity(
        scenario, "best-capacity", (*RESULTS, "policies"), lambda: best_capacity(scenario, engine=engine)
    )
    return day_of(scenario, found)


def best_capacity(scenario: Scenario, *, engine: str = "compiled") -> Capacity:
    """The capacity of the best fixed setting for the day that is built from it.

    Day and setting depend on one another: a day is built from a first guess, then from the capacity of the setting that
    grid-day finds for it, until that does not move the day any more, or `MOST_ROUNDS` times. Raises `InputError` where
    that setting holds no rate.
    """
    guess = Capacity(
        qps=_FIRST * max(saturation_rates(scenario).values()),
        batch_size=scenario.control.batch_size,
        threshold=scenario.control.threshold,
        found_by="the work of a mean query",
    )
    for _ in range(MOST_ROUNDS):
        day = day_of(scenario, guess)
        days = DayRuns(day, day_metrics, seeds=range(DAYS), split="validation", engine=engine)
        setting = grid_day(day, days, lambda what: None)
        found = find_capacity(scenario.with_setting(setting), engine=engine, p95_only=False, confirm=False)
        if found.qps == 0.0:
            raise InputError("sla_ms", scenario.sla_ms, "is out of reach of the best settings even on an idle node")
        before, guess = (
            guess,
            Capacity(
                qps=found.qps,
                batch_size=setting.batch_size,
                threshold=setting.threshold,
                found_by="deeprec capacity of the best setting for its day",
            ),
        )
        if abs(guess.qps - before.qps) <= CLOSE * before.qps:
            break
    return guess
