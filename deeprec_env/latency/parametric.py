"""Latency models with parameters: affine, constant and exponential."""

from __future__ import annotations

import math
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from deeprec_env.scenario.parts import LATENCIES, Floats, Ints, LatencyModel

PositiveMs = Annotated[float, Field(gt=0)]


@LATENCIES.register("affine")
class Affine(LatencyModel):
    """(base_ms + per_item_ms * n) times lognormal noise of mean 1 and coefficient of variation `cv`."""

    base_ms: Annotated[float, Field(ge=0)]
    per_item_ms: Annotated[float, Field(ge=0)]
    cv: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.base_ms + self.per_item_ms <= 0:
            raise ValueError("base_ms and per_item_ms must not both be 0")
        return self

    def mean_s(self, items: Ints) -> Floats:
        return np.asarray((self.base_ms + self.per_item_ms * items) * 1e-3, dtype=np.float64)

    def base_s(self, items: Ints, u: Floats) -> Floats:
        if self.cv == 0.0:
            return self.mean_s(items)
        from scipy.special import ndtri  # only noisy affine models need SciPy's special functions

        variance = math.log1p(self.cv * self.cv)
        noise = np.exp(math.sqrt(variance) * ndtri(u) - variance / 2)
        return np.asarray(self.mean_s(items) * noise)


@LATENCIES.register("constant")
class Constant(LatencyModel):
    """Always `ms` milliseconds."""

    ms: PositiveMs

    def mean_s(self, items: Ints) -> Floats:
        return np.full(items.shape, self.ms * 1e-3)

    def base_s(self, items: Ints, u: Floats) -> Floats:
        return self.mean_s(items)


@LATENCIES.register("exponential")
class Exponential(LatencyModel):
    """Exponential of mean `mean_ms` milliseconds, whatever the items."""

    mean_ms: PositiveMs

    def mean_s(self, items: Ints) -> Floats:
        return np.full(items.shape, self.mean_ms * 1e-3)

    def base_s(self, items: Ints, u: Floats) -> Floats:
        return -(self.mean_ms * 1e-3) * np.log1p(-u)
