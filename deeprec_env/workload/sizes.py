"""Query sizes: production stand-in, lognormal, normal and fixed."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from deeprec_env.scenario.bounds import Positive
from deeprec_env.scenario.parts import SIZES, Floats, Ints, SizeDistribution

Items = Annotated[int, Field(ge=1, le=10**6)]


class _Clipped(SizeDistribution):
    """A continuous size, rounded to the nearest whole number of items and clipped to [low, high]."""

    low: Items = 1
    high: Items = 1000

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} must be at most high {self.high}")
        return self

    @abstractmethod
    def _continuous(self, rng: np.random.Generator, count: int) -> Floats:
        """The next `count` sizes before rounding."""

    @abstractmethod
    def _below(self, size: float) -> float:
        """Probability that the continuous size is below `size`."""

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        return np.clip(np.rint(self._continuous(rng, count)), self.low, self.high).astype(np.int64)

    def probabilities(self) -> tuple[Ints, Floats]:
        return _clipped_probabilities(self)


@functools.lru_cache(maxsize=64)
def _clipped_probabilities(sizes: _Clipped) -> tuple[Ints, Floats]:
    """Remembered: every summary asks for the offered load, which needs them."""
    items = np.arange(sizes.low, sizes.high + 1, dtype=np.int64)
    inner = [sizes._below(size + 0.5) for size in range(sizes.low, sizes.high)]
    probability = np.diff(np.array([0.0, *inner, 1.0]))
    for shared in (items, probability):
        shared.setflags(write=False)
    return items, probability


def _normal_below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@SIZES.register("lognormal")
class Lognormal(_Clipped):
    """round(LogNormal(mu, sigma)), clipped to [low, high]."""

    mu: Annotated[float, Field(ge=-100, le=100)]
    sigma: Annotated[float, Field(gt=0, le=100)]

    def _continuous(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.lognormal(self.mu, self.sigma, count)

    def _below(self, size: float) -> float:
        return _normal_below((math.log(size) - self.mu) / self.sigma)


@SIZES.register("production")
class Production(Lognormal):
    """Stand-in for DeepRecSys's unpublished production trace: round(LogNormal(5.1, 0.7)) clipped to [1, 1000].

    Mean 208, median 164, p95 518; the largest quarter of the queries holds 51 % of the items.
    """

    mu: Annotated[float, Field(ge=-100, le=100)] = 5.1
    sigma: Annotated[float, Field(gt=0, le=100)] = 0.7


@SIZES.register("normal")
class Normal(_Clipped):
    """round(Normal(mean, std)), clipped to [low, high]; by default DeepRecSys's repository's N(165, 16)."""

    mean: Positive = 165.0
    std: Positive = 16.0

    def _continuous(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.normal(self.mean, self.std, count)

    def _below(self, size: float) -> float:
        return _normal_below((size - self.mean) / self.std)


@SIZES.register("fixed")
class Fixed(SizeDistribution):
    """Every query has `items` items."""

    items: Items

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        return np.full(count, self.items, dtype=np.int64)

    def probabilities(self) -> tuple[Ints, Floats]:
        return np.array([self.items], dtype=np.int64), np.ones(1)
