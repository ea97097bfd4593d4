"""What policies did in the episodes of a comparison, as plain JSON, and the policy that does it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.scenario.control import FURTHER_LADDERS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

Runs = list[list[Any]]
"""Actions of an episode as pairs [action, windows]: each with the number of windows that it was taken for."""


def runs_of(actions: Sequence[Any]) -> Runs:
    """Actions as runs of equal ones."""
    return [[action, len(list(same))] for action, same in groupby(map(_plain, actions))]


def recording(prepared: TunedPolicy, episodes: Mapping[int, Runs]) -> dict[str, Any]:
    """The actions of a policy by seed, with the ladders that they are indices of."""
    setting, scenario = prepared.setting, prepared.scenario
    return {
        "batch_sizes": list(scenario.control.batch_sizes),
        "thresholds": [] if scenario.fleet is not None else list(scenario.thresholds),
        **{name: list(ladder) for name, ladder in _further_ladders(scenario).items()},
        "setting": None if setting is None else _plain_setting(setting),
        "tuning_queries": prepared.tuning_queries,
        "episodes": {str(seed): runs for seed, runs in episodes.items()},
    }


def _further_ladders(scenario: Scenario) -> dict[str, tuple[Any, ...]]:
    """The ladders of further controls that a scenario names."""
    named = {name: getattr(scenario.control, name) for name in FURTHER_LADDERS.values()}
    return {name: ladder for name, ladder in named.items() if ladder is not None}


def _plain_setting(setting: Setting) -> list[Any]:
    """A setting's fields in their order, without the further controls where all of them are the defaults."""
    fields = [getattr(setting, each.name) for each in dataclasses.fields(setting)]
    return fields[:3] if Setting(*fields[:3]) == setting else fields


def recorded_policy(name: str, recorded: Any, scenario: Scenario) -> TunedPolicy:
    """The policy that takes the actions of a `recording`, episode by episode; `InputError` for what is none."""
    try:
        control = {"batch_sizes": recorded["batch_sizes"], "thresholds": recorded["thresholds"]}
        control |= {name: recorded[name] for name in FURTHER_LADDERS.values() if name in recorded}
        actions = [
            np.asarray(action) for runs in recorded["episodes"].values() for action, times in runs for _ in range(times)
        ]
        setting = None if recorded["setting"] is None else Setting(*recorded["setting"])
        queries = None if recorded["tuning_queries"] is None else int(recorded["tuning_queries"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"actions.{name}", "...", "must be what 'deeprec evaluate' recorded") from None
    # A fleet's ladders are its groups', and its actions are indices on these.
    extended = scenario if scenario.fleet else scenario.replace(control=scenario.control.model_dump() | control)
    return TunedPolicy(RecordedPolicy(name, actions), extended, queries, setting)


class RecordedPolicy:
    """Takes recorded actions one after another, whatever it observes."""

    def __init__(self, name: str, actions: Sequence[NDArray[Any]]) -> None:
        self._name, self._actions, self._taken = name, actions, 0

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The next action; `InputError` after the last."""
        if self._taken == len(self._actions):
            raise InputError(f"actions.{self._name}", self._taken, "must be one for every window of the episodes")
        self._taken += 1
        return self._actions[self._taken - 1], state


def _plain(action: Any) -> Any:
    if isinstance(action, Mapping):
        return {str(key): _plain(value) for key, value in action.items()}
    return np.asarray(action).tolist()
