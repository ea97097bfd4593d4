"""The task of `PipelineEnv`: given traffic, where each query counts as much as its ranking is worth."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import PIPELINE_MEASURED
from deeprec_env.envs.pipeline_day import best_quality, rated_plans, with_pipeline_day
from deeprec_env.envs.rewards import PIPELINE_REWARDS, Scale, mean_quality
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.task import AnyScenario, Normalised
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.setting import SettingNumbers

PIPELINE_CONTROLS = ("plan", "batch_size", "threshold")
"""What an action of `PipelineEnv` chooses, in its order."""


class PipelineTask(ServingTask):
    """Rank as well as the target allows."""

    controls = PIPELINE_CONTROLS
    numbers = (*ServingTask.numbers, "best_quality", "qualities")
    rewards = PIPELINE_REWARDS

    def __init__(self, scenario: AnyScenario, reward: str, ladders: str | None = None) -> None:
        loaded = with_pipeline_day(load_scenario(scenario))
        self._pools = [(s, KINDS.index(kind)) for s, stage in enumerate(loaded.stages) for kind in stage.pools()]
        self.fields = (
            *PIPELINE_MEASURED,
            *(f"{loaded.stages[s].name}_{KINDS[kind]}" for s, kind in self._pools),
            *(f"{stage.name}_backlog" for stage in loaded.stages),
            *(f"plan_{index}" for index in range(len(loaded.planned_stages))),
            *("quality", "day_sin", "day_cos"),
        )
        super().__init__(loaded, reward, ladders)
        self.plans = tuple(loaded.plan_names)
        self.best_quality = best_quality(loaded)
        self.qualities = tuple((plan.quality or 0.0) / self.best_quality for plan in rated_plans(loaded))

    @cached_property
    def scale(self) -> Scale:
        """What rewards measure a window by, the qualities of the plans among it."""
        return super().scale._replace(qualities=self.qualities)

    def observe(self, window: Any, places: Normalised, seen: Any) -> NDArray[np.float32]:
        """As of every task, with stages, plan and quality before the episode's entries."""
        unit = self.scale_qps * self.sla_s
        own = [
            *(window.stages[stage][kind] for stage, kind in self._pools),
            *(np.log1p(backlog / unit) for *_, backlog in window.stages),
            *(np.equal(places.plan, index) for index in range(len(self.plans))),
            mean_quality(window, self.qualities),
        ]
        before = np.stack([np.asarray(values, dtype=np.float64) for values in own], axis=-1)
        return super().observe(window, places, np.concatenate([before, np.asarray(seen)], axis=-1))

    def info(self, window: Any, setting: SettingNumbers) -> dict[str, Any]:
        """As of every task, with the plan's index and the mean quality of the sample's queries."""
        quality = self.best_quality * mean_quality(window, self.qualities)
        return super().info(window, setting) | {"plan": setting.plan, "quality": quality}
