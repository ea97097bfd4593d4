"""Choosing a pipeline by the simulator, judged by the logged runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from deeprec_env.recpipe.replay.predict import replay
from deeprec_env.recpipe.replay.runs import read_runs


def test_the_best_pipelines_are_found_from_the_affine_fits(shared: Path) -> None:
    """At each of 12 rates 75 logged pipelines: ranks of p95, and what the choice at each quality costs.

    Regret: the logged p95 of the pipeline chosen over that of the best one, by rate and quality asked for.
    """
    path = shared / "recpipe" / "cpu_gpu_runs.csv"
    with path.open() as file:
        quality = {line: float(row["ndcg64"]) for line, row in enumerate(csv.DictReader(file), start=2)}
    predictions = replay(read_runs(path), "fit")
    correlations, regrets = [], []
    for position in range(12):
        here = [each for each in predictions if each.run.sweep_pos == position]
        predicted, logged = [each.p95_s for each in here], [each.run.total_p95_s for each in here]
        correlations.append(float(spearmanr(predicted, logged).statistic))
        for floor in {quality[each.run.line] for each in here}:
            able = [each for each in here if quality[each.run.line] >= floor]
            chosen = min(able, key=lambda each: each.p95_s)
            regrets.append(chosen.run.total_p95_s / min(each.run.total_p95_s for each in able) - 1.0)
    assert min(correlations) >= 0.93
    assert np.median(correlations) >= 0.99
    assert np.percentile(regrets, 90) <= 0.11
