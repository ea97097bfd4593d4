"""The algorithms, by the names that RL Zoo gives them, and what a hyperparameter file may say of each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from deeprec_env.errors import InputError

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "ppo_lstm": RecurrentPPO,
    "a2c": A2C,
    "dqn": DQN,
    "qrdqn": QRDQN,
    "sac": SAC,
    "td3": TD3,
}

LOADABLE: dict[str, type[BaseAlgorithm]] = ALGORITHMS | {
    "ddpg": DDPG,
    "ars": ARS,
    "crossq": CrossQ,
    "maskable_ppo": MaskablePPO,
    "tqc": TQC,
    "trpo": TRPO,
}
"""Those that can be evaluated, wherever they were trained."""

_ONLY = {"ppo": "clip_range", "trpo": "cg_max_steps"}
"""What a saved model of an algorithm holds, and those of others with the same policies (A2C) do not."""

_OURS = ("self", "env", "seed", "verbose", "device", "tensorboard_log", "_init_setup_model")
_OBJECTS = ("action_noise", "replay_buffer_class", "rollout_buffer_class")  # nothing that a file could hold
_POSITIVE = ("batch_size", "n_steps", "n_epochs", "buffer_size", "train_freq", "target_update_interval", "policy_delay")
_SHARES = ("gamma", "gae_lambda", "tau", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps")
_WORDS = {
    int: "a whole number",
    float: "a number (as YAML has them: 0.001 or 1.0e-3)",
    bool: "true or false",
    str: "text",
    dict: "a mapping, or one as text",
    tuple: "a list",
    Callable: "lin_NUMBER",
    NoneType: "null",
}


def algorithm(name: str, field: str = "algo") -> type[BaseAlgorithm]:
    """The algorithm of a name; `InputError` if there is none."""
    if name not in ALGORITHMS:
        raise InputError(field, name, f"must be one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def saved_algorithms(data: Mapping[str, Any]) -> list[str]:
    """The algorithms (of `LOADABLE`) that a saved model can be of, by its `data`: the module of its policy's class.

    None where that is a class of somebody else's.
    """
    module = data["policy_class"]["__module__"]
    names = [
        name
        for name, kind in LOADABLE.items()
        if module in {policy.__module__ for policy in kind.policy_aliases.values()}
    ]
    only = [name for name in names if _ONLY.get(name) in data]
    return only or [name for name in names if name not in _ONLY]


def arguments(algo: str) -> dict[str, set[Any]]:
    """The arguments of an algorithm that a file may give, each with the types it may have."""
    kinds = kinds_of(ALGORITHMS[algo].__init__)
    return {name: kinds[name] for name in kinds if name not in (*_OURS, *_OBJECTS)}


def kinds_of(function: Callable[..., Any]) -> dict[str, set[Any]]:
    """The plain types that each argument of a function may have, whichever way its annotations are written."""
    parameters = inspect.signature(function, eval_str=True).parameters
    return {name: _kinds(parameter.annotation) for name, parameter in parameters.items()}


def check(algo: str, name: str, value: Any, field: str) -> None:
    """Raise `InputError` for `field` unless `value` can be the algorithm's argument `name`."""
    if name == "policy":
        policies = ALGORITHMS[algo].policy_aliases
        if value not in policies:
            raise InputError(field, value, f"must be one of {', '.join(policies)}")
        return
    kinds = arguments(algo)[name]
    if not any(_is(value, kind) for kind in kinds):
        raise InputError(field, value, f"must be {' or '.join(_WORDS[kind] for kind in _WORDS if kind in kinds)}")
    if name in _POSITIVE and isinstance(value, int) and value < 1:
        raise InputError(field, value, "must be at least 1")
    if name in _SHARES and not 0.0 <= value <= 1.0:
        raise InputError(field, value, "must be from 0 to 1")


def _kinds(annotation: Any) -> set[Any]:
    """The plain types of an annotation: `dict` of `dict[str, Any]`, `Callable` of a schedule."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else [annotation]
    return {get_origin(part) or part for part in parts} & _WORDS.keys()


def _is(value: Any, kind: Any) -> bool:
    if kind is Callable:
        return callable(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
