"""What observation fields, shapes of the action, reward, discount and algorithm bring: short trainings, on test days.

    python -m benchmarks.study FOLDER [GROUP ...] [--scenario wnd] [--timesteps 40000] [--seeds 3] [--days 10] [--json]

A group changes one thing of PPO as shipped (`agents/hyperparams/ppo.yml`) in DeepRec/Serving-v1; `algorithms` trains
each as shipped in DeepRec/Serving-v2. Every cell (a variant and a training seed) leaves a file in FOLDER and is not
done again. The network at the end of a training is judged on test days: its day metric in load-table's, late
or refused queries. No validation chooses: the groups compare what training finds, not what selection saves.
"""

from __future__ import annotations

import hashlib
import json as json_text
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from deeprec_env import console
from deeprec_env.agents.action_vec_env import MappedVecEnv
from deeprec_env.agents.algorithms import algorithm
from deeprec_env.agents.hyperparams import load_hyperparams
from deeprec_env.agents.vec_env import NodeVecEnv
from deeprec_env.envs.environments import find_spec
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.adaptive.load_table import LoadTable, find_load_table
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import prepare
from deeprec_env.progress import Step, silent
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario

FIELDS = {
    "latencies": ("p50", "p95", "p99", "violation_rate"),
    "rates": ("offered", "completed"),
    "sizes": ("mean_items",),
    "utilisation": ("cpu_utilisation", "accelerator_utilisation"),
    "backlog": ("backlog",),
    "own setting": ("batch_size", "threshold"),
    "clock": ("day_sin", "day_cos"),
}
"""Fields of the observation that are hidden together (always 0)."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Code:
    """A shape of the action: a space, and the ladders' indices (n, 2) of actions (n, ...) after observations (n, k)."""

    space: gym.Space[Any]
    indices: Callable[[Any, Any], Indices]


@dataclass(frozen=True)
class Variant:
    """What is trained."""

    algo: str = "ppo"
    env: str = "serving"
    hidden: tuple[str, ...] = ()
    shape: str = "indices"
    reward: str = "tail"
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all that it says: what stands in several groups is trained once."""
        parameters = load_hyperparams(self.algo).raw | self.changes
        said = json_text.dumps([self.algo, self.env, self.hidden, self.shape, self.reward, parameters])
        return hashlib.sha256(said.encode()).hexdigest()[:12]


GROUPS: dict[str, dict[str, Variant]] = {
    "observation": {"all": Variant()}
    | {f"without {name}": Variant(hidden=fields) for name, fields in FIELDS.items()}
    | {"rates alone": Variant(hidden=tuple(each for name, of in FIELDS.items() if name != "rates" for each in of))},
    "action": {shape: Variant(shape=shape) for shape in ("indices", "differences", "shift")},
    "reward": {reward: Variant(reward=reward) for reward in ("tail", "goodput", "efficiency")},
    "discount": {f"gamma {gamma:g}": Variant(changes={"gamma": gamma}) for gamma in (0.0, 0.5, 0.9, 0.99)},
    "algorithms": {algo: Variant(algo=algo, env="serving-v2") for algo in ("ppo", "ppo_lstm", "dqn", "sac")},
}


class Coded(VecEnvWrapper):
    """A vector environment under a shape of the action, some fields hidden."""

    def __init__(self, venv: VecEnv, code: Code, hidden: Indices) -> None:
        super().__init__(venv, action_space=code.space)
        self._code, self._hidden, self._seen = code, hidden, np.empty(0)

    def reset(self) -> VecEnvObs:
        """First observations."""
        self._seen = np.asarray(self.venv.reset())
        return without(self._seen, self._hidden)

    def step_async(self, actions: Any) -> None:
        """Take the actions of the next step."""
        self.venv.step_async(self._code.indices(actions, self._seen))

    def step_wait(self) -> VecEnvStepReturn:
        """Step as the environments do."""
        seen, rewards, over, infos = self.venv.step_wait()
        self._seen = np.asarray(seen)
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = without(info["terminal_observation"], self._hidden)
        return without(self._seen, self._hidden), rewards, over, infos


class CodedPolicy:
    """A model trained so, as a policy of the environment itself."""

    def __init__(self, model: BaseAlgorithm, code: Code, hidden: Indices) -> None:
        self._model, self._code, self._hidden = model, code, hidden

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Indices, Any]:
        """The action for an observation; `state` is the model's own."""
        given = without(observation, self._hidden)
        action, state = self._model.predict(given, state, episode_start, deterministic)
        return self._code.indices(np.atleast_1d(action)[None], np.atleast_2d(observation))[0], state


