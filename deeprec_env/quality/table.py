"""The quality table: a row for each pipeline, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeprec_env.files import replacing
from deeprec_env.quality.data import Dataset, Progress
from deeprec_env.quality.metrics import Mean
from deeprec_env.quality.pipelines import RANKS, Pipeline, Quality, Scores, evaluate

Row = dict[str, str | int | float]

QUERIES = 128


def quality_rows(
    data: Dataset, scores: Scores, pipelines: Sequence[Pipeline], *, queries: int, seed: int, progress: Progress
) -> list[Row]:
    """A row for each pipeline, all of them on the same queries.

    `models` and `items` are joined by dashes in stage order. Metrics are means over queries; `ndcg@64_ci` is half the
    width of its 95 % interval. `difference` is how much NDCG@64 the pipeline has over its last model scoring all the
    candidates alone, in pairs of the same queries, `difference_ci` half the width of its interval. Intervals are over
    queries, for these trained models.
    """
    most = max(pipeline.items[0] for pipeline in pipelines)
    candidates = data.queries(queries, most, np.random.default_rng([seed, 4]))
    alone: dict[Pipeline, Quality] = {}
    rows = []
    for pipeline in pipelines:
        reference = Pipeline(pipeline.models[-1:], pipeline.items[:1])
        if reference not in alone:
            alone[reference] = evaluate(reference, data, scores, candidates, seed)
        quality = alone[reference]
        if pipeline != reference:
            quality = evaluate(pipeline, data, scores, candidates, seed)
        rows.append(_row(pipeline, quality, alone[reference]))
        progress(pipeline.name, 1)
    return rows


def _row(pipeline: Pipeline, quality: Quality, alone: Quality) -> Row:
    difference = Mean.of(quality.ndcg[64] - alone.ndcg[64])
    row: Row = {
        "pipeline": pipeline.name,
        "stages": len(pipeline.models),
        "models": "-".join(pipeline.models),
        "items": "-".join(map(str, pipeline.items)),
    }
    row |= {f"ndcg@{k}": float(quality.ndcg[k].mean()) for k in RANKS}
    row |= {f"hit_rate@{k}": float(quality.hit_rate[k].mean()) for k in RANKS}
    return row | {
        "error": float(quality.error.mean()),
        "queries": len(quality.error),
        "ndcg@64_ci": Mean.of(quality.ndcg[64]).half_width,
        "difference": difference.value,
        "difference_ci": difference.half_width,
    }


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """The rows as CSV with a header; floats by repr."""
    with replacing(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
