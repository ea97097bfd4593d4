"""DLRM: a bottom MLP on dense features, summed embeddings, concatenation, a top MLP (three sizes: RMC1, RMC2, RMC3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import DenseInput, IndexInput
from deeprec_env.models.layers import EmbeddingTables, Tables, mlp


@dataclass(frozen=True)
class DlrmConfig:
    """Sizes of a DLRM; `bottom` and `top` are the output widths of the layers."""

    tables: Tables
    dense_inputs: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]

    def build(self, rows_scale: float = 1.0) -> Dlrm:
        """The model with tables of `rows_scale` times the rows."""
        return Dlrm(self, rows_scale)


# Sizes: DeepRecSys repository configurations (ISCA 2020).
DLRM_RMC1 = DlrmConfig(Tables(8, 4_000_000, 32, 80), 128, (64, 32), (256, 64, 1))
DLRM_RMC2 = DlrmConfig(Tables(32, 500_000, 64, 120), 256, (128, 64), (128, 64, 1))
DLRM_RMC3 = DlrmConfig(Tables(10, 2_000_000, 32, 20), 2560, (1024, 256, 32), (512, 256, 1))


class Dlrm(RecommendationModel):
    """Deep learning recommendation model (Naumov et al., 2019).

    Departure from the original paper, as in DeepRecSys: features interact by concatenation, not by pairwise products.
    """

    def __init__(self, config: DlrmConfig, rows_scale: float = 1.0) -> None:
        super().__init__()
        tables = config.tables.scaled(rows_scale)
        self.embeddings = EmbeddingTables(tables)
        self.bottom = mlp(config.dense_inputs, config.bottom, last_activation=True)
        self.top = mlp(config.bottom[-1] + tables.count * tables.dim, config.top, last_activation=False)
        self.input_spec = {
            "dense": DenseInput(config.dense_inputs),
            "indices": IndexInput((tables.count, tables.lookups), tables.rows),
        }

    def forward(self, dense: Tensor, indices: Tensor) -> Tensor:
        interaction = torch.cat([self.bottom(dense), self.embeddings(indices).flatten(1)], dim=1)
        return torch.sigmoid(self.top(interaction))
