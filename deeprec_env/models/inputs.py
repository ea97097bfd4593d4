"""Model inputs: named tensors, with embedding indices drawn uniformly or from a Zipf law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IndexDistribution = Literal["uniform", "zipf"]

ZIPF_EXPONENT = 1.05
"""Popularity exponent of `zipf` inputs; near 1, as in web catalogues (Breslau et al., INFOCOM 1999)."""


@dataclass(frozen=True)
class IndexInput:
    """An int64 input of shape (items, *shape) with values in [0, rows)."""

    shape: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class DenseInput:
    """A float32 input of shape (items, width)."""

    width: int


InputSpec = dict[str, IndexInput | DenseInput]


def zipf_indices(
    rng: np.random.Generator, rows: int, size: tuple[int, ...], exponent: float = ZIPF_EXPONENT
) -> NDArray[np.int64]:
    """Indices with P(rank k) close to k^-exponent over `rows` ranks, by inverting the continuous law.

    Ranks are scattered over the table by a multiplicative hash, since popular rows are not neighbours in memory.
    """
    u = rng.random(size)
    if exponent == 1.0:
        ranks = np.power(float(rows), u)
    else:
        power = 1.0 - exponent
        ranks = np.power(1.0 + u * (float(rows) ** power - 1.0), 1.0 / power)
    rank = np.minimum(ranks.astype(np.int64) - 1, rows - 1).clip(min=0)
    return (rank * np.int64(2_654_435_761)) % np.int64(rows)


def draw_inputs(
    spec: InputSpec, items: int, rng: np.random.Generator, distribution: IndexDistribution = "uniform"
) -> dict[str, Tensor]:
    """One batch of `items` items: a tensor for every name of `spec`, on the CPU."""
    batch: dict[str, Tensor] = {}
    for name, wanted in spec.items():
        if isinstance(wanted, DenseInput):
            batch[name] = torch.from_numpy(rng.random((items, wanted.width), dtype=np.float32))
            continue
        size = (items, *wanted.shape)
        zipf = distribution == "zipf"
        batch[name] = torch.from_numpy(
            zipf_indices(rng, wanted.rows, size) if zipf else rng.integers(0, wanted.rows, size)
        )
    return batch
