"""Training an agent, watched on fixed validation days; interrupted, it goes on from its last checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecMonitor, VecNormalize

from deeprec_env.agents.action_vec_env import MappedVecEnv
from deeprec_env.agents.algorithms import algorithm
from deeprec_env.agents.hyperparams import Hyperparams, load_hyperparams
from deeprec_env.agents.loggers import check_formats, make_logger
from deeprec_env.agents.normalisation import load_normalisation, normalisation_path
from deeprec_env.agents.storage import CONFIG, load_model, read_config, read_state
from deeprec_env.agents.vec_env import NodeVecEnv
from deeprec_env.agents.watch import Update, Watch
from deeprec_env.arguments import whole
from deeprec_env.envs import SERVING
from deeprec_env.envs.environments import find_spec, findable_name
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.evaluation.evaluation import Evaluation, evaluation_of
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import all_rows
from deeprec_env.simulation.engines import engine_kind
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS

MOST_SEED = 2**32 - 1
"""Bound of a training's seed: Stable-Baselines3 seeds NumPy's first generator with it, which takes no more."""

MOST_TIMESTEPS = 10**12
_SHOWN_KEYS = 5


@dataclass(frozen=True)
class TrainSettings:
    """What to train, on which scenario (preset, file or mapping) and environment.

    `timesteps` None: the hyperparameters'; `reward` None: the environment's first. `log`: names of
    `deeprec_env.agents.loggers.FORMATS`.
    """

    scenario: Any
    algo: str = "ppo"
    env: str = "serving"
    timesteps: int | None = None
    reward: str | None = None
    hyperparams: Path | None = None
    engine: str = "compiled"
    seed: int = 0
    validate_every: int = 4096
    log: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", self.spec.reward(self.reward))  # frozen for everyone else
        self.parameters()
        engine_kind(self.engine)
        if self.timesteps is not None:
            whole("timesteps", self.timesteps, 1, MOST_TIMESTEPS)
        whole("seed", self.seed, 0, MOST_SEED)
        whole("validate_every", self.validate_every, 1)
        object.__setattr__(self, "log", check_formats(self.log))

    def parameters(self) -> Hyperparams:
        """The hyperparameters in use."""
        return load_hyperparams(self.algo, self.hyperparams, self.spec.hyperparams_key)

    @property
    def spec(self) -> EnvSpec:
        """The environment that the agent is trained in."""
        return find_spec(self.env)

    @property
    def evaluation(self) -> Evaluation:
        """How agents are judged in it."""
        return evaluation_of(self.spec)

    def total_timesteps(self) -> int:
        """Environment steps of the whole training."""
        return self.timesteps or self.parameters().n_timesteps


@dataclass(frozen=True)
class Trained:
    """A finished training: its folder, and the best validation result."""

    folder: Path
    timesteps: int
    queries: int
    best: dict[str, float]
    question: Question | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The summary that `deeprec train` prints."""
        described = {"folder": str(self.folder), "timesteps": self.timesteps, "queries": self.queries}
        answer = {"schema_version": SCHEMA_VERSION, **described, "best": self.best}
        return answer | asked(self.question) | {"versions": versions()}


def train(
    settings: TrainSettings,
    folder: Path,
    *,
    resume: bool = False,
    progress: Update = lambda what, steps: None,
    begin: Callable[[BaseAlgorithm], int] | None = None,
) -> Trained:
    """Train until the settings' steps are done and leave in `folder`: best and last model, config, logs.

    A checkpoint is written at every validation and on an interrupt; `resume` goes on from it. `begin` is given the
    fresh model before its first step, and returns the queries that it took to do something with it.
    """
    evaluation = settings.evaluation
    scenario = evaluation.prepare(load_scenario(settings.scenario), settings.engine, evaluation.choices)
    parameters = settings.parameters()
    config = _config(settings, scenario, parameters)
    state = _resumed_state(folder, config) if resume else _fresh_state(folder)
    question = question_of(settings, scenario, resumed=state["timesteps"] > 0)
    torch.set_num_threads(1)
    venv = _vector_env(settings, scenario, parameters, folder, resumed=state["timesteps"] > 0)
    try:
        model = _model(settings, parameters, venv, folder, resumed=state["timesteps"] > 0)
        # Every training seed has its own block of environment seeds; a resumed one goes on with traffic it has not
        # seen. Said here, since making the model gives its own seed to the environments.
        venv.seed(settings.seed * 1_000_000 + state["timesteps"])
        make_folder("output", folder)
        with replacing(folder / CONFIG) as file:
            json.dump(config, file, indent=2)
        if begin is not None and state["timesteps"] == 0:
            state["queries"] += begin(model)
        remaining = settings.total_timesteps() - state["timesteps"]
        if remaining > 0:
            _learn(settings, model, folder, config, _watch(settings, scenario, folder, state, progress), remaining)
        return Trained(folder, state["timesteps"], state["queries"], state["best"], question)
    finally:
        venv.close()


def _watch(settings: TrainSettings, scenario: Scenario, folder: Path, state: dict[str, Any], progress: Update) -> Watch:
    return Watch(
        settings.spec,
        scenario,
        folder,
        state,
        progress,
        engine=settings.engine,
        reward=settings.reward,
        parameters=settings.parameters(),
        validate_every=settings.validate_every,
    )


