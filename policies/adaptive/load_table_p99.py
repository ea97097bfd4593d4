"""The load table ranked by p95 and p99 together, with a better first window.

As DeepRecSched's off-line tuning, for each load: a batch size and an offload threshold, queries in the order they came,
all of them admitted. `load-table` ranks by p95 alone and begins with the setting of the highest level; this one ranks
as `stationary.ranked` does, and begins with the setting of least regret over the loads up to capacity.
"""

from __future__ import annotations

from deeprec_env.policies.adaptive.load_table import KEPT, LEVELS
from deeprec_env.policies.adaptive.rate_table import RateTable
from deeprec_env.policies.adaptive.stationary import Outcome, StationaryRuns, halved, least_regret
from deeprec_env.policies.base import Progress
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.progress import Step
from deeprec_env.scenario.setting import Setting


def find_load_table_p99(runs: StationaryRuns, queries: int, progress: Progress) -> RateTable:
    """At every level of `load-table` its settings that can carry the rate, on `queries` / 10, the best on all.

    A level that none can carry takes the ranking of the one below.
    """
    most_qps = saturation_rates(runs.scenario)
    by_capacity = sorted(most_qps, key=lambda setting: -most_qps[setting])
    used, found = runs.queries_used, list[tuple[Setting, ...]]()
    for number, level in enumerate(LEVELS):
        progress(Step(f"load {level:g}", number / len(LEVELS)))
        able = [setting for setting, most in most_qps.items() if most > level * runs.unit_qps]

        def measure(setting: Setting, count: int, level: float = level) -> Outcome:
            return runs.outcome(setting, level, count)

        if able:
            found.append(tuple(halved(able, measure, [(max(500, queries // 10), KEPT), (max(1000, queries), KEPT)])))
        else:
            found.append(found[-1] if found else tuple(by_capacity[:KEPT]))
    first = first_setting(runs, LEVELS, found, queries)
    return RateTable(LEVELS, tuple(found), first, runs.queries_used - used)


def first_setting(
    runs: StationaryRuns, levels: tuple[float, ...], ranking: list[tuple[Setting, ...]], queries: int
) -> Setting:
    """Of the best settings of the levels that with the least worst-case regret over the levels up to capacity.

    Neither the safest setting, which is dear on an idle node, nor that of a load which nobody has measured.
    """
    count = max(500, queries // 10)
    bests = list(dict.fromkeys(best[0] for best in ranking))
    loads = [level for level in levels if level <= 1.0]
    return least_regret(bests, lambda setting, load: runs.outcome(setting, load, count), loads)
