"""The beginning of a fleet's agent: a policy network that does what a teacher does, on days with slips of the hand.

From scratch an agent spends its first days in overload, where nothing that it tries helps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.policies.base import Policy

DAYS = 24
"""Training days that the teacher is watched on."""

SLIPS = 0.15
"""Share of the windows in which something else is done than what the teacher says, so that it is seen to recover."""

EPOCHS, BATCH, LEARNING_RATE = 40, 256, 2e-3

ENTROPY = 0.02
"""What an even choice is worth: what is left to try later."""


def imitate(model: BaseAlgorithm, env: NodeEnv, teacher: Policy, seed: int) -> int:
    """Fit policy and values of a model to a teacher; returns the queries that this took."""
    assert isinstance(model, OnPolicyAlgorithm)
    seen, done, returns, queries = _watch(env, teacher, model.gamma, seed)
    normalise = model.get_vec_normalize_env()
    if normalise is not None and normalise.norm_reward:
        normalise.ret_rms.update(returns)
        returns = returns / np.sqrt(normalise.ret_rms.var + normalise.epsilon)
    policy, generator = model.policy, torch.Generator().manual_seed(seed)
    observations, actions = torch.as_tensor(seen), torch.as_tensor(done)
    targets = torch.as_tensor(returns, dtype=torch.float32)
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(observations), generator=generator), BATCH):
            values, log_chances, entropy = policy.evaluate_actions(observations[chosen], actions[chosen])
            assert entropy is not None
            error = torch.nn.functional.mse_loss(values.flatten(), targets[chosen])
            loss = error - log_chances.mean() - ENTROPY * entropy.mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return queries


def _watch(env: NodeEnv, teacher: Policy, gamma: float, seed: int) -> tuple[Any, Any, Any, int]:
    """Observations, the teacher's actions for them, discounted rewards to come, and the queries of the days."""
    rng, space = np.random.default_rng([seed, DAYS]), env.action_space
    space.seed(seed)
    seen, done, returns, queries = [], [], [], 0
    for day in range(DAYS):
        observation, _ = env.reset(seed=seed if day == 0 else None)
        rewards: list[float] = []
        state, over = None, False
        while not over:
            action, state = teacher.predict(observation, state, np.array([not rewards]))
            seen.append(observation)
            done.append(action)
            slip, other = rng.random(len(action)) < SLIPS / len(action), space.sample()
            observation, reward, _, over, info = env.step(np.where(slip, other, action))
            rewards.append(reward)
            queries += round(info["offered_qps"] * env.interval_s)
        to_come = 0.0
        found = [to_come := reward + gamma * to_come for reward in reversed(rewards)]
        returns += found[::-1]
    return np.stack(seen), np.stack(done), np.array(returns), queries
