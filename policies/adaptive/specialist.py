"""The specialist: a small network that chooses among a repertoire of settings for one scenario, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.policies.adaptive.policy_network import PolicyNetwork
from deeprec_env.policies.adaptive.rate_table import remembered
from deeprec_env.scenario.parts import Floats

MEMORIES = (0.5, 0.8)
"""Weights of the past in the smoothed loads."""

CLOCK = ("day_sin", "day_cos")
"""Fields that are not looked at: the time of day betrays probes at stationary rates."""

NEAR_CAPACITY = 0.9
"""Mean load of the last windows, in capacity, from which the setting that carries most is taken."""

SPAN = 10
"""How many windows that mean is over, about. One of them tells its rate to 5 %; no peak of a day lasts for so long."""

CROWD = 1.1
"""Load of the last window from which the setting for crowds is taken, where queries can be refused."""

_SHORTEST = 0.01  # targets: shorter latencies are not told apart

REMEMBERED = ("smoothed", "long_smoothed", "offered", "p95", "backlog")
"""What a state holds of each observation's past, besides whether there is one."""


class History:
    """Features of observations and their past. `fields` names the entries of an observation.

    A state is (n, len(REMEMBERED)), NaN before the first measured window.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._seen = [place for place, name in enumerate(fields) if name not in CLOCK]
        self._latencies = [place for place, name in enumerate(fields) if name in ("p50", "p95", "p99", "predicted")]
        self._at = {name: place for place, name in enumerate(fields)}
        self.smoothed = len(self._seen)
        """Where the features hold the smoothed load, and after it the longer smoothed one."""
        self.width = len(self._seen) + len(REMEMBERED) + 2

    def features(self, observations: Floats, state: Any, episode_start: Any) -> tuple[Floats, Floats]:
        """Features (n, width) of observations (n, fields), and the next state.

        They hold the observation without its clock, latencies as logarithms; the smoothed loads, the window before, and
        what changed since; and whether this is an episode's start, when nothing has been measured.
        """
        seen = np.array(observations, dtype=np.float64)
        offered, p95 = (seen[:, self._at[name]].copy() for name in ("offered", "p95"))
        backlog = seen[:, self._at["backlog"]]
        past, first = _past(state, episode_start, len(seen))
        fresh = np.isnan(past[:, 0])
        past = np.where(fresh[:, None], np.stack([offered, offered, offered, p95, backlog], axis=-1), past)
        smoothed = [memory * past[:, place] + (1.0 - memory) * offered for place, memory in enumerate(MEMORIES)]
        seen[:, self._latencies] = np.log(np.maximum(seen[:, self._latencies], _SHORTEST))
        recalled = [*smoothed, past[:, 2], np.log(np.maximum(past[:, 3], _SHORTEST)), past[:, 4]]
        changes = [offered - past[:, 2], first.astype(np.float64)]
        features = np.concatenate([seen[:, self._seen], np.stack([*recalled, *changes], axis=-1)], axis=-1)
        after = np.stack([*smoothed, offered, p95, backlog], axis=-1)
        after[first] = np.nan  # what an episode begins with was not measured
        return features, after


def _past(state: Any, episode_start: Any, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    past = np.full((count, len(REMEMBERED)), np.nan) if state is None else np.array(state, dtype=np.float64)
    _, first = remembered(None if state is None else past[:, 0], episode_start, count)
    past[first] = np.nan
    return past, first


def _mean_loads(loads: Floats, first: NDArray[np.bool_], before: Any) -> Floats:
    """Mean load of the last `SPAN` windows, about, and how many it is of, (n, 2); `before` is that till now, if any.

    Until there are so many, an episode's windows count alike: its first ones are enough to tell by.
    """
    mean, windows = np.zeros((2, len(loads))) if before is None else np.where(first, 0.0, np.transpose(before))
    windows = np.where(first, 0.0, windows + 1.0)  # what an episode begins with was not measured
    mean = np.where(first, 0.0, mean + (loads - mean) / np.clip(windows, 1.0, SPAN))
    return np.stack([mean, windows], axis=-1)


class SpecialistPolicy:
    """Each window the setting that the network prefers, of a repertoire of actions (settings, controls).

    `carries` is the place of the setting that carries most. It is in force while the load stays near capacity: there
    rewards differ by luck, and one window under another setting is what a node does not recover from. `crowd` is that
    of the setting with fewest late or refused under flash crowds, in force after a window of one: training sees too few
    of them for the network to tell them from a peak. `first` is that of an episode's first window, when nothing has
    been measured: at a rate near capacity, what piles up then lasts. None: the network alone decides.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        fields: Sequence[str],
        repertoire: NDArray[np.int64],
        carries: int | None = None,
        crowd: int | None = None,
        first: int | None = None,
    ) -> None:
        self.network, self.history, self._repertoire = network, History(fields), repertoire
        self._carries, self._crowd, self._first = carries, crowd, first
        self._offered = list(fields).index("offered")
        self.in_words = f"{len(repertoire)} settings, training seed {network.facts.get('seed')}"

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` is that of `History`, then mean load and windows that it is of."""
        seen = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        past, loads = (None, None) if state is None else np.split(np.asarray(state), [len(REMEMBERED)], axis=1)
        features, past = self.history.features(seen, past, episode_start)
        load, measured = seen[:, self._offered], features[:, -1] == 0.0
        loads = _mean_loads(load, ~measured, loads)
        chosen = self.network.preferences(features).argmax(axis=-1)
        if self._carries is not None:
            chosen[loads[:, 0] >= NEAR_CAPACITY] = self._carries
        if self._crowd is not None:
            chosen[measured & (load >= CROWD)] = self._crowd
        if self._first is not None:
            chosen[~measured] = self._first
        actions = self._repertoire[chosen]
        return (actions if np.ndim(observation) == 2 else actions[0]), np.concatenate([past, loads], axis=1)
