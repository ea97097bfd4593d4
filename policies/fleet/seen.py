"""What a policy for fleets reads in an observation, by the names of its entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.fleet_task import FleetTask


class Seen:
    """One observation of a `FleetTask`."""

    def __init__(self, task: FleetTask, observation: NDArray[np.float32]) -> None:
        self._task, self._observation = task, observation

    def of(self, field: str) -> float:
        """An entry."""
        return float(self._observation[self._task.fields.index(field)])

    def by_group(self, field: str) -> NDArray[np.float64]:
        """(groups,) an entry of each."""
        return np.array([self.of(f"{name}.{field}") for name in self._task.start.names])

    @property
    def nothing_yet(self) -> bool:
        """Whether no query has come: at an episode's start."""
        return self.of("offered") == 0.0

    @property
    def offered_qps(self) -> float:
        """Queries a second that came in the window."""
        return self.of("offered") * self._task.scale_qps

    def nodes(self, *states: str) -> NDArray[np.int64]:
        """(groups,) nodes at the window's end that were serving, starting or draining."""
        counts = np.array(self._task.start.nodes)
        shares = np.sum([self.by_group(state) for state in states], axis=0)
        return np.asarray(np.rint(shares * counts), dtype=np.int64)


class ByWindow(ABC):
    """A policy that acts on what it sees of one window and what it has kept of those before."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for one observation or several."""
        several = np.ndim(observation) == 2
        rows = np.atleast_2d(observation)
        states = [None] * len(rows) if state is None else list(state)
        if episode_start is not None:
            starts = np.broadcast_to(episode_start, len(rows))
            states = [None if start else before for before, start in zip(states, starts, strict=True)]
        found = [self._act(row, before) for row, before in zip(rows, states, strict=True)]
        actions = np.stack([action for action, _ in found])
        return (actions if several else actions[0]), tuple(after for _, after in found)

    @abstractmethod
    def _act(self, observation: NDArray[np.float32], before: Any) -> tuple[NDArray[np.int64], Any]:
        """The action on one observation, and what to keep; `before` is None at an episode's start."""
