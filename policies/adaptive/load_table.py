"""A table of the best settings by load, found off-line, and the policy that looks the measured rate up in it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.envs.observation import FIELDS
from deeprec_env.policies.fixed.refine import leaders, saturation_rates
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Capacity, Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import QueryStream, episode_seed

LEVELS = tuple(round(0.05 * step, 2) for step in range(2, 22))
"""Load levels, as shares of the scenario's capacity: 0.1, 0.15, ... 1.05."""

KEPT = 12
"""Settings that a level ranks on more queries than the first round's."""

MEMORY = 0.5
"""Weight of the past in the smoothed rate. A window of 200 queries measures its rate to 7 %: too coarse for levels
5 % apart. Chosen on validation streams of wnd and dlrm-rmc3, where it betters the day metric and holds capacity."""


@dataclass(frozen=True)
class LoadTable:
    """By load level the best settings, best first. `scenario` is the one it was found for, with its capacity."""

    scenario: Scenario
    ranking: tuple[tuple[Setting, ...], ...]
    queries_used: int

    @property
    def unit_qps(self) -> float:
        """The rate of load 1."""
        assert self.scenario.capacity is not None
        return self.scenario.capacity.qps

    def indices(self, loads: Floats) -> NDArray[np.int64]:
        """Index of the lowest level at or above each load (the last beyond them all): (n,) for (n,)."""
        return np.minimum(np.searchsorted(LEVELS, np.asarray(loads) - 1e-9), len(LEVELS) - 1)


_remembered: deque[tuple[tuple[Scenario, int, int, str], LoadTable]] = deque(maxlen=4)


def find_load_table(scenario: Scenario, *, queries: int, seed: int, engine: str) -> LoadTable:
    """The table of a scenario, remembered: policies that share it find it once, and each names its whole cost."""
    asked = (scenario, queries, seed, engine)
    for known, table in _remembered:
        if known == asked:
            return table
    table = _find(*asked)
    _remembered.append((asked, table))
    return table


def _find(scenario: Scenario, queries: int, seed: int, engine: str) -> LoadTable:
    """Rank the ladders' settings by p95 at the stationary rate of every level, on the validation stream of `seed`.

    All settings that can carry the rate run some 1000 + `queries` / 4 queries, the best `KEPT` of them 1000 +
    `queries`, under common random numbers. A level that no setting can carry takes the ranking of the one below.
    """
    known, used = (scenario, 0) if scenario.capacity else _with_capacity(scenario, queries, seed, engine)
    assert known.capacity is not None

    def p95_s(setting: Setting, count: int) -> float:
        nonlocal used
        used += count
        chosen = at_level.with_setting(setting)
        latency_s = run(chosen, QueryStream(chosen.workload, child).draw(count), engine=engine).latency_s
        return float(np.percentile(latency_s[warmup_queries(count) :], 95))

    largest, child = saturation_rates(known), episode_seed(seed, "validation")
    by_capacity = sorted(largest, key=lambda setting: -largest[setting])
    rounds = [(1000 + max(100, queries // 4), KEPT), (1000 + queries, KEPT)]
    ranking: list[tuple[Setting, ...]] = []
    for level in LEVELS:
        qps = level * known.capacity.qps
        at_level = with_options(known, qps=qps)
        able = [setting for setting, most_qps in largest.items() if most_qps > qps]
        if able:
            ranking.append(tuple(leaders(able, p95_s, rounds)))
        else:
            ranking.append(ranking[-1] if ranking else tuple(by_capacity[:KEPT]))
    return LoadTable(known, tuple(ranking), used)


def _with_capacity(scenario: Scenario, queries: int, seed: int, engine: str) -> tuple[Scenario, int]:
    """The scenario with the capacity of its own settings, the unit of levels and measured rates; and its cost."""
    found = find_capacity(scenario, queries=max(queries, 1100), seed=seed, engine=engine, p95_only=False)
    control = scenario.control
    qps = found.qps or max(saturation_rates(scenario).values())  # out of reach: the highest rate without overload
    capacity = Capacity(
        qps=qps, batch_size=control.batch_size, threshold=control.threshold, found_by="deeprec capacity"
    )
    return scenario.replace(capacity=capacity), found.queries_used


class LoadTablePolicy:
    """Each window, the table's best setting for the level at or above the measured rate, smoothed over the windows.

    The rate is the observation's (`offered`). The level above it leaves room for the rate to rise until the next
    window. In the first window, when nothing has been measured, the setting is that of the highest level, the safest.
    """

    def __init__(self, table: LoadTable) -> None:
        self._table = table
        self._actions = np.array([table.scenario.action(best[0]) for best in table.ranking], dtype=np.int64)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` holds the smoothed loads, (n,), infinite before the first."""
        observed = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        measured = observed[:, FIELDS.index("offered")]
        first = np.ones(len(observed), dtype=bool) if state is None else np.zeros(len(observed), dtype=bool)
        if episode_start is not None:
            first = first | np.asarray(episode_start, dtype=bool)
        past = np.full(len(observed), np.inf) if state is None else np.asarray(state)
        known = np.isfinite(past) & ~first
        load = np.where(known, MEMORY * np.where(known, past, 0.0) + (1.0 - MEMORY) * measured, measured)
        load = np.where(first, np.inf, load)
        actions = self._actions[self._table.indices(load)]
        return (actions if np.ndim(observation) == 2 else actions[0]), load
