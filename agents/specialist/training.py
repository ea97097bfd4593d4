"""The training of a specialist: tables, imitation, PPO; the best network on validation traffic is kept.

All randomness comes from the training's seed, so that the same command leaves the same bytes.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from deeprec_env.agents.specialist.imitation import imitate
from deeprec_env.agents.specialist.network import TrainedNetwork
from deeprec_env.agents.specialist.ppo import PPO, advantages
from deeprec_env.agents.specialist.recipe import Recipe, prepare_scenario
from deeprec_env.agents.specialist.rollouts import Rollout, Rollouts
from deeprec_env.agents.specialist.selection import FIRST_SEED, Judge, Judged
from deeprec_env.agents.specialist.teacher import LATE_WEIGHTS, Teacher, find_teacher
from deeprec_env.agents.specialist.traffic import vector_env
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.task import Task
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, write_policy
from deeprec_env.policies.adaptive.specialist import SpecialistPolicy
from deeprec_env.policies.adaptive.specialist_file import AGENT, made_for
from deeprec_env.policies.adaptive.stationary import LATE_WEIGHT
from deeprec_env.progress import Progress, Step, part, silent
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS, sources_digest

SUMMARY = "training.json"
"""What a finished training leaves beside its agent."""

OWN_ROLLOUTS = 2
"""How often imitation goes on with states that the network itself came to (DAgger: Ross, Gordon and Bagnell 2011). The
tables don't come to all of them: a network can keep to a setting that shows what it would be right for."""

OVERLOAD_WEIGHT = 5.0
"""Of a pool's load above 1, in rewards."""

_SMOOTH_WINDOWS = 5  # that a rate is measured over, to 3 %

_SEEDS_EACH = 10**6  # of training traffic, for each training seed

_SOURCES = (*RESULTS, "envs", "policies", "agents/specialist")  # the code that the same bytes come from

_TABLES, _IMITATED = 0.25, 0.4  # shares of the work that are done by then, about


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
        """Make the network, and fit it to what the tables would do, in states of theirs and of its own."""
        offered = self._task.fields.index("offered")
        progress(Step("imitation: episodes under the tables", 0.0))
        choose = self._teacher.chooser(self._rollouts.history.smoothed)
        rollouts = [self._rollouts.run(choose, self._seed(), self._generator)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            self._network = TrainedNetwork(rollouts[0].features.flatten(0, 1).numpy(), len(self._repertoire))
        for number in range(OWN_ROLLOUTS + 1):
            progress(Step("imitation: fitting", (number + 0.5) / (OWN_ROLLOUTS + 1)))
            imitate(self._network, rollouts, self._teacher, offered, self._generator)
            if number < OWN_ROLLOUTS:
                rollouts.append(self._rollouts.run(self._network, self._seed(), self._generator))
        self._count(rollouts[0].observations, len(rollouts))
        self._crowd = self._best_in_crowds()
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
            "crowd": self._crowd,
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

    def _policy(self, tensors: Mapping[str, NDArray[np.float32]], crowd: int | None) -> SpecialistPolicy:
        teacher = self._teacher
        return SpecialistPolicy(
            PolicyNetwork(tensors, {}),
            self._task.fields,
            self._repertoire,
            carries=teacher.carries,
            crowd=crowd,
            first=teacher.first,
        )

    def _best_in_crowds(self) -> int | None:
        """The place of the setting for crowds: a crowd comes and goes, which stationary runs say nothing of."""
        tensors = self._network.tensors()
        late = {crowd: self._judge.late_in_crowds(self._policy(tensors, crowd)) for crowd in self._teacher.crowds}
        return min(late, key=lambda crowd: late[crowd], default=None)

    def _validate(self, iteration: int) -> None:
        tensors = self._network.tensors()
        judged = self._judge.judged(self._policy(tensors, self._crowd))
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
