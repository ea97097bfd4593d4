"""Admission by target delay: shed while the delay stays above the target, and no longer.

CoDel's idea (Nichols and Jacobson 2012), on a server that decides once a window: delay above the target for a moment is
a burst, which a queue is for; above it for a whole interval it is a standing queue. Then queries are refused that are
predicted to miss the target, the more strictly the longer the delay stays above it, until a window needs no refusal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import V2_FIELDS
from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.policies.base import Policy
from deeprec_env.scenario.parts import Ints
from deeprec_env.scenario.schema import Scenario

INTERVAL = 1
"""Windows for which the delay has to stay above the target. One has some 200 queries and lasts several targets."""

TARGET = 1.0
"""The delay that is let pass, in targets of latency."""

_P95, _PREDICTED, _SHED = (V2_FIELDS.index(name) for name in ("p95", "predicted", "shed_rate"))
_ADMIT = V2_CONTROLS.index("admit_ms")


class Delayed(NamedTuple):
    """What is remembered: the base's state; and (n,) how many windows the delay has been above the target, and how
    strict admission is (0: all are admitted)."""

    base: Any
    above: Ints
    strict: Ints


class TargetDelayPolicy:
    """Another policy's actions, with the admission limit chosen by delay.

    The delay is the larger of the window's p95 and the predicted latency of a median query at its end. The limits are
    those of the ladder up to the target, from the target down.
    """

    def __init__(self, base: Policy, scenario: Scenario, interval: int = INTERVAL) -> None:
        self._base, self._interval = base, interval
        ladder = scenario.ladders["admit_ms"]
        limits = sorted((limit for limit in ladder if limit is not None and limit <= scenario.sla_ms), reverse=True)
        everyone = ladder.index(None) if None in ladder else ladder.index(max(ladder))
        self._places = np.array([everyone, *(ladder.index(limit) for limit in limits)], dtype=np.int64)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` is a `Delayed`."""
        seen = np.atleast_2d(observation)
        count = len(seen)
        first = np.full(count, state is None)
        if episode_start is not None:
            first = first | np.broadcast_to(np.asarray(episode_start, dtype=bool), count)
        nothing = np.zeros(count, dtype=np.int64)
        before = Delayed(None, nothing, nothing) if state is None else state
        above, strict = np.where(first, 0, before.above), np.where(first, 0, before.strict)
        late = (np.maximum(seen[:, _P95], seen[:, _PREDICTED]) > TARGET) & ~first
        above = np.where(late, above + 1, 0)
        stricter = np.minimum(strict + 1, len(self._places) - 1)
        still = np.where((seen[:, _SHED] > 0.0) | late, strict, 0)
        strict = np.where(above >= self._interval, stricter, still)
        actions, base = self._base.predict(observation, before.base, episode_start, deterministic)
        chosen = np.array(np.atleast_2d(actions))
        chosen[:, _ADMIT] = self._places[strict]
        return (chosen if np.ndim(observation) == 2 else chosen[0]), Delayed(base, above, strict)
