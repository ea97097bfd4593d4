from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeprec_env import InputError
from deeprec_env.quality.metrics import Mean, auc, error, hit_rate, log_loss, ndcg

RELEVANCE = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.sampled_from([0.0, 1.0])
)
SCORES = hnp.arrays(np.float64, 12, elements=st.integers(-50, 50).map(lambda number: number / 8))
LABELS = hnp.arrays(np.float64, 12, elements=st.sampled_from([0.0, 1.0]))


def test_ndcg_by_hand() -> None:
    # Discounts 1, 1/log2(3), 1/2, 1/log2(5): clicks at ranks 1 and 3.
    lists = np.array([[1.0, 0.0, 1.0, 0.0]])
    ideal = 1 + 1 / math.log2(3) + 0.5 + 1 / math.log2(5)
    assert ndcg(lists, 4)[0] == pytest.approx(1.5 / ideal)
    assert ndcg(lists, 2)[0] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert ndcg(lists, 4, ideal_clicks=2)[0] == pytest.approx(1.5 / (1 + 1 / math.log2(3)))
    # What lies after the end of a list gains nothing.
    assert ndcg(lists, 64)[0] == pytest.approx(1.5 / sum(1 / math.log2(rank + 1) for rank in range(1, 65)))


def test_ndcg_of_one_movie_held_out_is_the_discount_of_its_rank() -> None:
    assert ndcg(np.array([[0.0, 0.0, 1.0]]), 3, ideal_clicks=1)[0] == 0.5
    assert ndcg(np.array([[0.0, 0.0, 1.0]]), 2, ideal_clicks=1)[0] == 0.0


@given(RELEVANCE, st.integers(1, 16))
def test_ndcg_is_between_0_and_1_and_1_for_clicks_alone(relevance: np.ndarray, k: int) -> None:
    values = ndcg(relevance, k)
    assert ((values >= 0) & (values <= 1)).all()
    if k <= relevance.shape[1]:
        np.testing.assert_allclose(ndcg(np.ones_like(relevance), k), 1.0)


@given(RELEVANCE, st.integers(0, 11), st.integers(1, 16))
def test_a_click_more_never_lowers_ndcg_or_hit_rate(relevance: np.ndarray, rank: int, k: int) -> None:
    more = relevance.copy()
    more[:, min(rank, relevance.shape[1] - 1)] = 1.0
    assert (ndcg(more, k) >= ndcg(relevance, k)).all()
    assert (hit_rate(more, k) >= hit_rate(relevance, k)).all()


@given(RELEVANCE, st.integers(1, 12))
def test_clicks_first_is_the_best_order(relevance: np.ndarray, k: int) -> None:
    best = -np.sort(-relevance, axis=1)
    assert (ndcg(best, k) >= ndcg(relevance, k) - 1e-12).all()


def test_hit_rate_by_hand() -> None:
    lists = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert hit_rate(lists, 1).tolist() == [0, 0, 1]
    assert hit_rate(lists, 2).tolist() == [1, 0, 1]


def test_error_and_log_loss_by_hand() -> None:
    labels, probabilities = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.9, 0.6], [0.4, 0.5]])
    assert error(labels, probabilities).tolist() == [0.5, 0.5]
    assert log_loss(labels, probabilities) == pytest.approx(-np.log([0.9, 0.4, 0.4, 0.5]).mean())


@given(LABELS, SCORES, st.integers(-3, 3))
def test_auc_is_the_share_of_pairs_in_order_whatever_the_scale(
    labels: np.ndarray, scores: np.ndarray, move: int
) -> None:
    clicks, others = scores[labels > 0], scores[labels == 0]
    if not clicks.size or not others.size:
        assert math.isnan(auc(labels, scores))
        return
    ahead = clicks[:, None] - others
    assert auc(labels, scores) == pytest.approx(((ahead > 0) + 0.5 * (ahead == 0)).mean())
    assert auc(labels, 3.0 * scores + move) == pytest.approx(auc(labels, scores))
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores))


def test_the_interval_of_a_mean_is_students() -> None:
    mean = Mean.of(np.array([1.0, 2.0, 3.0]))
    assert (mean.value, mean.half_width) == (2.0, pytest.approx(4.302653 / math.sqrt(3)))
    assert math.isnan(Mean.of(np.array([1.0])).half_width)


def test_k_of_0_is_refused() -> None:
    with pytest.raises(InputError):
        ndcg(np.ones((1, 1)), 0)
