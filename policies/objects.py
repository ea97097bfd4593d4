"""Policies that a program hands over as objects, made ready for evaluation."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import gymnasium as gym

from deeprec_env.envs.task import Task
from deeprec_env.errors import InputError
from deeprec_env.policies.adapted import adapted
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.scenario.control import FURTHER_LADDERS
from deeprec_env.scenario.schema import Scenario

_SPACES = ("observation_space", "action_space")


def is_policy(given: Any) -> bool:
    """Whether something can choose actions: a `TunedPolicy`, or any object with `predict` (its class is none)."""
    return isinstance(given, TunedPolicy) or (not inspect.isclass(given) and callable(getattr(given, "predict", None)))


def prepared_object(name: str, given: Any, scenario: Scenario, task: Task) -> TunedPolicy:
    """An object as a policy for the scenario of a task; `name` is what errors call it.

    A `TunedPolicy` keeps its ladders, on this scenario. What has an observation and an action space, as a model of
    Stable-Baselines3 has, is fitted to the task's (see `adapted`), under the `VecNormalize` that it was trained with.
    Anything else acts as it is. Raises `InputError` for what does not fit.
    """
    if isinstance(given, TunedPolicy):
        _check_predict(name, given.policy)
        theirs = given.scenario
        ladders: dict[str, Any] = {"batch_sizes": theirs.control.batch_sizes, "thresholds": theirs.thresholds}
        for name in FURTHER_LADDERS.values():
            if getattr(theirs.control, name) is not None:
                ladders[name] = getattr(theirs.control, name)
        return replace(given, scenario=scenario.replace(control=scenario.control.model_copy(update=ladders)))
    if not is_policy(given):
        raise InputError("policies", name, "must be a policy's name, a path, or an object with predict")
    _check_predict(name, given)
    if all(isinstance(getattr(given, space, None), gym.Space) for space in _SPACES):
        normalised = getattr(given, "get_vec_normalize_env", None)
        given = adapted("policy", name, given, task, normalised() if callable(normalised) else None)
    return TunedPolicy(given, scenario, None)


def label(given: Any) -> str:
    """What the results of an object are called unless said: the name of its class."""
    return type(given.policy if isinstance(given, TunedPolicy) else given).__name__


def _check_predict(name: str, policy: Any) -> None:
    allowed = "its predict must take (observation, state, episode_start, deterministic) and return (action, state)"
    try:
        inspect.signature(policy.predict).bind(None, None, None, deterministic=True)
    except TypeError:
        raise InputError("policy", name, allowed) from None
    except ValueError:  # a built-in one, which does not say
        return
