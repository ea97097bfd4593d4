"""PPO for a node under given traffic: what an action was worth is told from what others brought in the same traffic.

Nothing that is done changes which queries come, and when (an input-driven environment). So several environments see the
same traffic, and what the others of them reach from a window on is the baseline of each: it takes away what the traffic
alone decides, which no network of the state could know (Mao, Venkatakrishnan, Schwarzkopf and Alizadeh 2019). The
surrogate objective is PPO's, clipped (Schulman et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from deeprec_env.agents.specialist.rollouts import Rollout
from deeprec_env.scenario.parts import Floats

_LEAST = 0.002
"""Deviation of the returns in one traffic that is not made larger: it does not matter what is done there."""


@dataclass(frozen=True)
class PPOSettings:
    """Hyperparameters."""

    learning_rate: float = 2.5e-3
    clip: float = 0.2
    epochs: int = 4
    batch: int = 1024
    gamma: float = 0.5
    entropy: float = 0.003
    most_kl: float = 0.04


def advantages(rewards: Floats, copies: int, gamma: float) -> Floats:
    """What each action brought above the others in the same traffic, (windows, n) as the rewards.

    Of each traffic with deviation 1, so that an overloaded one does not drown a day.
    """
    returns = np.zeros_like(rewards)
    ahead = np.zeros(rewards.shape[1])
    for window in range(len(rewards) - 1, -1, -1):
        returns[window] = ahead = rewards[window] + gamma * ahead
    grouped = returns.reshape(len(rewards), -1, copies)
    others = (grouped.sum(axis=-1, keepdims=True) - grouped) / (copies - 1)
    found = grouped - others
    found /= np.sqrt(np.square(found).mean(axis=(0, 2), keepdims=True)) + _LEAST
    return np.asarray(found.reshape(rewards.shape))


class PPO:
    """Updates a network by rollouts of it."""

    def __init__(self, network: torch.nn.Module, settings: PPOSettings, generator: torch.Generator) -> None:
        self._network, self._settings, self._generator = network, settings, generator
        self._optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)

    def update(self, rollout: Rollout, advantage: Floats, share: float) -> float:
        """One rollout's epochs; `share` of the training is done. Returns the divergence from the policy before."""
        settings = self._settings
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1.0 - 0.9 * share)
        features, actions = rollout.features.flatten(0, 1), rollout.actions.flatten()
        worth = torch.from_numpy(advantage.ravel()).float()
        with torch.no_grad():
            before = torch.log_softmax(self._network(features), -1).gather(1, actions[:, None])[:, 0]
        divergence = 0.0
        for _ in range(settings.epochs):
            divergences = []
            for chosen in torch.split(torch.randperm(len(features), generator=self._generator), settings.batch):
                all_logs = torch.log_softmax(self._network(features[chosen]), -1)
                logs = all_logs.gather(1, actions[chosen][:, None])[:, 0]
                ratio = (logs - before[chosen]).exp()
                cut = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
                gain = torch.min(ratio * worth[chosen], cut * worth[chosen]).mean()
                entropy = -(all_logs.exp() * all_logs).sum(-1).mean()
                loss = -gain - settings.entropy * (1.0 - share) * entropy
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self._network.parameters(), 0.5)
                self._optimizer.step()
                divergences.append(float((ratio.detach() - 1.0 - (logs - before[chosen]).detach()).mean()))
            divergence = float(np.mean(divergences))
            if divergence > settings.most_kl:
                break
        return divergence
