"""Metrics of ranked lists, as RecPipe (MICRO 2021) defines them, and of probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from deeprec_env.errors import InputError
from deeprec_env.simulation.intervals import t_quantile

Floats = NDArray[np.float64]


def ndcg(relevance: NDArray[np.floating], k: int, ideal_clicks: int | None = None) -> Floats:
    """Normalised discounted cumulative gain of the first k of ranked lists, (queries,), each in [0, 1].

    `relevance` (queries, length) holds 1 for a click and 0 for none, best rank first; a list shorter than k gains
    nothing after its end. DCG = sum over ranks i from 1 of relevance / log2(i + 1). The ideal list holds
    `ideal_clicks` clicks (None: k, RecPipe's rule on Criteo, by which the ideal is the same for all queries; 1: a movie
    held out).
    """
    if k < 1:
        raise InputError("k", k, "must be at least 1")
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    first = np.asarray(relevance[:, :k], dtype=np.float64)
    ideal = discounts[: k if ideal_clicks is None else min(ideal_clicks, k)].sum()
    # All clicks at the top come to the ideal but for rounding.
    return np.asarray(np.minimum(first @ discounts[: first.shape[1]] / ideal, 1.0))


def hit_rate(relevance: NDArray[np.floating], k: int) -> Floats:
    """1 where the first k of a ranked list (queries, length) hold a click, else 0: (queries,)."""
    return np.asarray(relevance[:, :k].any(axis=1), dtype=np.float64)


def error(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> Floats:
    """Share of the last axis that is predicted wrongly, a click where the probability is above 0.5."""
    return np.asarray(((probabilities > 0.5) != (labels > 0.5)).mean(axis=-1), dtype=np.float64)


def log_loss(labels: NDArray[np.floating], probabilities: NDArray[np.floating]) -> float:
    """Mean of -ln of the probability of what happened, in nats; probabilities are kept 1e-7 from 0 and 1."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(labels > 0.5, np.log(p), np.log1p(-p))))


def auc(labels: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Probability that a click scores higher than what was not clicked, ties counting half; nan if one is missing."""
    clicks = labels > 0.5
    positives, negatives = int(clicks.sum()), int((~clicks).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[clicks].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True)
class Mean:
    """A mean over queries and half the width of its 95 % interval (Student's t; nan for one query)."""

    value: float
    half_width: float

    @classmethod
    def of(cls, values: Floats) -> Mean:
        """The mean of independent values."""
        count = len(values)
        if count < 2:
            return cls(float(values.mean()), float("nan"))
        spread = float(values.std(ddof=1)) / math.sqrt(count)
        return cls(float(values.mean()), t_quantile(count - 1) * spread)
