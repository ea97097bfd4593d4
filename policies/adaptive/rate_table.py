"""A setting for every load, and the policy that looks the measured rate up in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS
from deeprec_env.policies.adaptive.load_table import LEVELS, MEMORY
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

BEYOND = (1.1, 1.2, 1.35, 1.5, 1.75)
"""Levels above those of `LEVELS`, where only who sheds has any goodput."""

ALL_LEVELS = (*LEVELS, *BEYOND)

_OFFERED, _MEAN_ITEMS = FIELDS.index("offered"), FIELDS.index("mean_items")


@dataclass(frozen=True)
class RateTable:
    """By load level, ascending shares of the scenario's capacity, the settings to take, best first.

    `first` is for the first window, when nothing has been measured. `queries_used` is what finding it took.
    """

    levels: tuple[float, ...]
    ranking: tuple[tuple[Setting, ...], ...]
    first: Setting
    queries_used: int

    def indices(self, loads: Floats) -> NDArray[np.int64]:
        """Index of the lowest level at or above each load (the last beyond them all): (n,) for (n,)."""
        return np.minimum(np.searchsorted(self.levels, np.asarray(loads) - 1e-9), len(self.levels) - 1)


@dataclass(frozen=True)
class Lookup:
    """How a table is read: `memory` is the weight of the past in the smoothed load, `headroom` its factor.

    `by_work`: a load is the rate times the mean size of the window's queries (where sizes drift), not the rate alone.
    """

    memory: float = MEMORY
    headroom: float = 1.0
    by_work: bool = False


class RateTablePolicy:
    """Each window, the table's best setting for the level at or above the smoothed load.

    Actions are indices on the scenario's ladders of `controls`.
    """

    def __init__(
        self, table: RateTable, scenario: Scenario, controls: Sequence[str], lookup: Lookup = Lookup()
    ) -> None:
        self.table, self.lookup = table, lookup
        settings = [best[0] for best in table.ranking]
        self._actions = np.array([scenario.action(setting, controls) for setting in settings], dtype=np.int64)
        self._first = np.array(scenario.action(table.first, controls), dtype=np.int64)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` holds the smoothed loads, (n,), NaN before the first."""
        seen = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        past, first = remembered(state, episode_start, len(seen))
        measured = seen[:, _OFFERED] * (seen[:, _MEAN_ITEMS] if self.lookup.by_work else 1.0)
        memory = self.lookup.memory
        load = np.where(np.isnan(past), measured, memory * past + (1.0 - memory) * measured)
        actions = self._actions[self.table.indices(self.lookup.headroom * load)]
        actions = np.where(first[:, None], self._first, actions)
        return (actions if np.ndim(observation) == 2 else actions[0]), np.where(first, np.nan, load)


def remembered(state: Any, episode_start: Any, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    """What a policy's state held for each of `count` observations, NaN where an episode starts; and where one does."""
    past = np.full(count, np.nan) if state is None else np.array(state, dtype=np.float64)
    first = np.full(count, state is None)
    if episode_start is not None:
        first = first | np.broadcast_to(np.asarray(episode_start, dtype=bool), count)
    past[first] = np.nan
    return past, first
