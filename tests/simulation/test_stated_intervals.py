"""The intervals and verdicts that a run states of itself, against theory.

Intervals are at 95 %, so one in twenty would miss on a fresh seed: they are widened to 99.99 % here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deeprec_env import simulate
from deeprec_env.simulation.engines import ENGINES
from tests.conftest import queue

QUEUES = Path(__file__).parents[1] / "queues"
WIDER = 2.34  # t quantile at 99.99 % over that at 95 %, 19 degrees of freedom
EXPONENTIAL = {"kind": "exponential", "mean_ms": 1000}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "load", "mean_s", "p95_s"),
    [("mm1", 0.7, 3.333333, 9.98577), ("mm8", 0.8, 1.286028, 3.50844), ("md1", 0.9, 5.5, 15.12867)],
)
def test_queues_from_scenario_files(name: str, load: float, mean_s: float, p95_s: float, engine: str) -> None:
    result = simulate(QUEUES / f"{name}.yaml", queries=400_000, engine=engine)
    low, high = result.tail.mean_ci_s
    assert abs(result.tail.mean_s - mean_s) <= WIDER * (high - low) / 2
    assert high - low < 0.15 * mean_s
    low, high = result.tail.p95_ci_s
    middle = result.tail.p95_s
    assert middle - WIDER * (middle - low) <= p95_s <= middle + WIDER * (high - middle)
    assert high - low < 0.2 * p95_s
    assert result.offered_load["cpu"] == pytest.approx(load)
    assert result.usage.utilisation["cpu"] == pytest.approx(load, rel=0.01)


def test_an_overloaded_run_says_so() -> None:
    result = simulate(queue(1, EXPONENTIAL, 1.3), queries=3000)
    assert result.overloaded
    assert result.verdict == "fail"
    assert simulate(queue(1, EXPONENTIAL, 0.3, sla_ms=60_000), queries=20_000).verdict == "pass"
    assert simulate(queue(1, EXPONENTIAL, 0.3, sla_ms=1_000), queries=20_000).verdict == "fail"
