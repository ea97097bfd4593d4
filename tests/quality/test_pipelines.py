from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError
from deeprec_env.quality.data import Clicks, Dataset
from deeprec_env.quality.pipelines import Pipeline, evaluate, grid
from deeprec_env.quality.synthetic import make_synthetic
from deeprec_env.quality.table import quality_rows


def nothing(what: str, steps: int) -> None:
    pass


def dataset(labels: list[float]) -> Dataset:
    clicks = Clicks(
        np.array(labels, np.float32), np.zeros((len(labels), 0), np.float32), np.zeros((len(labels), 1), np.int32)
    )
    return Dataset((1,), clicks, clicks)


EIGHT = dataset([1, 0, 1, 0, 0, 0, 1, 0])
FILTER = np.array([4, 3, 2, 1, -1, -2, -3, -4], np.float32)
RANKER = np.array([-1, -2, 3, -3, 5, 6, 7, -8], np.float32)
SCORES = {"filter": FILTER, "ranker": RANKER}
QUERY = np.arange(8)[np.newaxis]


def test_a_pipeline_by_hand() -> None:
    # The filter keeps candidates 0 to 3; the ranker orders them 2, 0, 1, 3 and calls 2 alone a click.
    quality = evaluate(Pipeline(("filter", "ranker"), (8, 4)), EIGHT, SCORES, QUERY, 0)
    discounts = 1 / np.log2(np.arange(2, 6))
    assert quality.ndcg[4][0] == pytest.approx((discounts[0] + discounts[1]) / discounts.sum())
    assert quality.error[0] == 0.25
    # Alone the ranker serves 6, 5, 4, 2, and is wrong about 5, 4 and 0.
    alone = evaluate(Pipeline(("ranker",), (8,)), EIGHT, SCORES, QUERY, 0)
    assert alone.ndcg[4][0] == pytest.approx((discounts[0] + discounts[3]) / discounts.sum())
    assert alone.error[0] == pytest.approx(3 / 8)
    # A first stage of three items never sees the others.
    few = evaluate(Pipeline(("ranker",), (3,)), EIGHT, SCORES, QUERY, 0)
    assert few.ndcg[4][0] == pytest.approx((discounts[0] + discounts[1]) / discounts.sum())


def test_a_stage_that_keeps_all_changes_nothing() -> None:
    alone = evaluate(Pipeline(("ranker",), (8,)), EIGHT, SCORES, QUERY, 0)
    both = evaluate(Pipeline(("filter", "ranker"), (8, 8)), EIGHT, SCORES, QUERY, 0)
    assert {k: v.tolist() for k, v in both.ndcg.items()} == {k: v.tolist() for k, v in alone.ndcg.items()}


@given(st.integers(0, 1000))
def test_scores_may_be_moved_and_stretched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = {"filter": rng.permutation(FILTER), "ranker": rng.permutation(RANKER)}
    moved = {"filter": 2 * scores["filter"] + 5, "ranker": 0.5 * scores["ranker"] - 3}
    pipeline = Pipeline(("filter", "ranker"), (8, 5))
    one, other = (evaluate(pipeline, EIGHT, each, QUERY, 0) for each in (scores, moved))
    assert all((one.ndcg[k] == other.ndcg[k]).all() for k in one.ndcg)


def test_equal_scores_are_served_in_no_order_of_the_data() -> None:
    first = dataset([1.0] + [0.0] * 999)
    queries = np.tile(np.arange(1000), (400, 1))
    quality = evaluate(Pipeline(("same",), (1000,)), first, {"same": np.zeros(1000, np.float32)}, queries, 0)
    assert quality.hit_rate[64].mean() == pytest.approx(0.064, abs=0.04)


def test_queries_share_no_candidates_while_they_last() -> None:
    data = dataset([0.0] * 100)
    queries = data.queries(7, 30, np.random.default_rng(0))
    assert queries.shape == (7, 30)
    assert len(np.unique(queries[:3])) == 90
    assert all(len(set(query)) == 30 for query in queries.tolist())
    with pytest.raises(InputError, match="100 held-out"):
        data.queries(1, 101, np.random.default_rng(0))


def test_names_are_read_back() -> None:
    for pipeline in grid(["dim_4", "dim_16", "dim_32"], (4096, 512), (1024, 256, 128), 3):
        assert Pipeline.parse(pipeline.name) == pipeline
        assert list(pipeline.items) == sorted(pipeline.items, reverse=True)
    for name in ("dim_4", "dim_4@x", "dim_4@1@2", "", "dim_4@10-dim_32@20", "dim_4@0"):
        with pytest.raises(InputError):
            Pipeline.parse(name)


def test_models_that_are_not_there_and_too_many_items_are_refused() -> None:
    with pytest.raises(InputError, match="there are filter, ranker"):
        evaluate(Pipeline(("other",), (8,)), EIGHT, SCORES, QUERY, 0)
    with pytest.raises(InputError, match="at most 8"):
        evaluate(Pipeline(("ranker",), (9,)), EIGHT, SCORES, QUERY, 0)


def test_the_table_pairs_a_pipeline_with_its_last_model_alone() -> None:
    pipelines = [Pipeline(("filter", "ranker"), (8, 4)), Pipeline(("ranker",), (8,))]
    two, one = quality_rows(EIGHT, SCORES, pipelines, queries=3, seed=0, progress=nothing)
    assert (one["difference"], one["difference_ci"]) == (0.0, 0.0)
    assert two["difference"] == pytest.approx(float(two["ndcg@64"]) - float(one["ndcg@64"]))
    assert (two["pipeline"], two["models"], two["items"]) == ("filter@8-ranker@4", "filter-ranker", "8-4")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_synthetic_clicks_are_as_hard_whatever_the_seed(seed: int) -> None:
    data = make_synthetic(seed, nothing, training=20_000, held_out=1000)
    again = make_synthetic(seed, nothing, training=20_000, held_out=1000)
    np.testing.assert_array_equal(data.train.labels, again.train.labels)
    assert data.train.labels.mean() == pytest.approx(0.25, abs=0.03)
    assert (data.train.categories.max(axis=0) < np.array(data.rows)).all()
    assert data.train.categories.shape == (20_000, 26)
    assert data.train.dense.dtype == np.float32
