"""What a policy is, and the one that never changes its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.errors import InputError, shown
from deeprec_env.progress import Progress as Progress
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting


class Policy(Protocol):
    """Chooses actions; the same signature as a Stable-Baselines3 model's `predict`."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """Indices into the ladders, (k,) for one observation or (n, k) for n, and the policy's next state."""
        ...


@runtime_checkable
class PrivilegedPolicy(Protocol):
    """A policy that knows more than the observation holds, as no server could: the references of a comparison."""

    def watch(self, env: TrafficEnv) -> None:
        """Called at the start of every episode; the policy then acts for this one environment."""
        ...


@dataclass(frozen=True)
class TunedPolicy:
    """A policy ready for evaluation on `scenario`, and what it cost to tune, in simulated queries (None: not known).

    The scenario's ladders hold the policy's settings, also those off the original ladders. `setting` is that of a
    policy that never changes it.
    """

    policy: Policy
    scenario: Scenario
    tuning_queries: int | None
    setting: Setting | None = None

    @property
    def tuning_in_words(self) -> str:
        """What it cost to tune, for a table."""
        return "-" if self.tuning_queries is None else f"{self.tuning_queries:,}"


def act(policy: Policy, observation: NDArray[np.float32], state: Any, start: bool) -> tuple[Any, Any]:
    """The action of a policy for one observation, and its next state; `InputError` where it returns no such pair."""
    return action_and_state(policy, policy.predict(observation, state, np.array([start]), deterministic=True))


def action_and_state(policy: Any, answer: Any) -> tuple[Any, Any]:
    """What a policy's `predict` has returned; `InputError` unless that is a pair."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise InputError("policy", type(policy).__name__, f"predict must return (action, state), not {shown(answer)}")
    return answer


class FixedPolicy:
    """Always the same setting, given as its indices on the ladders."""

    def __init__(self, *action: int) -> None:
        self.action = np.array(action, dtype=np.int64)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The fixed action, once for each observation."""
        several = np.ndim(observation) == 2
        return np.tile(self.action, (len(observation), 1)) if several else self.action.copy(), state


def fixed(scenario: Scenario, setting: Setting, tuning_queries: int = 0) -> TunedPolicy:
    """The policy of one setting, on a scenario whose ladders hold it."""
    control = scenario.control.model_copy(
        update={
            "batch_sizes": on_ladder((setting.batch_size,), scenario.control.batch_sizes),
            "thresholds": on_ladder((setting.threshold,), scenario.thresholds),
        }
    )
    extended = scenario.replace(control=control)
    return TunedPolicy(FixedPolicy(*extended.action(setting)), extended, tuning_queries, setting)


def on_ladder(levels: Sequence[Any], ladder: tuple[Any, ...]) -> tuple[Any, ...]:
    """A ladder that holds some levels, those it lacks in their place: numbers ascend, then none, then words."""
    missing = [level for level in levels if level not in ladder]
    if not missing:
        return ladder

    def place(level: Any) -> tuple[int, Any]:
        return (2, 0) if isinstance(level, str) else (1, 0) if level is None else (0, level)

    return tuple(sorted((*ladder, *missing), key=place))
