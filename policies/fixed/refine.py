"""Searching all settings of the ladders: every one a little, then the leaders ever more thoroughly."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands


def saturation_rates(scenario: Scenario) -> dict[Setting, float]:
    """For every setting of the ladders the rate in queries a second at which its busiest pool is fully loaded."""
    return {
        setting: min(demand.saturation_qps for demand in service_demands(scenario, setting))
        for setting in scenario.settings()
    }


T = TypeVar("T", bound=Hashable)


def leaders(settings: Sequence[T], value: Callable[[T, int], float], rounds: Sequence[tuple[int, int]]) -> list[T]:
    """The settings (or other things) of lowest value, best first.

    `rounds` holds pairs (effort, kept): each round values what is left by `value(setting, effort)` and keeps the best
    `kept`. On common random numbers the small effort of the first round errs alike for all, so that it only has to
    leave the best among many.
    """
    left = list(settings)
    for effort, kept in rounds:
        values = {setting: value(setting, effort) for setting in left}
        left = sorted(left, key=values.__getitem__)[:kept]
    return left
