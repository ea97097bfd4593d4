"""A part of a size distribution: the sizes between two of its levels."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from deeprec_env.scenario.parts import SIZES, AnySizes, Floats, Ints, SizeDistribution
from deeprec_env.workload.checked import size_probabilities


@SIZES.register("between")
class Between(SizeDistribution):
    """The sizes of another distribution from the level `low` of its quantiles to the level `high`, without any order.

    From 0 to 0.5 it is its smaller half, from 0.5 to 1 its larger one.
    """

    of: AnySizes
    low: Annotated[float, Field(ge=0, lt=1)] = 0.0
    high: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self

    def probabilities(self) -> tuple[Ints, Floats]:
        items, probability = size_probabilities(self.of)
        order = np.argsort(items, kind="stable")
        levels = np.cumsum(probability[order])
        inside = np.clip(np.concatenate([[0.0], levels / levels[-1]]), self.low, self.high)
        share = np.diff(inside) / (self.high - self.low)
        return items[order][share > 0.0], share[share > 0.0]

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        items, share = self.probabilities()
        place = np.searchsorted(np.cumsum(share), rng.random(count), side="right")
        return items[np.minimum(place, len(items) - 1)]

    @property
    def files(self) -> Mapping[str, Path | Traversable]:
        return self.of.files

    @property
    def fingerprint(self) -> str:
        return f"{self.low} {self.high} {self.of.fingerprint}"
