"""Tables by load over further controls: all of them by successive halving, or predicted offload with a batch size.

Successive halving (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016): all candidates get a small run, the
better ones a longer one, and so on. Not all levels go through the whole space: the `ANCHORS` do, and a level between
two of them chooses among the best of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.policies.adaptive.load_table import KEPT
from deeprec_env.policies.adaptive.load_table_p99 import first_setting
from deeprec_env.policies.adaptive.rate_table import ALL_LEVELS, RateTable
from deeprec_env.policies.adaptive.stationary import Outcome, StationaryRuns, halved
from deeprec_env.policies.base import Progress
from deeprec_env.progress import Step, part
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting

ANCHORS = (0.15, 0.4, 0.65, 0.85, 1.0, 1.35)
"""Load levels at which all settings are tried."""

FROM_ANCHOR = 16
"""Settings of an anchor that the levels beside it choose from."""

_QUARTER = 4
"""A round keeps one of so many, and the next one's runs are twice as long."""


def all_settings(scenario: Scenario) -> list[Setting]:
    """Every choice of the ladders of `V2_CONTROLS`, admission limits from the most permissive on."""
    *ladders, limits = [scenario.ladders[control] for control in V2_CONTROLS]
    ladders.append(tuple(sorted(limits, key=lambda limit: (limit is not None, -(limit or 0.0)))))
    return [scenario.setting.at(**dict(zip(V2_CONTROLS, levels, strict=True))) for levels in product(*ladders)]


def predicted_settings(scenario: Scenario) -> list[Setting]:
    """Every batch size with offloading by prediction (none without accelerator), nothing else changed."""
    levels = scenario.ladders["offload"]
    offload = PREDICTED if PREDICTED in levels else levels[-1]
    return [
        scenario.setting.at(batch_size=size, offload=offload, order="fcfs", admit_ms=None)
        for size in scenario.control.batch_sizes
    ]


def find_control_table(
    runs: StationaryRuns, settings: Sequence[Setting], queries: int, progress: Progress
) -> RateTable:
    """The table over the whole space; the first round's runs have `queries` / 40 queries, the last ones' `queries` / 5.

    Ties go to the earlier of `settings`.
    """
    used, lengths = runs.queries_used, [max(400, queries // 40 * 2**step) for step in range(4)]
    at_anchor: dict[float, list[Setting]] = {}
    for number, anchor in enumerate(ANCHORS):
        told = part(progress, 0.7 * number / len(ANCHORS), 0.7 * (number + 1) / len(ANCHORS))
        kept, rounds = len(settings), []
        for length in lengths:
            kept = max(FROM_ANCHOR, kept // _QUARTER)
            rounds.append((length, kept))
        at_anchor[anchor] = list(_at(runs, anchor, settings, rounds, told))[:FROM_ANCHOR]
    ranking = []
    for number, level in enumerate(ALL_LEVELS):
        told = part(progress, 0.7 + 0.3 * number / len(ALL_LEVELS), 0.7 + 0.3 * (number + 1) / len(ALL_LEVELS))
        near = list(dict.fromkeys(setting for anchor in _beside(level) for setting in at_anchor[anchor]))
        ranking.append(tuple(_at(runs, level, near, [(lengths[-2], KEPT), (lengths[-1], KEPT)], told)))
    first = first_setting(runs, ALL_LEVELS, ranking, queries)
    return RateTable(ALL_LEVELS, tuple(ranking), first, runs.queries_used - used)


def find_small_table(runs: StationaryRuns, settings: Sequence[Setting], queries: int, progress: Progress) -> RateTable:
    """The table over a few settings: every level tries all on `queries` / 10, and the best on `queries` / 5."""
    used, ranking = runs.queries_used, []
    rounds = [(max(500, queries // 10), 4), (max(1000, queries // 5), 4)]
    for number, level in enumerate(ALL_LEVELS):
        told = part(progress, number / len(ALL_LEVELS), (number + 1) / len(ALL_LEVELS))
        ranking.append(tuple(_at(runs, level, settings, rounds, told)))
    first = first_setting(runs, ALL_LEVELS, ranking, queries)
    return RateTable(ALL_LEVELS, tuple(ranking), first, runs.queries_used - used)


def _at(
    runs: StationaryRuns,
    load: float,
    settings: Sequence[Setting],
    rounds: Sequence[tuple[int, int]],
    progress: Progress,
) -> dict[Setting, Outcome]:
    """The best settings at a load, best first."""
    done, most = 0, len(settings) + sum(min(kept, len(settings)) for _, kept in rounds[:-1])

    def measure(setting: Setting, count: int) -> Outcome:
        nonlocal done
        if done % 50 == 0:
            progress(Step(f"load {load:g}, {count} queries each", done / most))
        done += 1
        return runs.outcome(setting, load, count)

    return halved(settings, measure, rounds)


def _beside(level: float) -> list[float]:
    """The anchors next to a level: that below or at it and that above or at it, where there are such."""
    below = [anchor for anchor in ANCHORS if anchor <= level][-1:]
    above = [anchor for anchor in ANCHORS if anchor >= level][:1]
    return list(dict.fromkeys(below + above))
