"""The task of `ServingV2Env`: that of `ServingEnv`, with all the controls that a server has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import V2_FIELDS
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.task import AnyScenario, Normalised
from deeprec_env.errors import InputError
from deeprec_env.scenario.control import ADMITS
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import ORDERS, PREDICTED, SettingNumbers

V2_CONTROLS = ("batch_size", "offload", "order", "admit_ms")
"""What an action of `ServingV2Env` chooses, in its order."""


def with_further_ladders(scenario: Scenario) -> Scenario:
    """The scenario with a ladder of every further control of `ServingV2Env`, where its file names none.

    Orders: all. Offloads: the thresholds and, where a stage has both pools, "predicted". Admission limits: `ADMITS` of
    the target, without those that not even the fastest query keeps. Of a pipeline with sub-batches nothing can be
    predicted: the ladder of offloads holds thresholds, that of limits none alone.
    """
    control = scenario.control
    ladders: dict[str, tuple[Any, ...]] = {}
    predicts = scenario.sub_batches == 1
    if control.orders is None:
        ladders["orders"] = ORDERS
    if control.offloads is None:
        both = any(len(stage.pools()) == 2 for stage in scenario.stages)
        ladders["offloads"] = (*scenario.thresholds, PREDICTED) if both and predicts else scenario.thresholds
    if control.admits_ms is None:
        limits = [None if share is None else share * scenario.sla_ms for share in ADMITS if predicts or share is None]
        ladders["admits_ms"] = tuple(limit for limit in limits if _keeps(scenario, limit))
    return scenario.replace(control=control.model_copy(update=ladders)) if ladders else scenario


def _keeps(scenario: Scenario, limit: float | None) -> bool:
    try:
        if limit is not None:
            scenario.check_limit(limit)
    except InputError:
        return False
    return True


class ServingV2Task(ServingTask):
    """Hold the tail low under given traffic, with further controls."""

    controls = V2_CONTROLS
    fields = V2_FIELDS
    numbers = (*ServingTask.numbers, "cpu_servers", "accelerator_servers")

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        super().__init__(with_further_ladders(load_scenario(scenario)), reward, ladders)
        pools = [stage.pools() for stage in self.scenario.stages]
        self.cpu_servers, self.accelerator_servers = (
            max(1, sum(of_stage[kind].servers for of_stage in pools if kind in of_stage)) for kind in KINDS
        )

    def observe(self, window: Any, places: Normalised, seen: Any) -> NDArray[np.float32]:
        """As of `ServingEnv`, then what the further controls need."""
        own = [
            window.shed_rate,
            np.log1p(window.waiting_cpu / self.cpu_servers),
            np.log1p(window.waiting_accelerator / self.accelerator_servers),
            window.predicted_s / self.sla_s,
            *(places.offload, places.order, places.admit_ms),
        ]
        after = np.stack([np.asarray(values, dtype=np.float64) for values in own], axis=-1)
        return super().observe(window, places, np.concatenate([np.asarray(seen), after], axis=-1))

    def info(self, window: Any, setting: SettingNumbers) -> dict[str, Any]:
        """As of every task, with what was shed, what waits, what is predicted, and the further settings in force."""
        counted = (np.asarray(window.sample) > 0.0) | (np.asarray(window.shed_rate) > 0.0)
        return super().info(window, setting) | {
            "shed_rate": window.shed_rate,
            "goodput": np.where(counted, 1.0 - window.violation_rate, 0.0),
            "waiting_cpu": window.waiting_cpu,
            "waiting_accelerator": window.waiting_accelerator,
            "predicted_ms": window.predicted_s * 1e3,
            "offload": setting.offload,
            "order": setting.order,
            "admit_ms": setting.admit_ms,
        }
