"""Wide & Deep and its multi-task form: raw dense features beside embeddings, one deep MLP, one or more task towers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import DenseInput, IndexInput
from deeprec_env.models.layers import EmbeddingTables, Tables, mlp


@dataclass(frozen=True)
class WideDeepConfig:
    """Sizes of a (multi-task) Wide & Deep; `shared` and `tower` are the output widths of the layers."""

    tables: tuple[Tables, ...]
    dense_inputs: int
    shared: tuple[int, ...]
    tower: tuple[int, ...]
    tasks: int = 1

    def build(self, rows_scale: float = 1.0) -> WideDeep:
        """The model with tables of `rows_scale` times the rows."""
        return WideDeep(self, rows_scale)


# Sizes: DeepRecSys repository configurations (ISCA 2020); eight towers as in the paper (the repository runs one).
WND = WideDeepConfig((Tables(27, 1_000_000, 32),), 512, shared=(1024, 512, 256), tower=(1,))
MT_WND = WideDeepConfig(
    (Tables(41, 500_000, 32), Tables(2, 5_000_000, 32)), 512, shared=(1024, 512), tower=(512, 256, 128, 1), tasks=8
)


class WideDeep(RecommendationModel):
    """Wide & Deep (Cheng et al., 2016) and MT-WnD (Zhao et al., RecSys 2019); output (items, tasks).

    Departure from the original paper, as in DeepRecSys: the wide part enters the MLP as raw dense features in place of
    a separate linear model on crossed features.
    """

    def __init__(self, config: WideDeepConfig, rows_scale: float = 1.0) -> None:
        super().__init__()
        groups = [tables.scaled(rows_scale) for tables in config.tables]
        self.groups = nn.ModuleList(EmbeddingTables(tables) for tables in groups)
        concatenated = config.dense_inputs + sum(tables.count * tables.dim for tables in groups)
        self.shared = mlp(concatenated, config.shared, last_activation=True)
        self.towers = nn.ModuleList(
            mlp(config.shared[-1], config.tower, last_activation=False) for _ in range(config.tasks)
        )
        self.input_spec = {"dense": DenseInput(config.dense_inputs)}
        for position, tables in enumerate(groups):
            self.input_spec[f"indices_{position}"] = IndexInput((tables.count, tables.lookups), tables.rows)

    def forward(self, dense: Tensor, **indices: Tensor) -> Tensor:
        looked_up = [group(indices[f"indices_{position}"]).flatten(1) for position, group in enumerate(self.groups)]
        shared = self.shared(torch.cat([dense, *looked_up], dim=1))
        return torch.sigmoid(torch.cat([tower(shared) for tower in self.towers], dim=1))
