"""DeepRecSched inside `DeepRec/Capacity-v0`: the searches of the two schedulers, measuring on the server they tune."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.capacity_task import HIGHEST, LOWEST, STEP
from deeprec_env.envs.observation import CAPACITY_FIELDS
from deeprec_env.policies.fixed.deeprecsched import ClimbOptions, deeprecsched
from deeprec_env.policies.fixed.deeprecsched_repository import RepositoryOptions, deeprecsched_repository
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

SCHED_TIMEOUT = 64
"""Windows that a setting is tried for: enough for the load to cross its grid."""

ARR_STEPS = 16
"""The last of them, whose loads are its result: a quarter, as in the repository's scripts (32 of 128)."""

LONGEST_WAIT = 64
"""Windows that the last setting's backlog may take to drain before the trial of the next one begins nonetheless. The
repository starts its server anew for each setting; here there is one server, which goes on."""

_P95, _LOAD = CAPACITY_FIELDS.index("p95"), CAPACITY_FIELDS.index("load")


@dataclass(frozen=True)
class Tried:
    """A setting and the median load of its last windows, relative to the reference."""

    setting: Setting
    qps: float


@dataclass(frozen=True)
class Progressing:
    """What a search remembers: the results so far, and of the setting now tried how many windows it has waited and the
    loads that it has met since, as places on the grid."""

    results: tuple[Tried, ...] = ()
    waited: int = 0
    loads: tuple[float, ...] = ()


class _Untried(Exception):
    """A search asks for the result of a setting that has not been tried."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.setting = setting


class _Notebook:
    """The results so far, as the searches ask for them: by values that need not be levels of the ladders."""

    def __init__(self, scenario: Scenario, results: tuple[Tried, ...]) -> None:
        self._scenario, self._results = scenario, results

    def capacity(self, setting: Setting) -> Tried:
        """The result of the levels nearest to a setting."""
        near = nearest(self._scenario, setting)
        for tried in self._results:
            if tried.setting == near:
                return tried
        raise _Untried(near)

    def median_gap_s(self, setting: Setting) -> float:
        """The same as a gap, in gaps at the reference."""
        return 1.0 / self.capacity(setting).qps


Search = Callable[[Scenario, _Notebook], Setting]

SEARCHES: dict[str, Search] = {
    "deeprecsched": lambda scenario, notes: deeprecsched(scenario, notes, lambda what: None, ClimbOptions()),
    "deeprecsched-repository": lambda scenario, notes: deeprecsched_repository(
        scenario, notes, lambda what: None, RepositoryOptions()
    ),
}
"""Searches by name: (scenario, results so far) -> the setting found, or `_Untried`."""


class LiveSearch:
    """Tries the settings that a search asks for, `SCHED_TIMEOUT` windows each, then stays with the one it finds.

    They count from the first window after one whose p95 met the target, or after `LONGEST_WAIT` others. The result of
    a setting is the median load of its last `ARR_STEPS` windows, which the observation tells. Values off the ladders
    stand for their nearest levels. The search starts anew from its results at every window, so that what is remembered
    between windows are results alone.
    """

    def __init__(self, scenario: Scenario, search: str) -> None:
        self._scenario, self._search = scenario, SEARCHES[search]

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` holds a `Progressing` for each."""
        seen = np.atleast_2d(observation)[:, [_P95, _LOAD]].tolist()
        before = [Progressing()] * len(seen) if state is None else list(state)
        starts = np.broadcast_to(False if episode_start is None else episode_start, len(seen))
        before = [Progressing() if first else each for each, first in zip(before, starts, strict=True)]
        pairs = [self._next(each, *measured) for each, measured in zip(before, seen, strict=True)]
        actions = np.array([self._scenario.action(setting) for setting, _ in pairs], dtype=np.int64)
        return (actions if np.ndim(observation) == 2 else actions[0]), [after for _, after in pairs]

    def found(self, progressing: Progressing) -> Setting | None:
        """The setting that the search has settled on; None while it is still trying."""
        setting, settled = self._asked(progressing.results)
        return setting if settled else None

    def _next(self, before: Progressing, p95: float, load: float) -> tuple[Setting, Progressing]:
        """The setting for the window to come, whose load is known, after one of that p95 in the target."""
        setting, settled = self._asked(before.results)
        if not settled and len(before.loads) == SCHED_TIMEOUT:
            qps = STEP ** (LOWEST + float(np.median(before.loads[-ARR_STEPS:])) * (HIGHEST - LOWEST))
            before = Progressing((*before.results, Tried(setting, qps)))
            setting, settled = self._asked(before.results)
        if settled:
            return setting, before
        if not before.loads and p95 > 1.0 and before.waited < LONGEST_WAIT:
            return setting, replace(before, waited=before.waited + 1)
        return setting, replace(before, loads=(*before.loads, load))

    def _asked(self, results: tuple[Tried, ...]) -> tuple[Setting, bool]:
        """The setting that the search wants tried next, or has settled on, and which of the two."""
        try:
            found = self._search(self._scenario, _Notebook(self._scenario, results))
        except _Untried as untried:
            return untried.setting, False
        return nearest(self._scenario, found), True


def nearest(scenario: Scenario, setting: Setting) -> Setting:
    """The levels of the ladders nearest to a setting, by ratio."""
    batch_size = min(scenario.control.batch_sizes, key=lambda level: abs(math.log(level / setting.batch_size)))
    levels = [level for level in scenario.thresholds if level is not None]
    threshold = scenario.thresholds[-1] if None not in scenario.thresholds else None
    if setting.threshold is not None and levels:
        wanted = setting.threshold
        threshold = min(levels, key=lambda level: abs(math.log(level / wanted)))
    return setting.replace(batch_size=batch_size, threshold=threshold)
