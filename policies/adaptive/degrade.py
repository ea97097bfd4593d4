"""The rule that degrades under load: a cheaper plan while the tail is high, a better one while it is low."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS

_P95 = FIELDS.index("p95")


class DegradeRule(NamedTuple):
    """Above `high` (of the target) the window's p95 asks for the plan `down` steps cheaper, below `low` one better."""

    high: float
    low: float
    down: int


RULES = tuple(
    DegradeRule(high, low, down)
    for high in (0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
    for low in (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
    for down in (1, 2)
    if low < high
)
"""What validation days choose from."""


class DegradePolicy:
    """Steps along `actions`, those of the plans from the best to the cheapest, beginning with the best."""

    def __init__(self, actions: Sequence[tuple[int, ...]], rule: DegradeRule) -> None:
        self._actions, self.rule = np.array(actions, dtype=np.int64), rule

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` holds the steps down from the best plan, (n,)."""
        p95 = np.atleast_2d(observation)[:, _P95]
        before = np.zeros(len(p95), dtype=np.int64) if state is None else np.asarray(state)
        step = before + np.where(p95 > self.rule.high, self.rule.down, np.where(p95 < self.rule.low, -1, 0))
        step = np.clip(step, 0, len(self._actions) - 1)
        if episode_start is not None:
            step = np.where(episode_start, 0, step)
        actions = self._actions[step]
        return (actions if np.ndim(observation) == 2 else actions[0]), step
