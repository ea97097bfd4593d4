"""DIN: the deep interest network, an attention unit that weighs each past behaviour against the candidate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import IndexInput
from deeprec_env.models.layers import EmbeddingTables, Tables, mlp


@dataclass(frozen=True)
class DinConfig:
    """Sizes of a DIN; `attention` is the hidden width of the activation unit, `top` the output widths of the MLP."""

    profile: Tables
    behaviours: Tables
    candidate: Tables
    context: Tables
    attention: int
    top: tuple[int, ...]

    def build(self, rows_scale: float = 1.0) -> Din:
        """The model with tables of `rows_scale` times the rows."""
        return Din(self, rows_scale)


# Table sizes: DeepRecSys paper's DIN with all its 250 behaviour tables (its repository runs 1). Attention width: 36,
# the activation unit of the DIN paper's figure 2.
DIN = DinConfig(
    profile=Tables(1, 1_000_000, 32, 3),
    behaviours=Tables(250, 100_000, 32, 3),
    candidate=Tables(1, 10_000_000, 32, 3),
    context=Tables(1, 10_000_000, 32, 3),
    attention=36,
    top=(200, 80, 2),
)


class Din(RecommendationModel):
    """Deep interest network (Zhou et al., KDD 2018); output (items, 2).

    All behaviours go through the activation unit as one batched computation, and the pooled interest is the weighted
    sum of behaviours with unnormalised weights, as in the paper. Departures: the unit sees behaviour, product and
    candidate (elementwise product in place of the outer product), and PReLU stands for Dice, which at inference is a
    PReLU with a smooth switch.
    """

    def __init__(self, config: DinConfig, rows_scale: float = 1.0) -> None:
        super().__init__()
        names = ("profile", "behaviours", "candidate", "context")
        groups = {name: getattr(config, name).scaled(rows_scale) for name in names}
        self.groups = nn.ModuleDict({name: EmbeddingTables(tables) for name, tables in groups.items()})
        dim = config.candidate.dim
        self.attention = nn.Sequential(
            nn.Linear(3 * dim, config.attention), nn.PReLU(config.attention), nn.Linear(config.attention, 1)
        )
        self.top = mlp(4 * dim, config.top, last_activation=False)
        self.input_spec = {name: IndexInput((t.count, t.lookups), t.rows) for name, t in groups.items()}

    def forward(self, profile: Tensor, behaviours: Tensor, candidate: Tensor, context: Tensor) -> Tensor:
        behaviour = self.groups["behaviours"](behaviours)  # (items, 250, dim)
        candidate = self.groups["candidate"](candidate)  # (items, 1, dim)
        paired = torch.cat([behaviour, behaviour * candidate, candidate.expand_as(behaviour)], dim=2)
        hidden = self.attention[0](paired)
        weights = self.attention[2](self.attention[1](hidden.flatten(0, 1)))
        interest = (weights.view(*behaviour.shape[:2], 1) * behaviour).sum(dim=1)
        user = self.groups["profile"](profile).flatten(1)
        rest = self.groups["context"](context).flatten(1)
        return torch.softmax(self.top(torch.cat([user, interest, candidate.flatten(1), rest], dim=1)), dim=1)
