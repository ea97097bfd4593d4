"""The environments that a training knows, and how it judges an agent in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeprec_env.analysis.day import with_day
from deeprec_env.envs import CAPACITY, PIPELINE, SERVING, CapacityEnv, PipelineEnv, ServingEnv
from deeprec_env.envs.capacity_task import reference_qps
from deeprec_env.envs.pipeline_day import with_pipeline_day
from deeprec_env.envs.rewards import CAPACITY_REWARDS, PIPELINE_REWARDS, REWARDS
from deeprec_env.envs.vector import CapacityVectorEnv, NodeVectorEnv, PipelineVectorEnv, ServingVectorEnv
from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation.day_metrics import day_metrics, day_objective
from deeprec_env.policies.evaluation.plan_metrics import pipeline_day
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records


@dataclass(frozen=True)
class Environment:
    """An environment as a training sees it.

    `id` is Gymnasium's name and the key in hyperparameter files; the first of `rewards` is the default. `single` and
    `vector` make it, one and many, from scenario, engine and reward. `prepare` gives a scenario its day, where there is
    one; `ladders` are what an action chooses from. `judge` measures an agent by drained validation episodes, those of
    `validation_seeds`; the lowest `objective` of its figures is the best.
    """

    id: str
    rewards: Mapping[str, Any]
    single: Callable[..., Any]
    vector: Callable[..., NodeVectorEnv]
    prepare: Callable[[Scenario, str], Scenario]
    ladders: Callable[[Scenario], list[list[Any]]]
    validation_seeds: tuple[int, ...]
    objective: str
    judge: Callable[[Sequence[Records], Scenario], dict[str, float]]

    def reward(self, name: str | None) -> str:
        """The reward of that name, or the default; `InputError` for one that is not known."""
        chosen = next(iter(self.rewards)) if name is None else name
        if chosen not in self.rewards:
            raise InputError("reward", name, f"must be one of {', '.join(self.rewards)}")
        return chosen


def _serving_ladders(scenario: Scenario) -> list[list[Any]]:
    return [list(scenario.control.batch_sizes), list(scenario.thresholds)]


def _pipeline_ladders(scenario: Scenario) -> list[list[Any]]:
    return [scenario.plan_names, *_serving_ladders(scenario)]


def _judge_serving(records: Sequence[Records], scenario: Scenario) -> dict[str, float]:
    days = [day_metrics(each, scenario) for each in records]
    return {
        "objective_s": day_objective(days),
        "p95_hourly_ms": sum(day.p95_hourly_s for day in days) / len(days) * 1e3,
        "violation_rate": sum(day.violation_rate for day in days) / len(days),
    }


def _judge_capacity(records: Sequence[Records], scenario: Scenario) -> dict[str, float]:
    """Queries a second within the target, in the reference, over episodes up to their last arrivals."""
    within = [float((each.latency_s <= scenario.sla_s).sum()) / float(each.arrival_s[-1]) for each in records]
    late = [float((each.latency_s > scenario.sla_s).mean()) for each in records]
    carried = sum(within) / len(within) / reference_qps(scenario)
    return {"not_carried": 1.0 - carried, "carried": carried, "violation_rate": sum(late) / len(late)}


def _judge_pipeline(records: Sequence[Records], scenario: Scenario) -> dict[str, float]:
    days = [pipeline_day(each, scenario) for each in records]
    return {
        "lost_goodput": 1.0 - sum(day.goodput for day in days) / len(days),
        "quality": sum(day.quality for day in days) / len(days),
        "violation_rate": sum(day.violation_rate for day in days) / len(days),
    }


ENVIRONMENTS: dict[str, Environment] = {
    "serving": Environment(
        id=SERVING,
        rewards=REWARDS,
        single=ServingEnv,
        vector=ServingVectorEnv,
        prepare=lambda scenario, engine: with_day(scenario, engine=engine),
        ladders=_serving_ladders,
        validation_seeds=(1000, 1001),
        objective="objective_s",
        judge=_judge_serving,
    ),
    "capacity": Environment(
        id=CAPACITY,
        rewards=CAPACITY_REWARDS,
        single=CapacityEnv,
        vector=CapacityVectorEnv,
        prepare=lambda scenario, engine: scenario,
        ladders=_serving_ladders,
        validation_seeds=(1000, 1001),
        objective="not_carried",
        judge=_judge_capacity,
    ),
    "pipeline": Environment(
        id=PIPELINE,
        rewards=PIPELINE_REWARDS,
        single=PipelineEnv,
        vector=PipelineVectorEnv,
        prepare=lambda scenario, engine: with_pipeline_day(scenario),
        ladders=_pipeline_ladders,
        validation_seeds=tuple(range(1000, 1008)),  # days with bursts differ by more
        objective="lost_goodput",
        judge=_judge_pipeline,
    ),
}
"""Environments by the names that `deeprec train --env` gives them. Validation days lie beside those that tuners see."""


def environment(name: str) -> Environment:
    """The environment of a name; `InputError` if there is none."""
    if name not in ENVIRONMENTS:
        raise InputError("env", name, f"must be one of {', '.join(ENVIRONMENTS)}")
    return ENVIRONMENTS[name]


def of_id(identifier: str) -> Environment:
    """The environment with Gymnasium's name."""
    return next(each for each in ENVIRONMENTS.values() if each.id == identifier)
