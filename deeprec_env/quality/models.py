"""The models that RecPipe ranks with: DLRM in three sizes for click logs, NeuMF in three for MovieLens."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprec_env.models.layers import mlp
from deeprec_env.models.ncf import Ncf, NcfConfig

Interaction = Literal["dot", "cat"]

SPARSE_ROWS = 200_000
"""From this many embedding rows on, gradients hold the rows looked up alone: a step must not touch all of them."""


class Ranker(nn.Module, ABC):
    """Scores candidates.

    `forward(dense, categories)` takes float32 (n, inputs) and int64 (n, tables) and returns log-odds of a click (n,).
    """

    sparse: bool = False
    """Whether the gradients of `embeddings` are sparse."""

    @abstractmethod
    def embeddings(self) -> list[nn.Parameter]:
        """The weights of the embedding tables."""

    def __call__(self, dense: Tensor, categories: Tensor) -> Tensor:
        return super().__call__(dense, categories)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DlrmSize:
    """Embedding dimension, and output widths of the layers; the bottom MLP ends in `dim`."""

    dim: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    interaction: Interaction = "dot"

    def build(self, rows: tuple[int, ...], dense_inputs: int) -> Ranker:
        """The model for tables of these many rows."""
        return RankingDlrm(self, rows, dense_inputs)


@dataclass(frozen=True)
class NeumfSize:
    """Dimension of each of the four embeddings, and output widths of the MLP."""

    dim: int
    widths: tuple[int, ...]

    def build(self, rows: tuple[int, ...], dense_inputs: int) -> Ranker:
        """The model for numbers of users and movies."""
        users, movies = rows
        return Neumf(NcfConfig(users, movies, self.dim, self.widths))


# RecPipe, MICRO 2021, table of models. The interaction is the public DLRM code's default.
DLRM_SIZES = {
    "dim_4": DlrmSize(4, (64, 4), (64, 1)),
    "dim_16": DlrmSize(16, (64, 16), (64, 1)),
    "dim_32": DlrmSize(32, (512, 256, 128, 64, 32), (96, 1)),
}

# Chosen here, smallest and largest as in He et al. (WWW 2017) and MLPerf training: RecPipe's own are not published.
NEUMF_SIZES = {
    "neumf_small": NeumfSize(8, (16, 8)),
    "neumf_medium": NeumfSize(16, (64, 32, 16)),
    "neumf_large": NeumfSize(64, (256, 256, 128, 64)),
}


class RankingDlrm(Ranker):
    """DLRM (Naumov et al., 2019) with one lookup a table and tables of different sizes.

    Features interact by the inner products of every two of (bottom's output, embeddings), which stand beside bottom's
    output ("dot"), or by concatenation ("cat"), as in the public code; its checkpoints fit (see `public`).
    """

    products: Tensor
    offsets: Tensor

    def __init__(self, size: DlrmSize, rows: tuple[int, ...], dense_inputs: int) -> None:
        super().__init__()
        self.size, self.rows = size, rows
        self.sparse = sum(rows) >= SPARSE_ROWS
        self.tables = nn.Parameter(torch.cat([_uniform(count, size.dim) for count in rows]))
        self.bottom = mlp(dense_inputs, size.bottom, last_activation=True)
        vectors = len(rows) + 1
        first, second = torch.tril_indices(vectors, vectors, -1)
        self.register_buffer("products", first * vectors + second, persistent=False)
        offsets = torch.from_numpy(np.cumsum((0, *rows[:-1])))
        self.register_buffer("offsets", offsets, persistent=False)
        self.top = mlp(interaction_width(size.interaction, len(rows), size.dim), size.top, last_activation=False)

    def embeddings(self) -> list[nn.Parameter]:
        return [self.tables]

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        bottom = self.bottom(dense)
        looked_up = F.embedding(categories + self.offsets, self.tables, sparse=self.sparse)
        if self.size.interaction == "cat":
            interaction = torch.cat([bottom, looked_up.flatten(1)], dim=1)
        else:
            vectors = torch.cat([bottom.unsqueeze(1), looked_up], dim=1)
            products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
            interaction = torch.cat([bottom, products[:, self.products]], dim=1)
        return torch.squeeze(self.top(interaction), 1)


def interaction_width(interaction: Interaction, tables: int, dim: int) -> int:
    """Inputs of the top MLP."""
    return dim * (tables + 1) if interaction == "cat" else dim + tables * (tables + 1) // 2


class Neumf(Ranker):
    """NeuMF (He et al., WWW 2017): categories are (user, movie); there are no dense inputs."""

    def __init__(self, config: NcfConfig) -> None:
        super().__init__()
        self.ncf = Ncf(config)

    def embeddings(self) -> list[nn.Parameter]:
        return [self.ncf.users.weight, self.ncf.items.weight]

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        return torch.squeeze(self.ncf.log_odds(categories[:, :1], categories[:, 1:]), 1)


def _uniform(rows: int, dim: int) -> Tensor:
    """As the public DLRM code starts its tables."""
    return torch.empty(rows, dim).uniform_(-math.sqrt(1.0 / rows), math.sqrt(1.0 / rows))
