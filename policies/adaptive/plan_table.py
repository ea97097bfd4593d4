"""A table of the best plan by load, found off-line, and the policy that looks the measured rate up in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.pipeline_day import rated_plans
from deeprec_env.envs.pipeline_task import PIPELINE_CONTROLS
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import QueryStream, episode_seed

STEP = 0.05
"""Distance of the load levels, relative to the reference."""

HEADROOMS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
"""What validation days choose the headroom from."""

_OFFERED = FIELDS.index("offered")


def best_by_load(
    scenario: Scenario, settings: Sequence[Setting], *, highest: float, queries: int, seed: int, engine: str
) -> tuple[list[Setting], int]:
    """The setting of highest goodput at each stationary rate `STEP`, 2 `STEP`, ... up to `highest`; and the cost.

    Rates are relative to the reference. Each run has `queries` queries of the validation stream of `seed`, stretched;
    what comes before is warm-up.
    """
    assert scenario.capacity is not None
    best, used = [], 0
    for level in range(1, int(np.ceil(highest / STEP)) + 1):
        at_level = with_options(scenario, qps=level * STEP * scenario.capacity.qps)
        warmup = warmup_queries(queries)
        traffic = QueryStream(at_level.workload, episode_seed(seed, "validation")).draw(warmup + queries)
        values = []
        for setting in settings:
            latency_s = run(at_level.with_setting(setting), traffic, engine=engine).latency_s[warmup:]
            quality = rated_plans(scenario)[setting.plan].quality or 0.0
            values.append(quality * float((latency_s <= scenario.sla_s).mean()))
            used += warmup + queries
        best.append(settings[int(np.argmax(values))])
    return best, used


class PlanTablePolicy:
    """Each window, the best setting for the level at or above `headroom` times the rate of the window before.

    That rate is the observation's `offered`; headroom is for the bursts that may begin.
    """

    def __init__(self, scenario: Scenario, by_load: Sequence[Setting], headroom: float) -> None:
        self.headroom = headroom
        self._actions = np.array([scenario.action(setting, PIPELINE_CONTROLS) for setting in by_load], dtype=np.int64)

    def at(self, loads: Floats) -> NDArray[np.int64]:
        """The actions for some loads, relative to the reference: (n, 3) for (n,)."""
        level = np.ceil(np.asarray(loads) / STEP - 1e-9).astype(np.int64) - 1
        return self._actions[np.clip(level, 0, len(self._actions) - 1)]

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation."""
        actions = self.at(self.headroom * np.atleast_2d(observation)[:, _OFFERED].astype(np.float64))
        return (actions if np.ndim(observation) == 2 else actions[0]), state
