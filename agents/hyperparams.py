"""Hyperparameters from YAML files in RL Zoo format."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from deeprec_env.agents.algorithms import algorithm, arguments, check
from deeprec_env.envs import SERVING
from deeprec_env.envs.task_source import check_count
from deeprec_env.envs.wrappers import MappedActions
from deeprec_env.errors import InputError
from deeprec_env.yaml_text import parse_yaml

_SHIPPED = resources.files("deeprec_env.agents") / "hyperparams"
_OF_TRAINING = ("n_envs", "n_timesteps", "normalize", "env_wrapper", "noise_type", "noise_std")
_NOISES: dict[str, Callable[..., ActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
}


@dataclass(frozen=True)
class Hyperparams:
    """What a YAML file says: of training (`n_envs`, `n_timesteps`, `normalize`, ...), and arguments of the algorithm.

    `normalize` holds VecNormalize's arguments, None for no normalisation; `wrapper` is the class that `env_wrapper`
    names, None for actions as they are; `noise` makes the noise on continuous actions of n dimensions, None for
    none. `raw` is the mapping as read.
    """

    n_envs: int
    n_timesteps: int
    normalize: dict[str, Any] | None
    wrapper: type[MappedActions] | None
    noise: Callable[[int], ActionNoise] | None
    algorithm: dict[str, Any]
    raw: dict[str, Any]


def load_hyperparams(algo: str, path: Path | None = None, environment: str = SERVING) -> Hyperparams:
    """The hyperparameters of an algorithm for an environment, from the shipped file or another.

    Raises `InputError`, naming file and line, for what is no such file, and for a value that RL Zoo or the algorithm
    does not know.
    """
    algorithm(algo)
    name = str(path) if path is not None else f"{algo}.yml"
    try:
        text = (path or _SHIPPED / f"{algo}.yml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("hyperparams", name, f"must be a readable YAML file ({error})") from None
    data = parse_yaml(text, "hyperparams", name)
    if not isinstance(data, dict) or not isinstance(data.get(environment), dict):
        found = f"; its keys are {', '.join(map(str, data))}" if isinstance(data, dict) else ""
        raise InputError("hyperparams", name, f"must hold a mapping under {environment}{found}")
    lines = _lines(text, environment)
    return _Reader(algo, data[environment], lambda key: f"{name}, line {lines.get(key, lines[None])}: {key}").read()


def load_wrapper(value: Any, field: str) -> type[MappedActions] | None:
    """The class that the `env_wrapper` of a user's own hyperparameter file names, imported.

    Raises `InputError` for `field` if it names no wrapper of actions.
    """
    if value is None:
        return None
    module, name = _module_and_name(value)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(field, value, f"must name a class that can be imported ({error})") from None
    if not _is_wrapper(found):
        raise InputError(
            field, value, "must be deeprec_env.envs.wrappers.DiscreteActions or BoxActions, or another MappedActions"
        )
    return found  # type: ignore[no-any-return]


def loaded_wrapper(value: Any, field: str) -> type[MappedActions] | None:
    """As `load_wrapper`, for files that others may have made: the class must be there already, nothing is imported.

    That is so of `deeprec_env.envs.wrappers`, and of what the calling program has imported itself.
    """
    if value is None:
        return None
    module, name = _module_and_name(value)
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    if not _is_wrapper(found):
        allowed = "must be deeprec_env.envs.wrappers.DiscreteActions or BoxActions; another MappedActions only where"
        raise InputError(field, value, f"{allowed} the calling program has imported its module already")
    return found


def _module_and_name(value: Any) -> tuple[str, str]:
    module, _, name = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    return module, name


def _is_wrapper(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, MappedActions) and hasattr(found, "mapping")


def _lines(text: str, environment: str) -> dict[str | None, int]:
    """The line of every key of the environment's mapping; under None the mapping's own, for keys merged into it."""
    document: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    key, mapping = next((key, value) for key, value in document.value if key.value == environment)
    found: dict[str | None, int] = {None: key.start_mark.line + 1}
    return found | {key.value: key.start_mark.line + 1 for key, _ in mapping.value}


class _Reader:
    """One mapping, checked; `field` names a key with its file and line."""

    def __init__(self, algo: str, raw: dict[str, Any], field: Callable[[str], str]) -> None:
        self._algo, self._raw, self._field = algo, raw, field
        self._kinds = arguments(algo)

    def read(self) -> Hyperparams:
        for key, value in self._raw.items():
            if key not in self._kinds and key not in _OF_TRAINING:
                allowed = ", ".join([*_OF_TRAINING, *self._kinds])
                raise InputError(self._field(key), value, f"is not known; allowed: {allowed}")
        if "policy" not in self._raw:
            raise InputError(self._field("policy"), None, "must be there")
        return Hyperparams(
            n_envs=check_count(self._count("n_envs", 1), self._field("n_envs")),
            n_timesteps=self._count("n_timesteps", 100_000),
            normalize=self._normalize(),
            wrapper=load_wrapper(self._raw.get("env_wrapper"), self._field("env_wrapper")),
            noise=self._noise(),
            algorithm={key: self._argument(key) for key in self._raw if key not in _OF_TRAINING},
            raw=self._raw,
        )

    def _argument(self, key: str) -> Any:
        """A value as the algorithm takes it: RL Zoo writes dictionaries and schedules as text, tuples as lists."""
        value, kinds = self._raw[key], self._kinds[key]
        if dict in kinds and isinstance(value, str):
            value = _literal(self._field(key), value)
        elif Callable in kinds and isinstance(value, str):
            value = _linear(self._field(key), value)
        elif tuple in kinds and isinstance(value, list):
            value = tuple(value)
        check(self._algo, key, value, self._field(key))
        return value

    def _normalize(self) -> dict[str, Any] | None:
        given, field = self._raw.get("normalize", False), self._field("normalize")
        value = _literal(field, given) if isinstance(given, str) else given
        if isinstance(value, bool):
            return {} if value else None
        allowed = [name for name in inspect.signature(VecNormalize.__init__).parameters if name not in ("self", "venv")]
        if not isinstance(value, dict) or not set(value) <= set(allowed):
            raise InputError(field, given, f"must be true, false, or a mapping of {', '.join(allowed)}")
        return value

    def _noise(self) -> Callable[[int], ActionNoise] | None:
        kind, std = self._raw.get("noise_type"), self._raw.get("noise_std", 0.0)
        if kind is None:
            return None
        if kind not in _NOISES:
            raise InputError(self._field("noise_type"), kind, f"must be one of {', '.join(_NOISES)}")
        if not isinstance(std, int | float) or not 0.0 <= std < np.inf:
            raise InputError(self._field("noise_std"), std, "must be a number of at least 0")
        return lambda dimensions: _NOISES[kind](mean=np.zeros(dimensions), sigma=std * np.ones(dimensions))

    def _count(self, key: str, default: int) -> int:
        value = self._raw.get(key, default)
        if not isinstance(value, int | float) or not 1 <= value < np.inf or value != int(value):
            raise InputError(self._field(key), value, "must be a whole number of at least 1")
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
    if prefix != "lin" or not 0.0 < start < np.inf:
        raise InputError(field, text, "must be a number (as YAML has them: 0.001 or 1.0e-3) or lin_NUMBER")
    return _Linear(start)


class _Linear:
    """A schedule that can be pickled with the model."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, remaining: float) -> float:
        return self.start * remaining