def without(observation: Any, hidden: Indices) -> Any:
    """An observation with some fields at 0."""
    seen = np.array(observation)
    seen[..., hidden] = 0.0
    return seen


def code_of(shape: str, scenario: Scenario, space: gym.spaces.MultiDiscrete, fields: list[str]) -> Code:
    """The code of a shape: the indices themselves, steps from the setting in force, or from load-table's."""
    most = np.array(space.nvec) - 1
    if shape == "indices":
        return Code(space, lambda actions, seen: np.asarray(actions, dtype=np.int64).reshape(len(seen), -1))
    places = [fields.index("batch_size"), fields.index("threshold")]
    if shape == "differences":
        return Code(
            gym.spaces.MultiDiscrete([5, 5]),
            lambda actions, seen: np.clip(np.rint(seen[:, places] * most) + np.asarray(actions) - 2, 0, most).astype(
                np.int64
            ),
        )
    options = TuneOptions()
    table: LoadTable = find_load_table(scenario, queries=options.queries, seed=options.seed, engine=options.engine)
    of_level = np.array([scenario.action(best[0]) for best in table.ranking], dtype=np.int64)
    offered = fields.index("offered")
    return Code(
        gym.spaces.MultiDiscrete([5, 5]),
        lambda actions, seen: np.clip(
            of_level[table.indices(seen[:, offered])] + np.asarray(actions) - 2, 0, most
        ).astype(np.int64),
    )


def measure(variant: Variant, scenario: Scenario, timesteps: int, seed: int, days: int) -> dict[str, Any]:
    """Train one, and its figures on test days."""
    spec = find_spec(variant.env)
    fields, parameters = list(spec.make_task(scenario).fields), load_hyperparams(variant.algo)
    hidden = np.array([fields.index(name) for name in variant.hidden], dtype=np.int64)
    venv: VecEnv = NodeVecEnv(spec.make_vector(parameters.n_envs, scenario, reward=variant.reward))
    space = venv.action_space
    assert isinstance(space, gym.spaces.MultiDiscrete)
    code = code_of(variant.shape, scenario, space, fields)
    if parameters.wrapper is not None:
        venv = MappedVecEnv(venv, parameters.wrapper.mapping)
        mapping = parameters.wrapper.mapping(space)
        shape = (-1, *(mapping.space.shape or ()))
        code = Code(mapping.space, lambda actions, seen: mapping.indices(np.asarray(actions).reshape(shape)))
    else:
        venv = Coded(venv, code, hidden)
    given = {**parameters.algorithm, **variant.changes}
    if parameters.normalize is not None:
        venv = VecNormalize(venv, **parameters.normalize | {"gamma": given["gamma"]})
    torch.set_num_threads(1)
    model = algorithm(variant.algo)(env=venv, seed=seed, device="cpu", verbose=0, **given)
    venv.seed(seed * 1_000_000)
    began_s = time.process_time()
    model.learn(timesteps)
    seconds = time.process_time() - began_s
    env, policy = spec.make(scenario), CodedPolicy(model, code, hidden)
    found = [day_metrics(run_policy(env, policy, day, "test"), scenario) for day in range(days)]
    return {
        "p95_hourly_s": [each.p95_hourly_s for each in found],
        "violation_rate": [each.violation_rate for each in found],
        "seconds": seconds,
    }


