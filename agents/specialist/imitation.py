"""Imitation: the settings that the tables would take if they knew the coming window's load.

A table says what every setting costs at every load. The network is given what was measured, and learns the choice that
costs least on average over the loads that then came: so it learns to foresee the load as well.
"""

from __future__ import annotations

import numpy as np
import torch

from deeprec_env.agents.specialist.rollouts import Rollout
from deeprec_env.agents.specialist.teacher import Teacher

LEARNING_RATE = 3e-3
BATCH = 512
EPOCHS = 12

ENTROPY = 0.03
"""What an even choice is worth, in logarithms of p95: how far from the best the settings are that are tried later."""

MOST = 2.0
"""Most that a setting costs: overloaded ones are all alike."""


def imitate(
    network: torch.nn.Module,
    rollouts: list[Rollout],
    teacher: Teacher,
    offered: int,
    generator: torch.Generator,
    epochs: int = EPOCHS,
) -> float:
    """Fit the network to rollouts; `offered` is that field's place in an observation. Returns the last epoch's loss."""
    features = torch.cat([each.features.flatten(0, 1) for each in rollouts])
    loads = np.concatenate([each.observations[..., offered].ravel() for each in rollouts])
    costs = torch.from_numpy(np.minimum(teacher.cost_at(loads), MOST)).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(features) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    mean = 0.0
    for _ in range(epochs):
        losses = []
        for chosen in torch.split(torch.randperm(len(features), generator=generator), BATCH):
            log_chances = torch.log_softmax(network(features[chosen]), dim=-1)
            chances = log_chances.exp()
            loss = (chances * (costs[chosen] + ENTROPY * log_chances)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        mean = float(np.mean(losses))
    return mean
