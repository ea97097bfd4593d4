"""Model inputs: named tensors, embedding indices drawn uniformly, from a Zipf law or with given stack distances."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprec_env.errors import InputError
from deeprec_env.models.index_traces import LruStack, StackProfile, read_stack_profile, scatter, zipf_ranks

ZIPF_EXPONENT = 1.05
"""Popularity exponent of `zipf` inputs; near 1, as in web catalogues (Breslau et al., INFOCOM 1999)."""


@dataclass(frozen=True)
class IndexInput:
    """An int64 input of shape (items, *shape) with values in [0, rows).

    A shape of two axes is (tables, lookups), of one axis the lookups of one table.
    """

    shape: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class DenseInput:
    """A float32 input of shape (items, width)."""

    width: int


InputSpec = dict[str, IndexInput | DenseInput]


class IndexDistribution(Protocol):
    """Draws the rows that are looked up, request after request.

    `ahead`: whether requests are to be drawn before any of them is timed, because drawing one takes so much memory that
    it pushes out of the caches what the next is meant to find there.
    """

    ahead: ClassVar[bool]

    def draw(self, rng: np.random.Generator, name: str, wanted: IndexInput, items: int) -> NDArray[np.int64]:
        """The indices (items, *wanted.shape) of the next request for the input `name`."""
        ...


class Uniform:
    """Every row alike: the worst case for caches."""

    ahead: ClassVar[bool] = False

    def draw(self, rng: np.random.Generator, name: str, wanted: IndexInput, items: int) -> NDArray[np.int64]:
        """See `IndexDistribution`."""
        return rng.integers(0, wanted.rows, (items, *wanted.shape))


@dataclass(frozen=True)
class Zipf:
    """Popularity by a Zipf law of that exponent, exactly; without one, by the continuous law of `zipf_indices`."""

    ahead: ClassVar[bool] = False

    exponent: float | None = None

    def draw(self, rng: np.random.Generator, name: str, wanted: IndexInput, items: int) -> NDArray[np.int64]:
        """See `IndexDistribution`."""
        size = (items, *wanted.shape)
        if self.exponent is None:
            return zipf_indices(rng, wanted.rows, size)
        return scatter(zipf_ranks(rng, wanted.rows, math.prod(size), self.exponent), wanted.rows).reshape(size)


@dataclass(frozen=True)
class Stack:
    """Given LRU stack distances in every table, from request to request: the stacks live as long as this object."""

    ahead: ClassVar[bool] = True

    profile: StackProfile
    _stacks: dict[tuple[str, int], LruStack] = field(default_factory=dict, compare=False)

    def draw(self, rng: np.random.Generator, name: str, wanted: IndexInput, items: int) -> NDArray[np.int64]:
        """See `IndexDistribution`; a table's lookups follow each other item by item."""
        if self.profile.deepest >= wanted.rows:
            raise InputError(
                "index_distribution", self.profile.deepest, f"distances must be below the {wanted.rows} rows of {name}"
            )
        tables = wanted.shape[0] if len(wanted.shape) == 2 else 1
        uses = items * math.prod(wanted.shape) // tables
        distances = self.profile.draw(rng, tables * uses).reshape(tables, uses)
        drawn = np.empty((tables, uses), dtype=np.int64)
        for table in range(tables):
            if (name, table) not in self._stacks:
                self._stacks[name, table] = LruStack(wanted.rows, self.profile.deepest + 1)
            drawn[table] = self._stacks[name, table].follow(distances[table])
        if len(wanted.shape) != 2:
            return drawn.reshape(items, *wanted.shape)
        return np.ascontiguousarray(drawn.reshape(tables, items, wanted.shape[1]).transpose(1, 0, 2))


def index_distribution(text: str) -> IndexDistribution:
    """The distribution that a text names: uniform, zipf, zipf:EXPONENT or stack:FILE; `InputError` if none."""
    kind, colon, parameter = text.partition(":")
    if kind == "stack" and parameter:
        return Stack(read_stack_profile(Path(parameter)))
    if kind == "zipf" and colon:
        try:
            exponent = float(parameter)
        except ValueError:
            exponent = math.nan
        if not 0.0 < exponent <= 10.0:
            raise InputError("index_distribution", text, "its exponent must be above 0 and at most 10")
        return Zipf(exponent)
    if text not in ("uniform", "zipf"):
        raise InputError("index_distribution", text, "must be uniform, zipf, zipf:EXPONENT or stack:FILE")
    return Uniform() if text == "uniform" else Zipf()


def describe_distribution(text: str) -> str:
    """What a profile's header says of it: the text, a file by its name and its content's digest."""
    kind, _, parameter = text.partition(":")
    if kind != "stack":
        return text
    path = Path(parameter)
    return f"stack:{path.name} (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"


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
    return scatter(rank, rows)


def draw_inputs(
    spec: InputSpec, items: int, rng: np.random.Generator, distribution: IndexDistribution | str = "uniform"
) -> dict[str, Tensor]:
    """One batch of `items` items: a tensor for every name of `spec`, on the CPU.

    `distribution` is an `IndexDistribution`, which may go on from the batches before, or a text that names one.
    """
    indices = index_distribution(distribution) if isinstance(distribution, str) else distribution
    batch: dict[str, Tensor] = {}
    for name, wanted in spec.items():
        if isinstance(wanted, DenseInput):
            batch[name] = torch.from_numpy(rng.random((items, wanted.width), dtype=np.float32))
        else:
            batch[name] = torch.from_numpy(indices.draw(rng, name, wanted, items))
    return batch
