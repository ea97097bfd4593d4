"""NCF: neural collaborative filtering, a generalised matrix factorisation beside an MLP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import IndexInput
from deeprec_env.models.layers import EmbeddingTables, Tables, mlp


@dataclass(frozen=True)
class NcfConfig:
    """Sizes of an NCF: users and items have one table in the GMF half and one in the MLP half."""

    users: int
    items: int
    dim: int
    widths: tuple[int, ...]

    def build(self, rows_scale: float = 1.0) -> Ncf:
        """The model with tables of `rows_scale` times the rows."""
        return Ncf(self, rows_scale)


# Sizes: DeepRecSys repository configurations (ISCA 2020).
NCF = NcfConfig(users=140_000, items=28_000, dim=64, widths=(256, 256, 128, 64))


class Ncf(RecommendationModel):
    """Neural matrix factorisation (He et al., WWW 2017): elementwise product and MLP, concatenated, to one output."""

    def __init__(self, config: NcfConfig, rows_scale: float = 1.0) -> None:
        super().__init__()
        users = Tables(2, config.users, config.dim).scaled(rows_scale)
        items = Tables(2, config.items, config.dim).scaled(rows_scale)
        self.users, self.items = EmbeddingTables(users), EmbeddingTables(items)
        self.mlp = mlp(2 * config.dim, config.widths, last_activation=True)
        self.output = nn.Linear(config.dim + config.widths[-1], 1)
        self.input_spec = {"user": IndexInput((1,), users.rows), "item": IndexInput((1,), items.rows)}

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.sigmoid(self.log_odds(user, item))

    def log_odds(self, user: Tensor, item: Tensor) -> Tensor:
        """As `forward`, before the sigmoid: what a loss takes."""
        # The same user and item are looked up in both halves' tables.
        users = self.users(user.unsqueeze(1).expand(-1, 2, -1))
        items = self.items(item.unsqueeze(1).expand(-1, 2, -1))
        factorised = users[:, 0] * items[:, 0]
        deep = self.mlp(torch.cat([users[:, 1], items[:, 1]], dim=1))
        return cast(Tensor, self.output(torch.cat([factorised, deep], dim=1)))
