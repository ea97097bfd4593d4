"""The best fixed setting for capacity, by exhaustive search."""

from __future__ import annotations

from deeprec_env.analysis.capacity import CapacityEstimate, rate_limit
from deeprec_env.policies.base import Progress
from deeprec_env.policies.fixed.capacity_meter import CapacityMeter
from deeprec_env.progress import Step, part
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

MOST_EFFORT = 16
"""Times the queries of the first round that the last round runs at a rate."""

_GROWTH = 4
_ROUND_ENDS = (0.4, 0.6, 1.0)  # shares of the work that are done after each round, about
_MARGIN = 0.02  # a setting so far below the best found in the first round is out, unmeasured


def grid_capacity(scenario: Scenario, meter: CapacityMeter, progress: Progress) -> Setting:
    """The setting of highest capacity of all batch sizes and thresholds on the ladders.

    The first round goes through them by falling bound (see `rate_limit`). A setting whose bound is
    below the best capacity so far can't win, nor can those after it; one that fails well below the best is dropped on
    that first probe. The others run on the same traffic with four times the queries in every round, and of them those
    whose interval overlaps the leader's stay, until one is left or the last round is done: then the highest value wins,
    of equal ones the first on the ladders. What the last round's intervals can't tell apart is a tie.
    """
    leaders = _first_round(scenario, meter, part(progress, 0.0, _ROUND_ENDS[0]))
    effort, last = 1, 0
    while len(leaders) > 1 and effort < MOST_EFFORT:
        leaders = _overlapping(leaders)
        effort *= _GROWTH
        in_round, last = part(progress, _ROUND_ENDS[last], _ROUND_ENDS[last + 1]), last + 1
        for step, setting in enumerate(leaders):
            words = f"{len(leaders)} left: batch size {setting.batch_size}, threshold {setting.threshold}"
            in_round(Step(words, step / len(leaders)))
            leaders[setting] = meter.find(setting, effort=effort)
    return max(leaders, key=lambda setting: leaders[setting].qps)


def _first_round(scenario: Scenario, meter: CapacityMeter, progress: Progress) -> dict[Setting, CapacityEstimate]:
    """Capacities of the settings that are not clearly worse than the best, in the order of the ladders."""
    ladder = scenario.settings()
    bounds = {setting: rate_limit(scenario.with_setting(setting))[0] for setting in ladder}
    best, found = 0.0, {}
    for step, setting in enumerate(sorted(ladder, key=lambda setting: -bounds[setting])):
        if bounds[setting] <= (1.0 - _MARGIN) * best:
            break
        progress(Step(f"batch size {setting.batch_size}, threshold {setting.threshold}", step / len(ladder)))
        found[setting] = meter.find(setting, at_least=(1.0 - _MARGIN) * best)
        best = max(best, found[setting].qps)
    return {setting: found[setting] for setting in ladder if setting in found}


def _overlapping(found: dict[Setting, CapacityEstimate]) -> dict[Setting, CapacityEstimate]:
    leader = max(found.values(), key=lambda capacity: capacity.qps)
    lowest = leader.qps_ci[0] if leader.qps_ci else 0.0
    return {
        setting: capacity
        for setting, capacity in found.items()
        if capacity is leader or (capacity.qps_ci is not None and capacity.qps_ci[1] >= lowest)
    }
