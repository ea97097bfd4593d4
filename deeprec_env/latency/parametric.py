"""Latency models with parameters: affine, constant and exponential."""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from deeprec_env.latency.row_kinds import AFFINE, CONSTANT, EXPONENTIAL
from deeprec_env.latency.rows import RowModel
from deeprec_env.scenario.bounds import MOST_CV, NonNegative, Positive
from deeprec_env.scenario.parts import LATENCIES, Floats, Ints


@LATENCIES.register("affine")
class Affine(RowModel):
    """(base_ms + per_item_ms * n) times lognormal noise of mean 1 and coefficient of variation `cv`."""

    base_ms: NonNegative
    per_item_ms: NonNegative
    cv: Annotated[float, Field(ge=0, le=MOST_CV)] = 0.0

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.base_ms + self.per_item_ms <= 0:
            raise ValueError("base_ms and per_item_ms must not both be 0")
        return self

    def mean_s(self, items: Ints) -> Floats:
        return np.asarray((self.base_ms + self.per_item_ms * items) * 1e-3, dtype=np.float64)

    @property
    def row(self) -> Floats:
        return np.array([AFFINE, self.base_ms, self.per_item_ms, math.sqrt(math.log1p(self.cv * self.cv))])


@LATENCIES.register("constant")
class Constant(RowModel):
    """Always `ms` milliseconds."""

    ms: Positive

    def mean_s(self, items: Ints) -> Floats:
        return np.full(items.shape, self.ms * 1e-3)

    @property
    def row(self) -> Floats:
        return np.array([CONSTANT, self.ms * 1e-3])


@LATENCIES.register("exponential")
class Exponential(RowModel):
    """Exponential of mean `mean_ms` milliseconds, whatever the items."""

    mean_ms: Positive

    def mean_s(self, items: Ints) -> Floats:
        return np.full(items.shape, self.mean_ms * 1e-3)

    @property
    def row(self) -> Floats:
        return np.array([EXPONENTIAL, self.mean_ms * 1e-3])
