from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env.policies.evaluation import paired
from deeprec_env.simulation.intervals import t_quantile

metrics = st.lists(st.tuples(*[st.floats(0.001, 10.0)] * 3), min_size=2, max_size=8)


@given(metrics)
def test_score_is_0_for_grid_day_and_1_for_the_oracle(days: list[Any]) -> None:
    mine, grid_day, _ = (list(each) for each in zip(*days, strict=True))
    oracle = [0.5 * day for day in grid_day]
    for policy, value in ((grid_day, 0.0), (oracle, 1.0)):
        found = paired.score(policy, grid_day, oracle)
        assert found is not None
        assert found.value == pytest.approx(value, abs=1e-12)
        assert found.ci == pytest.approx((value, value), abs=1e-9)
    found = paired.score(mine, grid_day, oracle)
    assert found is not None
    assert found.ci is not None
    geometric = [math.exp(np.log(each).mean()) for each in (mine, grid_day, oracle)]
    assert found.value == pytest.approx(math.log(geometric[1] / geometric[0]) / math.log(2), rel=1e-6, abs=1e-9)
    assert found.ci[0] <= found.value <= found.ci[1]


@given(metrics)
def test_ratios_are_paired_and_turn_round(days: list[Any]) -> None:
    mine, theirs, _ = (list(each) for each in zip(*days, strict=True))
    there, back = paired.ratio(mine, theirs), paired.ratio(theirs, mine)
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(1 / back.value)
    scaled = paired.ratio([0.7 * day for day in theirs], theirs)
    assert scaled is not None
    assert scaled.ci == pytest.approx((0.7, 0.7))


def test_too_little_to_win_is_not_scored() -> None:
    grid_day = [1.0, 2.0, 3.0]
    assert paired.score(grid_day, grid_day, [0.96 * day for day in grid_day]) is None
    assert paired.score(grid_day, grid_day, [0.94 * day for day in grid_day]) is not None
    assert paired.ratio([0.0, 1.0], [1.0, 1.0]) is None


def test_estimates_in_words() -> None:
    both, alone = paired.Estimate(0.9, (0.85, 0.95)), paired.Estimate(0.9, None)
    assert (both.with_interval(".1f", 1e2), alone.with_interval(".1f", 1e2)) == ("90.0 [85.0, 95.0]", "90.0")
    assert paired.Estimate(0.9, (0.9, 0.9)).with_interval(".1f") == "0.9"
    assert paired.Estimate(math.nan, None).with_interval(".1f") == "-"
    assert (both.with_interval("+.2f"), alone.with_interval("+.2f")) == ("+0.90 [+0.85, +0.95]", "+0.90")


def test_one_seed_has_no_interval() -> None:
    assert paired.mean([2.0]) == paired.Estimate(2.0, None)
    ratio = paired.ratio([2.0], [4.0])
    assert ratio is not None
    assert ratio.as_ratio() == {"ratio": pytest.approx(0.5), "ci": None}


def test_intervals_cover_what_they_estimate() -> None:
    """The delta method's interval for a ratio of means, and the plain one, over 400 experiments of 10 days."""
    rng = np.random.default_rng(0)
    inside = {"mean": 0, "score": 0}
    for _ in range(400):
        possible, noise = rng.normal(0.4, 0.1, 10), rng.normal(0.0, 0.1, 10)
        grid_day = np.exp(rng.normal(0.0, 0.3, 10))
        score = paired.score(
            list(grid_day * np.exp(-0.7 * possible + noise)), list(grid_day), list(grid_day * np.exp(-possible))
        )
        mean = paired.mean(list(noise))
        assert score is not None
        for name, found, true in (("score", score, 0.7), ("mean", mean, 0.0)):
            assert found.ci is not None
            inside[name] += found.ci[0] <= true <= found.ci[1]
    assert all(0.91 * 400 <= count <= 0.985 * 400 for count in inside.values()), inside


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=8))
def test_intervals_never_leave_the_possible(values: list[float]) -> None:
    differences = [mine - theirs for mine, theirs in pairwise([*values, values[0]])]
    for given_, scale, (least, most) in (
        (values, paired.SHARE, (0.0, 1.0)),
        (values, paired.POSITIVE, (0.0, math.inf)),
        (differences, paired.SHARE_DIFFERENCE, (-1.0, 1.0)),
    ):
        plain, found = paired.mean(given_), paired.mean(given_, scale)
        assert found.value == plain.value
        assert found.ci is not None
        assert least <= found.ci[0] <= found.value <= found.ci[1] <= most


def test_narrow_intervals_are_those_of_t() -> None:
    values = [0.300, 0.301, 0.302, 0.303]
    plain = paired.mean(values)
    assert plain.ci is not None
    for scale in (paired.SHARE, paired.POSITIVE, paired.SHARE_DIFFERENCE):
        assert paired.mean(values, scale).ci == pytest.approx(plain.ci, rel=1e-4)
    assert paired.mean([0.0, 0.0], paired.SHARE).ci == (0.0, 0.0)
    unknown = paired.mean([1.0, math.nan])
    assert (unknown.ci, unknown.known, unknown.in_words(".1f")) == (None, None, "-")
    assert paired.mean([1.0]).known == 1.0


def test_the_mean_has_a_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    found = paired.mean(values)
    half = t_quantile(2) * float(np.std(values, ddof=1)) / math.sqrt(3)
    assert found.ci == pytest.approx((found.value - half, found.value + half))
