"""Policies that choose batch size and threshold, as `DeepRec/Serving-v1` has them, in `DeepRec/Serving-v2`.

They see the part of the observation that is v1's, and their threshold is put in force with the queues first come first
served and every query admitted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.base import Policy, PrivilegedPolicy, TunedPolicy, on_ladder
from deeprec_env.scenario.control import FURTHER_LADDERS
from deeprec_env.scenario.schema import Scenario

_CHOSEN = tuple(name for name in FURTHER_LADDERS if name in V2_CONTROLS)


class TwoControls:
    """A policy of v1 in v2."""

    def __init__(self, policy: Policy, actions: NDArray[np.int64]) -> None:
        """`actions`: what its indices stand for, (batch sizes, thresholds, 4)."""
        self._policy, self._actions = policy, actions

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """Its action for v1's part of each observation, as indices on v2's ladders; and its next state."""
        seen = np.asarray(observation)[..., : len(FIELDS)]
        chosen, state = self._policy.predict(seen, state, episode_start, deterministic)
        return self._actions[chosen[..., 0], chosen[..., 1]], state


class TwoPrivilegedControls(TwoControls):
    """The same of a policy that sees ahead."""

    _policy: Any

    def watch(self, env: TrafficEnv) -> None:
        """Show it the environment."""
        self._policy.watch(env)


def without_further(scenario: Scenario) -> Scenario:
    """The scenario as v1 controls it: first come first served, by threshold, every query admitted.

    Its node then is decided on entry, unless it batches, and serves many times as fast.
    """
    defaults = {name: type(scenario.control).model_fields[name].default for name in _CHOSEN}
    return scenario.replace(
        control=scenario.control.model_copy(update=defaults | {FURTHER_LADDERS[name]: None for name in _CHOSEN})
    )


def on_serving_v2(prepared: TunedPolicy, scenario: Scenario) -> TunedPolicy:
    """A policy prepared on `without_further(scenario)` for the scenario itself, whose ladders come to hold its levels.

    The scenario has v2's ladders.
    """
    theirs, control = prepared.scenario, scenario.control
    ladders: dict[str, tuple[Any, ...]] = {
        "batch_sizes": theirs.control.batch_sizes,
        "thresholds": theirs.thresholds,
        "offloads": on_ladder(theirs.thresholds, scenario.ladders["offload"]),
        "orders": on_ladder(("fcfs",), scenario.ladders["order"]),
        "admits_ms": on_ladder((None,), scenario.ladders["admit_ms"]),
    }
    extended = scenario.replace(control=control.model_copy(update=ladders), capacity=theirs.capacity)
    plain = theirs.setting.replace(order="fcfs", admit_ms=None)
    actions = [
        [extended.action(plain.at(batch_size=size, offload=threshold), V2_CONTROLS) for threshold in theirs.thresholds]
        for size in theirs.control.batch_sizes
    ]
    kind = TwoPrivilegedControls if isinstance(prepared.policy, PrivilegedPolicy) else TwoControls
    return replace(prepared, policy=kind(prepared.policy, np.array(actions)), scenario=extended)