def _learn(
    settings: TrainSettings, model: BaseAlgorithm, folder: Path, config: dict[str, Any], watch: Watch, steps: int
) -> None:
    """Train for some more steps; whatever ends it, there is a checkpoint."""
    logger = make_logger(settings.log, folder, config)
    model.set_logger(logger)
    try:
        model.learn(steps, callback=watch, reset_num_timesteps=watch.state["timesteps"] == 0)
    finally:
        if watch.num_timesteps > 0:
            watch.checkpoint()
        watch.close()
        logger.close()


def _config(settings: TrainSettings, scenario: Scenario, parameters: Hyperparams) -> dict[str, Any]:
    return {
        "algo": settings.algo,
        "environment": settings.spec.id,
        "reward": settings.reward,
        "seed": settings.seed,
        "timesteps": settings.total_timesteps(),
        "engine": settings.engine,
        "validation_seeds": list(settings.evaluation.validation_seeds),
        "ladders": settings.spec.make_task(scenario).choices,
        "hyperparams": parameters.raw,
        "scenario": scenario.model_dump(mode="json"),
        "versions": versions(),
    }


def question_of(settings: TrainSettings, scenario: Scenario, *, resumed: bool) -> Question:
    """What a training is asked."""
    return ask(
        "train",
        scenario,
        seed=settings.seed,
        split="train",
        engine=settings.engine,
        sources=(*RESULTS, "envs", "policies", "agents"),
        unrepeatable="the training was interrupted, and went on with other traffic" if resumed else "",
        algo=settings.algo,
        env=findable_name(settings.spec),
        timesteps=settings.timesteps,
        reward=settings.reward,
        validate_every=settings.validate_every,
        hyperparams=settings.parameters().raw,
    )


def _fresh_state(folder: Path) -> dict[str, Any]:
    if (folder / "last_state.json").exists():
        raise InputError("output", str(folder), "holds a training already; resume it (--resume) or name another folder")
    return {"timesteps": 0, "queries": 0, "best": {}}


def _resumed_state(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    before = read_config(folder)
    if before.get("scenario") != config["scenario"]:
        raise InputError(
            "scenario", "another", f"the training in {folder} differs in {_differing(before.get('scenario'), config)}"
        )
    for key in ("algo", "environment", "reward", "seed", "ladders", "hyperparams", "scenario"):
        if before.get(key, SERVING if key == "environment" else None) != config[key]:
            raise InputError(key, config[key], f"the training in {folder} has {before.get(key)!r}")
    return read_state(folder, "last")


def _differing(before: Any, config: dict[str, Any]) -> str:
    """The key paths at which a training's scenario is not the present one, the first few of them."""
    keys = list(differing_keys(before, config["scenario"]))
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else "")


def differing_keys(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """The key paths at which two trees of mappings differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from differing_keys(one.get(key), other.get(key), f"{at}.{key}" if at else str(key))
    elif one != other:
        yield at or "all"


def _vector_env(
    settings: TrainSettings, scenario: Scenario, parameters: Hyperparams, folder: Path, *, resumed: bool
) -> VecEnv:
    venv = _environments(settings, scenario, parameters.n_envs)
    if parameters.wrapper is not None:
        venv = MappedVecEnv(venv, parameters.wrapper.mapping)
    saved = load_normalisation(folder, "last") if resumed else None
    if saved is not None:
        return saved.over(venv)
    if resumed and parameters.normalize is not None:
        missing = normalisation_path(folder, "last").name
        raise InputError("output", str(folder), f"lacks {missing}, without which the training can't go on")
    if parameters.normalize is not None:
        # As RL Zoo has it: returns are discounted as the algorithm does.
        gamma = {"gamma": parameters.algorithm["gamma"]} if "gamma" in parameters.algorithm else {}
        return VecNormalize(venv, **parameters.normalize | gamma)
    return venv


def _environments(settings: TrainSettings, scenario: Scenario, count: int) -> VecEnv:
    if settings.engine == "compiled" and all_rows(scenario):
        return VecMonitor(NodeVecEnv(settings.spec.make_vector(count, scenario, reward=settings.reward)))
    workers()
    arguments = {
        "name": settings.env,
        "scenario": scenario.model_dump(mode="json"),
        "engine": settings.engine,
        "reward": settings.reward,
    }
    return make_vec_env(
        _make_env,
        n_envs=count,
        env_kwargs=arguments,
        vec_env_cls=SubprocVecEnv,
        vec_env_kwargs={"start_method": "forkserver"},
    )


def workers() -> multiprocessing.context.ForkServerContext:
    """What makes processes: they are forked from a server that has done the slow imports once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deeprec_env.agents.training"])
    return context


def _make_env(name: str, **arguments: Any) -> gym.Env[Any, Any]:
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the trainer's to handle
    return find_spec(name).make(**arguments)


def _model(
    settings: TrainSettings, parameters: Hyperparams, venv: VecEnv, folder: Path, *, resumed: bool
) -> BaseAlgorithm:
    if resumed:
        return load_model(folder, "last", settings.algo, venv, tensorboard_log=str(folder))
    given = dict(parameters.algorithm)
    if parameters.noise is not None and isinstance(venv.action_space, gym.spaces.Box):
        given["action_noise"] = parameters.noise(venv.action_space.shape[0])
    try:
        return algorithm(settings.algo)(
            env=venv, seed=settings.seed, device="cpu", tensorboard_log=str(folder), verbose=0, **given
        )
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise InputError("hyperparams", parameters.raw, f"{settings.algo} refuses them: {error}") from None
