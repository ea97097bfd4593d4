"""Verdicts for readers: what leaves a run undecided is said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deeprec_env import load_scenario, simulate
from deeprec_env.cli.verdict import verdict_in_words
from deeprec_env.simulation.summary import Interval
from tests.conftest import day_scenario


@pytest.mark.parametrize(
    ("p95_ci_s", "p99_ci_s", "words"),
    [
        ((0.01, 0.02), (0.02, 0.03), "pass"),
        ((0.07, 0.09), (0.02, 0.03), "fail"),
        ((0.05, 0.07), (0.02, 0.03), "undecided: the interval of p95 holds its limit of 60 ms; more --queries"),
        (
            (0.01, 0.02),
            (0.02, math.inf),
            "undecided: the interval of p99 is open above: too few queries for so rare a latency; more --queries",
        ),
        (
            (0.05, 0.07),
            (0.02, 0.13),
            "undecided: the interval of p95 holds its limit of 60 ms; the interval of p99 holds its limit of 120 ms; "
            "more --queries",
        ),
    ],
)
def test_what_is_undecided_says_why(p95_ci_s: Interval, p99_ci_s: Interval, words: str) -> None:
    result = simulate(load_scenario(day_scenario()), qps=50, queries=1100)
    assert verdict_in_words(replace(result, tail=replace(result.tail, p95_ci_s=p95_ci_s, p99_ci_s=p99_ci_s))) == words
