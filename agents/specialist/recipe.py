"""The recipe of a specialist: tables, imitation, PPO; the best network on validation traffic is kept.

All randomness comes from the training's seed, so that the same command leaves the same bytes.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from deeprec_env.agents.specialist.imitation import imitate
from deeprec_env.agents.specialist.network import TrainedNetwork
from deeprec_env.agents.specialist.ppo import PPO, PPOSettings, advantages
from deeprec_env.agents.specialist.rollouts import Rollout, Rollouts
from deeprec_env.agents.specialist.selection import FIRST_SEED, Judge, Judged
from deeprec_env.agents.specialist.teacher import LATE_WEIGHTS, TEACHERS, Teacher, find_teacher
from deeprec_env.agents.specialist.traffic import vector_env
from deeprec_env.arguments import whole
from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.task import Task
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, write_policy
from deeprec_env.policies.adaptive.specialist import SpecialistPolicy
from deeprec_env.policies.adaptive.specialist_file import AGENT, made_for
from deeprec_env.policies.adaptive.stationary import LATE_WEIGHT
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.progress import Progress, Step, part, silent
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS, sources_digest

SUMMARY = "training.json"
"""What a finished training leaves beside its agent."""

MOST_SEED = 10**6
_SEEDS_EACH = 10**6  # of training traffic, for each training seed

OVERLOAD_WEIGHT = 5.0
"""Of a pool's load above 1, in rewards."""

_SMOOTH_WINDOWS = 5  # that a rate is measured over, to 3 %

_SOURCES = (*RESULTS, "envs", "policies", "agents/specialist")  # the code that the same bytes come from

_TABLES, _IMITATED = 0.25, 0.35  # shares of the work that are done by then, about


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


@dataclass(frozen=True)
class Specialist:
    """A finished training."""

    folder: Path
    facts: dict[str, Any]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """The summary that `deeprec train --recipe specialist` prints; seconds are of process time."""
        said = {key: self.facts[key] for key in ("command", "chosen", "validation", "tuning_queries")}
        described = {"folder": str(self.folder), "agent": str(self.folder / AGENT), **said}
        return {"schema_version": SCHEMA_VERSION, **described, "seconds": self.seconds, "versions": versions()}


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


def train_specialist(
    recipe: Recipe, folder: Path, progress: Progress = silent, teacher: Teacher | None = None
) -> Specialist:
    """Train and leave the best agent in `folder`, which also holds it, as far as it has got, after an interrupt.

    `teacher`: one that was found before for this scenario and environment. Raises `InputError` for a folder that holds
    a finished training.
    """
    if (folder / SUMMARY).exists():
        raise InputError("output", str(folder), "holds a training already; name another folder")
    spec, scenario, task = prepare_scenario(recipe)
    make_folder("output", folder)
    torch.set_num_threads(1)
    clock = _Clock()
    found = teacher or find_teacher(spec, scenario, recipe.queries, part(progress, 0.0, _TABLES))
    clock.lap("tables")
    training = _Training(recipe, spec, scenario, task, found, folder)
    training.imitate(part(progress, _TABLES, _IMITATED))
    clock.lap("imitation")
    training.reinforce(part(progress, _IMITATED, 1.0))
    clock.lap("ppo")
    facts = training.facts()
    with replacing(folder / SUMMARY) as file:
        json.dump(facts | {"validations": training.validations, "seconds": clock.seconds}, file, indent=2)
    return Specialist(folder, facts, clock.seconds)


