"""Hyperparameters from YAML files in RL Zoo format."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from deeprec_env.envs import SERVING
from deeprec_env.errors import InputError

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO}

_SHIPPED = resources.files("agents") / "hyperparams"
_OF_TRAINING = ("n_envs", "n_timesteps", "normalize")
_LITERALS = ("policy_kwargs",)
_SCHEDULES = ("learning_rate", "clip_range")


@dataclass(frozen=True)
class Hyperparams:
    """What a YAML file says: of training (`n_envs`, `n_timesteps`, `normalize`), and arguments of the algorithm.

    `normalize` holds VecNormalize's arguments, None for no normalisation. `raw` is the mapping as read.
    """

    n_envs: int
    n_timesteps: int
    normalize: dict[str, Any] | None
    algorithm: dict[str, Any]
    raw: dict[str, Any]


def load_hyperparams(algo: str, path: Path | None = None) -> Hyperparams:
    """The hyperparameters of an algorithm for Serving-v1, from the shipped file or another."""
    if algo not in ALGORITHMS:
        raise InputError("algo", algo, f"must be one of {', '.join(ALGORITHMS)}")
    name = str(path) if path is not None else f"{algo}.yml"
    try:
        text = (path or _SHIPPED / f"{algo}.yml").read_text(encoding="utf-8")
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError("hyperparams", name, f"must be a readable YAML file ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get(SERVING), dict):
        raise InputError("hyperparams", name, f"must hold a mapping under {SERVING}")
    return _parse(algo, name, data[SERVING])


def _parse(algo: str, name: str, raw: dict[str, Any]) -> Hyperparams:
    allowed = [
        parameter
        for parameter in inspect.signature(ALGORITHMS[algo].__init__).parameters
        if parameter not in ("self", "env", "seed", "verbose", "device", "tensorboard_log", "_init_setup_model")
    ]
    for key in raw:
        if key not in allowed and key not in _OF_TRAINING:
            raise InputError(
                f"{name}: {key}", raw[key], f"is not known; allowed: {', '.join([*_OF_TRAINING, *allowed])}"
            )
    algorithm = {key: value for key, value in raw.items() if key not in _OF_TRAINING}
    for key in _LITERALS:
        if isinstance(algorithm.get(key), str):
            algorithm[key] = _literal(f"{name}: {key}", algorithm[key])
    for key in _SCHEDULES:
        if isinstance(algorithm.get(key), str):
            algorithm[key] = _linear(f"{name}: {key}", algorithm[key])
    normalize = raw.get("normalize", False)
    if isinstance(normalize, str):
        normalize = _literal(f"{name}: normalize", normalize)
    elif isinstance(normalize, bool):
        normalize = {} if normalize else None
    n_envs, n_timesteps = _count(name, raw, "n_envs", 1), _count(name, raw, "n_timesteps", 100_000)
    return Hyperparams(n_envs, n_timesteps, normalize, algorithm, raw)


def _count(name: str, raw: dict[str, Any], key: str, default: int) -> int:
    value = raw.get(key, default)
    if not isinstance(value, int | float) or value < 1 or value != int(value):
        raise InputError(f"{name}: {key}", value, "must be a whole number of at least 1")
    return int(value)


def _literal(field: str, text: str) -> dict[str, Any]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, dict):
        raise InputError(field, text, "must be a dictionary of literals")
    return value


def _linear(field: str, text: str) -> Callable[[float], float]:
    """RL Zoo's `lin_X`: X times the remaining share of the training."""
    prefix, _, number = text.partition("_")
    try:
        start = float(number)
    except ValueError:
        start = -1.0
    if prefix != "lin" or start <= 0.0:
        raise InputError(field, text, "must be a number or lin_NUMBER")
    return _Linear(start)


class _Linear:
    """A schedule that can be pickled with the model."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, remaining: float) -> float:
        return self.start * remaining
