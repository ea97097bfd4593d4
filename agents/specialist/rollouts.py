"""Episodes of many environments under a network that draws its actions; several see the same traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deeprec_env.envs.vector import NodeVectorEnv
from deeprec_env.policies.adaptive.specialist import History
from deeprec_env.scenario.parts import Floats

Chooses = Callable[[torch.Tensor], torch.Tensor]
"""Logits (n, settings) of features (n, inputs)."""


class Rollout(NamedTuple):
    """Whole episodes: features (windows, n, inputs), actions (windows, n), observations that they brought, rewards."""

    features: torch.Tensor
    actions: torch.Tensor
    observations: Floats
    rewards: Floats


class Rollouts:
    """Rollouts of one vector environment; `repertoire` is (settings, controls)."""

    def __init__(self, env: NodeVectorEnv, fields: Sequence[str], repertoire: NDArray[np.int64], copies: int) -> None:
        """`copies`: environments that see the same traffic."""
        self.env, self.history, self.copies = env, History(fields), copies
        self._repertoire = repertoire

    def run(self, choose: Chooses, first_seed: int, generator: torch.Generator) -> Rollout:
        """One episode everywhere, on the training traffic of `first_seed` and those after it."""
        count = self.env.num_envs
        groups = np.arange(count) // self.copies
        observations, _ = self.env.reset(seed=(first_seed + groups).tolist())
        features, actions, seen, rewards = [], [], [], []
        state = None
        for _ in range(self.env.windows):
            rows, state = self.history.features(observations.astype(np.float64), state, None)
            features.append(torch.from_numpy(rows).float())
            with torch.no_grad():
                chances = torch.softmax(choose(features[-1]), dim=-1)
            actions.append(torch.multinomial(chances, 1, generator=generator)[:, 0])
            observations, reward, _, _, _ = self.env.step(self._repertoire[actions[-1].numpy()])
            seen.append(observations)
            rewards.append(reward)
        return Rollout(torch.stack(features), torch.stack(actions), np.stack(seen), np.stack(rewards))
