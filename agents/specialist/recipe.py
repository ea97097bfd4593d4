"""What a specialist is trained on, and how long; and what there is to learn in its scenario."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deeprec_env.agents.specialist.ppo import PPOSettings
from deeprec_env.agents.specialist.teacher import TEACHERS
from deeprec_env.arguments import whole
from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.task import Task
from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario

MOST_SEED = 10**6


@dataclass(frozen=True)
class Recipe:
    """What a specialist is trained on, and how long.

    `environments` see the same traffic in groups of `copies`; an iteration is an episode in each of them. Every
    `validate_every` of the iterations the network is judged on `days` validation days. `queries` are those of a table's
    cell.
    """

    scenario: Any
    name: str
    env: str = "serving"
    seed: int = 0
    iterations: int = 12
    validate_every: int = 2
    environments: int = 96
    copies: int = 8
    days: int = 8
    queries: int = 20_000
    ppo: PPOSettings = field(default_factory=PPOSettings)

    def __post_init__(self) -> None:
        whole("seed", self.seed, 0, MOST_SEED)
        whole("iterations", self.iterations, 0)

    @property
    def spec(self) -> EnvSpec:
        """The environment; `InputError` for one that has no recipe."""
        spec = find_spec(self.env)
        if spec.id not in TEACHERS:
            raise InputError("recipe", "specialist", f"is for {' and '.join(TEACHERS)}; {spec.id} has none")
        return spec

    @property
    def command(self) -> str:
        """The command that trains it."""
        env = "" if self.env == "serving" else f" --env {self.env}"
        return f"deeprec train {self.name} --recipe specialist{env} --seed {self.seed}"


def prepare_scenario(recipe: Recipe) -> tuple[EnvSpec, Scenario, Task]:
    """Environment, scenario with its day, and task; `InputError` where there is nothing to learn."""
    spec = recipe.spec
    scenario = load_scenario(recipe.scenario)
    if scenario.pipeline is not None or scenario.plans is not None:
        raise InputError("scenario", recipe.name, "must be one node: the recipe's tables know no pipelines")
    evaluation = evaluation_of(spec)
    prepared = evaluation.prepare(scenario, "compiled", evaluation.choices)
    task = spec.make_task(prepared)
    if all(len(task.ladders[name]) == 1 for name in task.controls):
        ladders = ", ".join(f"control.{name}: {list(task.ladders[name])}" for name in task.controls)
        raise InputError("scenario", recipe.name, f"leaves nothing to learn: each ladder has one level ({ladders})")
    if prepared.capacity is None:
        raise InputError("capacity", None, "must be given beside a day of one's own: stationary rates are shares of it")
    return spec, prepared, task
