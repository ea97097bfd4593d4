"""Building blocks shared by the model families: fused embedding tables and multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Tables:
    """Embedding tables of one shape: `count` tables of `rows` x `dim`, `lookups` rows summed from each per item."""

    count: int
    rows: int
    dim: int
    lookups: int = 1

    def scaled(self, rows_scale: float) -> Tables:
        """The same tables with `rows_scale` times the rows (at least one)."""
        return Tables(self.count, max(1, round(self.rows * rows_scale)), self.dim, self.lookups)


class EmbeddingTables(nn.Module):
    """`Tables` kept as one weight, looked up in one call (the fused layout of FBGEMM's table-batched embedding).

    Input: int64 indices (items, count, lookups), each in [0, rows). Output: float32 (items, count, dim), the sum of
    the rows looked up in each table.
    """

    offsets: Tensor

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.tables = tables
        self.weight = nn.Parameter(torch.empty(tables.count * tables.rows, tables.dim))
        nn.init.uniform_(self.weight, -0.05, 0.05)
        offsets = torch.arange(tables.count) * tables.rows
        self.register_buffer("offsets", offsets.view(1, -1, 1), persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        items = indices.shape[0]
        flat = (indices + self.offsets).view(items * self.tables.count, self.tables.lookups)
        return F.embedding_bag(flat, self.weight, mode="sum").view(items, self.tables.count, self.tables.dim)


class SequenceTable(nn.Module):
    """One table read position by position, without summing: (items, steps) -> (items, steps, dim)."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, dim))
        nn.init.uniform_(self.weight, -0.05, 0.05)

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight)


def mlp(inputs: int, widths: Sequence[int], *, last_activation: bool) -> nn.Sequential:
    """Linear layers of the given output widths with ReLU between them (and after the last if asked)."""
    layers: list[nn.Module] = []
    for position, width in enumerate(widths):
        layers.append(nn.Linear(inputs, width))
        if last_activation or position < len(widths) - 1:
            layers.append(nn.ReLU())
        inputs = width
    return nn.Sequential(*layers)
