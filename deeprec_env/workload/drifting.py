"""Query sizes that change their distribution over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from deeprec_env.scenario.parts import SIZES, AnySizes, Floats, Ints, SizeDistribution
from deeprec_env.workload.checked import open_sizes


@SIZES.register("drifting")
class Drifting(SizeDistribution):
    """Sizes that drift from one distribution to another and back, over and over.

    Query i is of `after` with a probability that rises evenly from 0 to 1 over `queries` queries and falls again over
    as many, else of `before`. Without `queries` it is one half all the time, as in the long run.
    """

    before: AnySizes
    after: AnySizes
    queries: Annotated[int, Field(ge=1, le=10**9)] | None = None

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        return np.where(rng.random(count) < 0.5, self.after.draw(rng, count), self.before.draw(rng, count))

    def open(self, rng: np.random.Generator) -> Callable[[int], Ints]:
        chosen, *others = rng.spawn(3)  # each its own, so that blocks make no difference
        before, after = open_sizes(self.before, others[0]), open_sizes(self.after, others[1])
        done = 0

        def draw(count: int) -> Ints:
            nonlocal done
            share = np.full(count, 0.5)
            if self.queries is not None:
                along = (done + np.arange(count)) % (2 * self.queries) / self.queries
                share = np.minimum(along, 2.0 - along)
            done += count
            return np.where(chosen.random(count) < share, after(count), before(count))

        return draw

    @property
    def files(self) -> Mapping[str, Path | Traversable]:
        return {**self.before.files, **self.after.files}

    @property
    def fingerprint(self) -> str:
        return f"{self.queries} {self.before.fingerprint} {self.after.fingerprint}"

    def stationary(self) -> Drifting:
        both = {"before": self.before.stationary(), "after": self.after.stationary()}
        return self.model_copy(update={"queries": None, **both})

    def probabilities(self) -> tuple[Ints, Floats]:
        both = [distribution.probabilities() for distribution in (self.before, self.after)]
        items = np.unique(np.concatenate([sizes for sizes, _ in both]))
        probability = np.zeros(len(items))
        for sizes, share in both:
            probability[np.searchsorted(items, sizes)] += 0.5 * share
        return items, probability