def main(
    folder: Annotated[Path, typer.Argument(help="A file for each cell; those there are not done again.")],
    groups: Annotated[list[str] | None, typer.Argument(help="Groups (default: all).")] = None,
    scenario: Annotated[str, typer.Option(help="Preset or file.")] = "wnd",
    timesteps: Annotated[int, typer.Option(help="Of every training.")] = 40_000,
    seeds: Annotated[int, typer.Option(help="Trainings of each.")] = 3,
    days: Annotated[int, typer.Option(help="Test days.")] = 10,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Train the variants of some groups, and show them beside load-table."""
    chosen = groups or list(GROUPS)
    for name in chosen:
        if name not in GROUPS:
            raise InputError("group", name, f"must be one of {', '.join(GROUPS)}")
    make_folder("folder", folder)
    kept = f"{folder} holds the cells so far; the same command goes on"
    rows: list[dict[str, Any]] = []
    cells = [(group, name, seed) for group in chosen for name in GROUPS[group] for seed in range(seeds)]
    with console.telling("study", quiet=json, kept=kept) as tell:
        table = _kept_table(folder / f"{scenario}-table-{days}.json", load_scenario(scenario), days)
        for group in chosen:
            for name, variant in GROUPS[group].items():
                spec = find_spec(variant.env)
                evaluation = evaluation_of(spec)
                prepared = evaluation.prepare(load_scenario(scenario), "compiled", evaluation.choices)
                found = []
                for seed in range(seeds):
                    tell(Step(f"{name}, seed {seed}", cells.index((group, name, seed)) / len(cells)))
                    path = folder / f"{scenario}-{timesteps}-{variant.digest}-{seed}.json"
                    found.append(_kept(path, variant, prepared, timesteps, seed, days))
                rows.append({"group": group, "variant": name, **_row(found, table, days)})
    if json:
        console.print_json({"scenario": scenario, "timesteps": timesteps, "days": days, "rows": rows})
        return
    console.print_table(
        f"{scenario}, {timesteps} steps, {seeds} seeds, of load-table's on {days} test days",
        ["group", "variant", "p95 of the table's, by seed", "mean", "late or refused %", "table's", "training s"],
        [
            [
                row["group"],
                row["variant"],
                ", ".join(f"{each:.3f}" for each in row["ratios"]),
                f"{row['ratio']:.3f}",
                f"{100 * row['violation_rate']:.2f}",
                f"{100 * row['table_violation_rate']:.2f}",
                f"{row['seconds']:.0f}",
            ]
            for row in rows
        ],
    )


def _kept(path: Path, variant: Variant, scenario: Scenario, timesteps: int, seed: int, days: int) -> dict[str, Any]:
    if path.exists():
        found: dict[str, Any] = json_text.loads(path.read_text(encoding="utf-8"))
        if len(found["p95_hourly_s"]) >= days:
            return found
    found = measure(variant, scenario, timesteps, seed, days)
    with replacing(path) as file:
        json_text.dump(found, file)
    return found


def _kept_table(path: Path, scenario: Scenario, days: int) -> dict[str, Any]:
    """Load-table's figures, in DeepRec/Serving-v1."""
    if path.exists():
        return json_text.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    tuned = prepare("load-table", scenario, TuneOptions(), silent)
    env = find_spec("serving").make(tuned.scenario)
    found = [day_metrics(run_policy(env, tuned.policy, day, "test"), tuned.scenario) for day in range(days)]
    figures = {name: [getattr(each, name) for each in found] for name in ("p95_hourly_s", "violation_rate")}
    with replacing(path) as file:
        json_text.dump(figures, file)
    return figures


def _row(found: list[dict[str, Any]], table: dict[str, Any], days: int) -> dict[str, Any]:
    ratios = [
        geometric_mean([a / b for a, b in zip(each["p95_hourly_s"][:days], table["p95_hourly_s"], strict=True)])
        for each in found
    ]
    return {
        "ratios": ratios,
        "ratio": math.exp(float(np.mean(np.log(ratios)))),
        "violation_rate": float(np.mean([each["violation_rate"][:days] for each in found])),
        "table_violation_rate": float(np.mean(table["violation_rate"])),
        "seconds": float(np.median([each["seconds"] for each in found])),
    }


app = console.application("What fields, actions, rewards, discounts and algorithms bring.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.study")
