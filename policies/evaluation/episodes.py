"""An episode under a policy: what it brought window by window, and the records of its queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.base import Policy, PrivilegedPolicy, act
from deeprec_env.simulation.records import Records


@dataclass(frozen=True)
class EpisodeRun:
    """An episode that has ended, drained.

    `rewards` and `infos` are by window; `infos` has that of `reset` before them. `actions` are those taken, by
    window. `state` is what the policy remembers at the end.
    """

    records: Records
    rewards: tuple[float, ...]
    infos: tuple[dict[str, float], ...]
    state: Any
    actions: tuple[Any, ...] = ()


def run_episode(env: NodeEnv, policy: Policy, seed: int, split: str) -> EpisodeRun:
    """An episode of the split's stream of `seed` under a policy.

    A policy that watches is shown the environment, whose traffic is known ahead, at the start of the episode.
    """
    observation, info = env.reset(seed=seed, options={"split": split})
    if isinstance(policy, PrivilegedPolicy):
        assert isinstance(env, TrafficEnv)
        policy.watch(env)
    rewards: list[float] = []
    actions: list[Any] = []
    infos, state, over = [info], None, False
    while not over:
        action, state = act(policy, observation, state, start=not rewards)
        actions.append(action)
        observation, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
        infos.append(info)
        over = terminated or truncated
    return EpisodeRun(env.finish(), tuple(rewards), tuple(infos), state, tuple(actions))


def run_policy(env: NodeEnv, policy: Policy, seed: int, split: str) -> Records:
    """The records of such an episode."""
    return run_episode(env, policy, seed, split).records
