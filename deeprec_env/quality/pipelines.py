"""Pipelines of models: which candidates each stage keeps, and the quality of what is served in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.quality.data import Dataset, Floats32, Indices
from deeprec_env.quality.metrics import Floats, error, hit_rate, ndcg

RANKS = (4, 8, 16, 32, 64)
"""The k of NDCG@k and hit rate@k."""

Scores = Mapping[str, Floats32]
"""Log-odds of every held-out candidate, by model."""


@dataclass(frozen=True)
class Pipeline:
    """Models in stage order and the items that each scores: the first takes the query's, the next the best of those."""

    models: tuple[str, ...]
    items: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.models or len(self.models) != len(self.items):
            raise InputError("pipeline", self.models, "must have one number of items for each model")
        if min(self.items) < 1 or any(b > a for a, b in zip(self.items, self.items[1:], strict=False)):
            raise InputError("items", self.items, "must be at least 1 and not grow from stage to stage")

    @property
    def name(self) -> str:
        """MODEL@ITEMS for each stage, joined by dashes."""
        return "-".join(f"{model}@{items}" for model, items in zip(self.models, self.items, strict=True))

    @classmethod
    def parse(cls, name: str) -> Pipeline:
        """The pipeline of a name such as dim_4@4096-dim_32@512."""
        try:
            stages = [stage.split("@") for stage in name.split("-")]
            models, items = tuple(model for model, _ in stages), tuple(int(items) for _, items in stages)
        except ValueError:
            raise InputError("pipeline", name, "must look like dim_4@4096-dim_32@512") from None
        return cls(models, items)


@dataclass(frozen=True)
class Quality:
    """Quality of a pipeline query by query, each (queries,). `error` is of the candidates the last stage scored."""

    ndcg: dict[int, Floats]
    hit_rate: dict[int, Floats]
    error: Floats


def evaluate(pipeline: Pipeline, data: Dataset, scores: Scores, candidates: Indices, seed: int) -> Quality:
    """Run queries through the pipeline, `candidates` (queries, at least items_1) being indices into `data.test`.

    A query's first items_1 candidates enter. Ties are broken by an order drawn from `seed`, not by the candidates'.
    """
    if pipeline.items[0] > candidates.shape[1]:
        raise InputError(
            "items", pipeline.items[0], f"must be at most {candidates.shape[1]}, the candidates of a query"
        )
    check_trained(pipeline, list(scores))
    kept = np.random.default_rng([seed, pipeline.items[0]]).permuted(candidates[:, : pipeline.items[0]], axis=1)
    for model, items in zip(pipeline.models, pipeline.items, strict=True):
        kept = kept[:, :items]
        order = np.argsort(-scores[model][kept], axis=1, kind="stable")
        kept = np.take_along_axis(kept, order, axis=1)
    relevance = data.test.labels[kept]
    clicks = scores[pipeline.models[-1]][kept] > 0.0  # log-odds: a probability above one half
    return Quality(
        {k: ndcg(relevance, k, data.ideal_clicks) for k in RANKS},
        {k: hit_rate(relevance, k) for k in RANKS},
        error(relevance, clicks.astype(np.float32)),
    )


def check_trained(pipeline: Pipeline, models: Sequence[str]) -> None:
    """Raise `InputError` for a pipeline of a model that is not among the trained ones."""
    unknown = next((model for model in pipeline.models if model not in models), None)
    if unknown is not None:
        raise InputError("pipeline", pipeline.name, f"{unknown} is not trained; there are {', '.join(models)}")


def grid(models: Sequence[str], items: Sequence[int], keep: Sequence[int], stages: int) -> Iterator[Pipeline]:
    """All pipelines of up to `stages` of the models in their order, fewer items in every stage.

    The first stage scores a number of `items`, later ones numbers of `keep`.
    """

    def longer(pipeline: Pipeline) -> Iterator[Pipeline]:
        yield pipeline
        if len(pipeline.models) < stages:
            for model in models[models.index(pipeline.models[-1]) + 1 :]:
                for fewer in (number for number in keep if number < pipeline.items[-1]):
                    yield from longer(Pipeline((*pipeline.models, model), (*pipeline.items, fewer)))

    for first in items:
        for model in models:
            yield from longer(Pipeline((model,), (first,)))


def log_odds_error(labels: NDArray[np.floating], scores: Floats32) -> float:
    """Share of candidates on the wrong side of a probability of one half."""
    return float(error(labels, (scores > 0.0).astype(np.float32)))
