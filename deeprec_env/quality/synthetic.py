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

from deeprec_env.quality.data import Clicks, Dataset, Progress

TRAINING, HELD_OUT = 300_000, 524_288
"""Candidates to learn from, and to test on: 128 queries of 4096 that share none."""

DENSE, TABLES = 13, 26
ROWS = (10, 60)
PAIRS, PREFERENCES, WAVES = 6, 16, 12
OFFSET, WEIGHTS = -2.7, (1.8, 0.9, 0.7)
FALL = 0.6
"""Weight of each planted dimension to that of the one before it."""

POPULARITY = 0.7
"""Exponent of the Zipf law by which categories are drawn."""

Floats = NDArray[np.float64]


class World:
    """The planted preferences of a seed; deviates of every part have variance 1 before its weight."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rows = rng.permutation(np.rint(np.geomspace(*ROWS, TABLES)).astype(int)).tolist()
        fall = FALL ** np.arange(PREFERENCES)
        fall /= np.sqrt(np.sum(fall**2))
        self._popularity = [_zipf(rows) for rows in self.rows]
        self._own = [rng.standard_normal(rows) / np.sqrt(TABLES) for rows in self.rows]
        self._liking = [
            (rng.standard_normal((self.rows[2 * pair], PREFERENCES)) * fall)
            @ rng.standard_normal((PREFERENCES, self.rows[2 * pair + 1]))
            / np.sqrt(PAIRS)
            for pair in range(PAIRS)
        ]
        self._directions = rng.standard_normal((DENSE, WAVES)) * (1.5 / np.sqrt(DENSE))
        self._phases = rng.random(WAVES) * 2 * np.pi

    def draw(self, count: int, rng: np.random.Generator) -> Clicks:
        """So many candidates and whether they were clicked."""
        dense = rng.standard_normal((count, DENSE), dtype=np.float32)
        drawn = [np.searchsorted(popularity, rng.random(count)) for popularity in self._popularity]
        odds = rng.random(count) < 1.0 / (1.0 + np.exp(-self._log_odds(dense.astype(np.float64), drawn)))
        return Clicks(odds.astype(np.float32), dense, np.stack(drawn, axis=1).astype(np.int32))

    def _log_odds(self, dense: Floats, drawn: list[NDArray[np.intp]]) -> Floats:
        own = np.sum([weights[rows] for weights, rows in zip(self._own, drawn, strict=True)], axis=0)
        liking = np.sum(
            [table[drawn[2 * pair], drawn[2 * pair + 1]] for pair, table in enumerate(self._liking)], axis=0
        )
        waves = np.sin(dense @ self._directions + self._phases).sum(axis=1) * np.sqrt(2.0 / WAVES)
        return np.asarray(OFFSET + WEIGHTS[0] * own + WEIGHTS[1] * liking + WEIGHTS[2] * waves)


def make_synthetic(seed: int, progress: Progress, training: int = TRAINING, held_out: int = HELD_OUT) -> Dataset:
    """The synthetic clicks of a seed: `training` and `held_out` candidates."""
    world = World(np.random.default_rng([seed, 0]))
    progress("draw clicks", 0)
    train = world.draw(training, np.random.default_rng([seed, 1]))
    return Dataset(tuple(world.rows), train, world.draw(held_out, np.random.default_rng([seed, 2])))


def _zipf(rows: int) -> Floats:
    weights = np.arange(1, rows + 1) ** -POPULARITY
    cumulative = np.cumsum(weights) / weights.sum()
    cumulative[-1] = 1.0
    return np.asarray(cumulative)
