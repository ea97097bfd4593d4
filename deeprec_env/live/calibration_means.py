"""Mean services in operation over a profile's, by batch and by how busy the pool is: least squares of their ratios."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints

_STEEPEST = 10.0  # slow-down of a full pool, over that of one request
_LEAST = 1e-9
_DRAW = 1e-2  # towards the correction of the neighbouring batch, where nothing was measured: of one request


def weights_of(items: Ints, batches: Floats) -> Floats:
    """How much each batch's row has to say of each request, (requests, batches): linear between, the nearest beyond."""
    weights = np.zeros((len(items), len(batches)))
    if len(batches) == 1:
        return weights + 1.0
    below = np.clip(np.searchsorted(batches, items, side="right") - 1, 0, len(batches) - 2)
    along = np.clip((items - batches[below]) / (batches[below + 1] - batches[below]), 0.0, 1.0)
    rows = np.arange(len(items))
    weights[rows, below], weights[rows, below + 1] = 1.0 - along, along
    return weights


class Means(NamedTuple):
    """Corrections by batch, and the slope of the slow-down over the share of busy servers."""

    corrections: Floats
    slope: float

    def usual(self, weights: Floats, more_busy: Floats) -> Floats:
        """Expected service over the profile's, of requests that waited, in a normal phase, (requests,)."""
        return np.asarray((weights @ self.corrections) * (1.0 + self.slope * more_busy))


def fit_means(weights: Floats, more_busy: Floats, ratio: Floats) -> Means:
    """Least squares of ratios by corrections of each batch times the slow-down, 1 + slope x share of servers more.

    A batch that nothing was measured near is corrected as its neighbours are. For a given slope all else is linear, so
    that the slope alone is searched for, at 0 or above.
    """
    from scipy.optimize import minimize_scalar  # loaded when it is needed

    every = np.eye(weights.shape[1])
    apart = np.diff(every, axis=0) * math.sqrt(_DRAW)
    busier = weights * more_busy[:, None]
    squares = weights.T @ weights + apart.T @ apart + _LEAST * every, weights.T @ busier, busier.T @ busier
    products = weights.T @ ratio, busier.T @ ratio

    def solved(slope: float) -> tuple[Floats, float]:
        normal = squares[0] + slope * (squares[1] + squares[1].T) + slope * slope * squares[2]
        product = products[0] + slope * products[1]
        found = np.linalg.solve(normal, product)
        return np.asarray(found, dtype=np.float64), -float(product @ found)

    slope = 0.0
    if more_busy.any():
        searched = minimize_scalar(lambda slope: solved(float(slope))[1], bounds=(0.0, _STEEPEST), method="bounded")
        slope = float(searched.x) if searched.fun < solved(0.0)[1] else 0.0
    return Means(np.maximum(solved(slope)[0], 1e-3), slope)
