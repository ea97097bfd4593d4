"""The champion: the classical controllers put together as validation days say, the state of the art to beat.

What is combined: a table by load (`load-table-p99`, predicted offload, all controls, formulas), who is refused (as the
table says; besides, whoever would miss the target; or by target delay) and how the table is read (memory, headroom,
rate or work). First table and refusal are chosen together, then the reading, one thing after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.policies.adaptive.rate_table import Lookup, RateTable, RateTablePolicy
from deeprec_env.policies.adaptive.stationary import Outcome, halved, ranked
from deeprec_env.policies.adaptive.target_delay import TargetDelayPolicy
from deeprec_env.policies.base import Policy, Progress
from deeprec_env.progress import Step
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

REFUSALS = ("as-table", "all-late", "target-delay")
"""Who is refused: as the table says; besides, at any load, whoever is predicted to miss the target; by target delay."""

FIRST_DAYS, ALL_DAYS = 2, 8
"""Validation days that every combination runs, and the best `FINALISTS`."""

FINALISTS = 4

READINGS: tuple[dict[str, float | bool], ...] = (
    {"memory": 0.3},
    {"memory": 0.7},
    {"headroom": 1.05},
    {"by_work": True},
)
"""Other ways to read the table, tried in this order, each beside the best so far."""


@dataclass(frozen=True)
class Combination:
    """A table's name, a word of `REFUSALS`, and how the table is read."""

    table: str
    refusal: str
    lookup: Lookup = field(default_factory=Lookup)

    @property
    def in_words(self) -> str:
        """For a table."""
        lookup = self.lookup
        words = f"{self.table}, {self.refusal}, memory {lookup.memory:g}, headroom {lookup.headroom:g}"
        return words + (", by work" if lookup.by_work else "")


class ChampionPolicy:
    """The policy of a combination, which says what it is."""

    def __init__(self, combination: Combination, policy: Policy) -> None:
        self._policy, self.in_words = policy, combination.in_words

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The combination's action and state."""
        return self._policy.predict(observation, state, episode_start, deterministic)


def combined(combination: Combination, table: RateTable, scenario: Scenario) -> Policy:
    """The policy of a combination; `table` is the one that it names."""
    limits = [limit for limit in scenario.ladders["admit_ms"] if limit is not None and limit <= scenario.sla_ms]
    if combination.refusal == "all-late" and limits:
        table = _with_limit(table, max(limits))
    policy = RateTablePolicy(table, scenario, V2_CONTROLS, combination.lookup)
    return TargetDelayPolicy(policy, scenario) if combination.refusal == "target-delay" else policy


def find_champion(
    tables: Mapping[str, RateTable],
    scenario: Scenario,
    judge: Callable[[Policy, int], Outcome],
    progress: Progress,
    days: int = ALL_DAYS,
) -> Combination:
    """The best combination; `judge` says what came of a policy on so many validation days.

    They are ranked by goodput first, then by the day metric (`stationary.ranked`).
    """
    first_days, most = min(FIRST_DAYS, days), len(tables) * len(REFUSALS) + FINALISTS + len(READINGS)
    done = 0

    def outcome(combination: Combination, count: int) -> Outcome:
        nonlocal done
        words = f"{combination.table}, {combination.refusal}, {count} days"
        progress(Step(words, done / most))
        done += 1
        return judge(combined(combination, tables[combination.table], scenario), count)

    found = _halved_on_days([Combination(*each) for each in product(tables, REFUSALS)], outcome, (first_days, days))
    best = next(iter(found))
    known = found[best]
    for reading in READINGS:
        other = replace(best, lookup=replace(best.lookup, **reading))  # type: ignore[arg-type]
        of_other = outcome(other, days)
        if ranked({best: known, other: of_other})[0] == other:
            best, known = other, of_other
    return best


def _halved_on_days(
    combinations: Sequence[Combination], outcome: Callable[[Combination, int], Outcome], days: tuple[int, int]
) -> dict[Combination, Outcome]:
    first, all_of_them = days
    queries_a_day = 10_000  # about: far more than what ties are widened for
    return halved(
        combinations,
        lambda combination, queries: outcome(combination, queries // queries_a_day),
        [(first * queries_a_day, FINALISTS), (all_of_them * queries_a_day, 1)],
    )


def _with_limit(table: RateTable, limit_ms: float) -> RateTable:
    """The table with an admission limit wherever it has none."""

    def limited(setting: Setting) -> Setting:
        return setting if setting.admit_ms is not None else setting.replace(admit_ms=limit_ms)

    ranking = tuple(tuple(limited(setting) for setting in best) for best in table.ranking)
    return replace(table, ranking=ranking, first=limited(table.first))