class _Training:
    def __init__(
        self, recipe: Recipe, spec: EnvSpec, scenario: Scenario, task: Task, teacher: Teacher, folder: Path
    ) -> None:
        self._recipe, self._spec, self._task, self._teacher, self._folder = recipe, spec, task, teacher, folder
        self._repertoire = np.array(
            [scenario.action(setting, task.controls) for setting in teacher.repertoire], dtype=np.int64
        )
        env = vector_env(spec, scenario, recipe.environments)
        self._rollouts = Rollouts(env, task.fields, self._repertoire, recipe.copies)
        self._judge = Judge(spec, scenario, recipe.days, crowds=teacher.measure_in_crowds is not None)
        self._tables = {name: self._judge.judged(policy) for name, policy in teacher.tables.items()}
        self._measure = self._tables[teacher.measure]
        crowds = teacher.measure_in_crowds
        self._in_crowds = 1.0 if crowds is None else self._tables[crowds].crowds_violation_rate
        self._first_seed = recipe.seed * _SEEDS_EACH
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._queries = 0.0
        self._best: tuple[float, int, Judged] | None = None
        self.validations: list[dict[str, Any]] = []

    def imitate(self, progress: Progress) -> None:
        """Make the network, and fit it to what the tables would do."""
        offered = self._task.fields.index("offered")
        rollouts = []
        for number in range(2):
            progress(Step("imitation: episodes under the tables", 0.2 * number))
            choose = self._teacher.chooser(self._rollouts.history.smoothed)
            rollouts.append(self._rollouts.run(choose, self._seed(), self._generator))
        self._count(rollouts[0].observations, 2)
        features = torch.cat([each.features.flatten(0, 1) for each in rollouts]).numpy()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            self._network = TrainedNetwork(features, len(self._repertoire))
        progress(Step("imitation: fitting", 0.5))
        imitate(self._network, rollouts, self._teacher, offered, self._generator)
        self._validate(0)

    def reinforce(self, progress: Progress) -> None:
        """Improve it by PPO; the best network on validation traffic is in the folder."""
        recipe = self._recipe
        updates = PPO(self._network, recipe.ppo, self._generator)
        for number in range(recipe.iterations):
            share = number / recipe.iterations
            progress(Step(f"PPO: iteration {number + 1} of {recipe.iterations}", share))
            rollout = self._rollouts.run(self._network, self._seed(), self._generator)
            self._count(rollout.observations, 1)
            rewards = rollout.rewards + self._forgiven(rollout) - self._overload(rollout)
            updates.update(rollout, advantages(rewards, recipe.copies, recipe.ppo.gamma), share)
            if (number + 1) % recipe.validate_every == 0 or number + 1 == recipe.iterations:
                self._validate(number + 1)

    def facts(self) -> dict[str, Any]:
        """What the agent's file says of itself."""
        assert self._best is not None
        recipe, (score, iteration, judged) = self._recipe, self._best
        return {
            "command": recipe.command,
            "recipe": "specialist",
            "scenario": recipe.name,
            "environment": self._spec.id,
            "seed": recipe.seed,
            "validation_seeds": [FIRST_SEED, FIRST_SEED + recipe.days - 1],
            "training": {
                "iterations": recipe.iterations,
                "environments": recipe.environments,
                "copies": recipe.copies,
                "windows": self._task.windows,
            },
            "chosen": {"iteration": iteration, "score": score / self._measure.score(self._measure)},
            "validation": {name: each.to_json() for name, each in {"agent": judged, **self._tables}.items()},
            "tuning_queries": self._teacher.queries_used + round(self._queries),
            "fields": list(self._task.fields),
            "controls": list(self._task.controls),
            "repertoire": [
                {name: setting.level(name) for name in self._task.controls} for setting in self._teacher.repertoire
            ],
            "carries": self._teacher.carries,
            "crowd": self._teacher.crowd,
            "first": self._teacher.first,
            "made_for": made_for(self._task),
            "sources": sources_digest(_SOURCES),
            "versions": {**versions(), "torch": torch.__version__, "python": platform.python_version()},
        }

    def _forgiven(self, rollout: Rollout) -> Floats:
        """What late queries cost less here than in the reward `tail`, (windows, n)."""
        late = rollout.observations[..., self._task.fields.index("violation_rate")].astype(np.float64)
        return np.asarray((LATE_WEIGHT - LATE_WEIGHTS[self._spec.id]) * late)

    def _overload(self, rollout: Rollout) -> Floats:
        """What is taken off the rewards (windows, n) for work that a pool can't do, which it shows late or never."""
        offered = rollout.observations[..., self._task.fields.index("offered")].astype(np.float64)
        rate = uniform_filter1d(offered, _SMOOTH_WINDOWS, axis=0, mode="nearest")
        loads = rate / self._teacher.saturation[rollout.actions.numpy()]
        return np.asarray(OVERLOAD_WEIGHT * np.maximum(loads - 1.0, 0.0))

    def _seed(self) -> int:
        first = self._first_seed
        self._first_seed += self._recipe.environments // self._recipe.copies
        return first

    def _count(self, observations: Any, times: int) -> None:
        offered = observations[..., self._task.fields.index("offered")]
        self._queries += times * float(offered.sum()) * self._task.scale_qps * self._task.interval_s

    def _validate(self, iteration: int) -> None:
        tensors, teacher = self._network.tensors(), self._teacher
        network = PolicyNetwork(tensors, {})
        places = teacher.carries, teacher.crowd, teacher.first
        policy = SpecialistPolicy(network, self._task.fields, self._repertoire, *places)
        judged = self._judge.judged(policy)
        score = judged.score(self._measure, self._in_crowds)
        self.validations.append({"iteration": iteration, "score": score, **judged.to_json()})
        if self._best is None or score < self._best[0]:
            self._best = score, iteration, judged
            write_policy(self._folder / AGENT, PolicyNetwork(tensors, self.facts()))


class _Clock:
    """Process time of the parts of a training."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since_s = time.process_time()

    def lap(self, name: str) -> None:
        now_s = time.process_time()
        self.seconds[name], self._since_s = round(now_s - self._since_s, 2), now_s
