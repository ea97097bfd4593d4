"""The network of a specialist while it is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deeprec_env.policies.adaptive.policy_network import CLIP
from deeprec_env.scenario.parts import Floats

HIDDEN = 64


class TrainedNetwork(torch.nn.Module):
    """Normalisation and two hidden layers, as `policy_network.PolicyNetwork` runs them."""

    def __init__(self, features: Floats, settings: int) -> None:
        """`features` (n, inputs) are normalised by what is seen of them here."""
        super().__init__()
        mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 0.02)
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        last = torch.nn.Linear(HIDDEN, settings)
        with torch.no_grad():
            last.weight.mul_(0.01)  # at first all settings are alike
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(features.shape[1], HIDDEN),
            torch.nn.Tanh(),
            torch.nn.Linear(HIDDEN, HIDDEN),
            torch.nn.Tanh(),
            last,
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (n, settings)."""
        found: torch.Tensor = self.layers(((features - self.mean) / self.scale).clamp(-CLIP, CLIP))
        return found

    def tensors(self) -> dict[str, Any]:
        """By the names of `policy_network.TENSORS`."""
        found: dict[str, Any] = {"mean": self.mean.numpy().copy(), "scale": self.scale.numpy().copy()}
        for place, layer in enumerate(each for each in self.layers if isinstance(each, torch.nn.Linear)):
            found[f"weight{place}"] = layer.weight.detach().numpy().T.copy()
            found[f"bias{place}"] = layer.bias.detach().numpy().copy()
        return found
