"""The embedded data: synthetic clicks with planted preferences, made in seconds, so that everything runs anywhere.

Made so that the size of a model matters as in RecPipe's table on Criteo. The logarithm of the odds of a click is the
sum of three parts, whose weights were chosen for that:

* a weight of every category of every table, which any model learns;
* six pairs of tables whose categories like each other, an inner product of `PREFERENCES` planted dimensions of falling
  weight: an embedding of 4 dimensions holds the first of them, one of 16 or 32 all;
* `WAVES` sine waves through the dense inputs, which take a wide bottom MLP.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from deeprec_env.quality.data import Clicks, Dataset, Progress

TRAINING, HELD_OUT = 300_000, 524_288
"""Candidates to learn from, and to test on: 128 queries of 4096 that share none."""

DENSE, TABLES = 13, 26
ROWS = (10, 60)
PAIRS, PREFERENCES, WAVES = 6, 16, 12
OFFSET, WEIGHTS = -1.75, (1.8, 0.9, 0.7)
FALL = 0.6
"""Weight of each planted dimension to that of the one before it."""

POPULARITY = 0.7
"""Exponent of the Zipf law by which categories are drawn."""

Floats = NDArray[np.float64]


class World:
    """The planted preferences of a seed.

    Each part has mean 0 over the candidates, and the first two have variance 1 before their weights, so that data of
    all seeds is about as hard.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rows = rng.permutation(np.rint(np.geomspace(*ROWS, TABLES)).astype(int)).tolist()
        shares = [_zipf(rows) for rows in self.rows]
        self._cumulative = [np.append(np.cumsum(share)[:-1], 1.0) for share in shares]
        own = [_centred(rng.standard_normal(rows), share) for rows, share in zip(self.rows, shares, strict=True)]
        variance = sum(float(share @ weights**2) for weights, share in zip(own, shares, strict=True))
        self._own = [weights / np.sqrt(variance) for weights in own]
        fall = FALL ** np.arange(PREFERENCES)
        liking, variance = [], 0.0
        for first in range(0, 2 * PAIRS, 2):
            one, other = (
                _centred(rng.standard_normal((self.rows[table], PREFERENCES)), shares[table])
                for table in (first, first + 1)
            )
            liking.append((one * fall) @ other.T)
            variance += float(shares[first] @ liking[-1] ** 2 @ shares[first + 1])
        self._liking = [table / np.sqrt(variance) for table in liking]
        self._directions = rng.standard_normal((DENSE, WAVES)) * (1.5 / np.sqrt(DENSE))
        self._phases = rng.random(WAVES) * 2 * np.pi

    def draw(self, count: int, rng: np.random.Generator) -> Clicks:
        """So many candidates and whether they were clicked."""
        dense = rng.standard_normal((count, DENSE), dtype=np.float32)
        drawn = [np.searchsorted(cumulative, rng.random(count), side="right") for cumulative in self._cumulative]
        clicked = rng.random(count) < expit(self._log_odds(dense.astype(np.float64), drawn))
        return Clicks(clicked.astype(np.float32), dense, np.stack(drawn, axis=1).astype(np.int32))

    def _log_odds(self, dense: Floats, drawn: list[NDArray[np.intp]]) -> Floats:
        own, liking = np.zeros(len(dense)), np.zeros(len(dense))
        for weights, rows in zip(self._own, drawn, strict=True):
            own += weights[rows]
        for pair, table in enumerate(self._liking):
            liking += table[drawn[2 * pair], drawn[2 * pair + 1]]
        # The mean of sin(w x + phase) over standard normal x is exp(-|w|^2 / 2) sin(phase).
        means = np.exp(-0.5 * np.sum(self._directions**2, axis=0)) * np.sin(self._phases)
        waves = (np.sin(dense @ self._directions + self._phases) - means).sum(axis=1) * np.sqrt(2.0 / WAVES)
        return np.asarray(OFFSET + WEIGHTS[0] * own + WEIGHTS[1] * liking + WEIGHTS[2] * waves)


def make_synthetic(seed: int, progress: Progress, training: int = TRAINING, held_out: int = HELD_OUT) -> Dataset:
    """The synthetic clicks of a seed: `training` and `held_out` candidates."""
    world = World(np.random.default_rng([seed, 0]))
    progress("draw clicks", 0)
    train = world.draw(training, np.random.default_rng([seed, 1]))
    return Dataset(tuple(world.rows), train, world.draw(held_out, np.random.default_rng([seed, 2])))


def _zipf(rows: int) -> Floats:
    weights = np.arange(1, rows + 1) ** -POPULARITY
    return np.asarray(weights / weights.sum())


def _centred(values: Floats, shares: Floats) -> Floats:
    """The values (rows, ...) less their mean over candidates."""
    return np.asarray(values - shares @ values)
