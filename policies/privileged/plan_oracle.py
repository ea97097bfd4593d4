"""The reference of `DeepRec/Pipeline-v0`: it knows the true rate and the pipeline's state, not the draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.pipeline_task import PIPELINE_CONTROLS
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.evaluation.plan_metrics import pipeline_day
from deeprec_env.policies.privileged.futures import drawn_future, forkable_engine, true_rates_qps
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engine import ForkableEngine
from deeprec_env.workload.stream import Traffic

HORIZON = 2
"""Windows ahead that a setting is tried for, held."""

FUTURES = 4
"""Futures that every setting is tried on."""

_CHILD = 4  # of a seed, beside the splits and the other references: its draws are those of no traffic


class PlanOracle:
    """Tries settings on copies of the present pipeline over futures drawn at the true rate, and takes the best.

    The objective is the goodput of the queries in flight and of those of the horizon, drained.
    """

    def __init__(self, scenario: Scenario, settings: Sequence[Setting], seed: int) -> None:
        self._scenario, self._settings, self._seed = scenario, settings, seed

    def watch(self, env: TrafficEnv) -> None:
        """Start an episode of `env`, always with the same futures; needs the compiled engine, which can be forked."""
        self._engine = forkable_engine(env)
        self._interval_s, self._windows = env.interval_s, env.windows
        self._rates = true_rates_qps(env)
        self._rng = np.random.default_rng([self._seed, _CHILD])

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The best action for the watched environment, (3,); the observation adds nothing to what it sees there."""
        window = round(self._engine.now_s / self._interval_s)
        rates, sizes = self._rates[window : window + HORIZON], self._scenario.workload.sizes
        present = self._engine.fork(Traffic.nothing())
        values = np.zeros(len(self._settings))
        for _ in range(FUTURES):
            future = drawn_future(self._rng, rates, sizes, window, self._interval_s, self._engine)
            values += [self._value(present, future, setting) for setting in self._settings]
        best = self._settings[int(np.argmax(values))]
        return np.array(self._scenario.action(best, PIPELINE_CONTROLS)), state

    def _value(self, present: ForkableEngine, future: Traffic, setting: Setting) -> float:
        node = present.fork(future)
        node.control(setting)
        node.drain()
        records = node.records()
        return pipeline_day(records, self._scenario).goodput if len(records) else 0.0
