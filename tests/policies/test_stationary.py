"""How outcomes are ranked, and searches for the best on few runs: exact, on made-up outcomes."""

from __future__ import annotations

import math

import pytest

from deeprec_env.envs.serving_v2_task import with_further_ladders
from deeprec_env.policies.adaptive.stationary import Outcome, StationaryRuns, halved, least_regret, ranked
from deeprec_env.scenario.setting import Setting
from tests.policies.test_load_table import SPLIT, WHOLE, crossing_scenario


def test_who_is_late_less_comes_first_then_who_is_faster() -> None:
    outcomes = {
        "fast, sheds": Outcome(0.3, 0.5, 0.05),
        "slow": Outcome(0.6, 0.7, 0.0),
        "faster": Outcome(0.5, 0.7, 0.0015),
        "fastest, with a tail": Outcome(0.45, 1.8, 0.0),
        "sheds more": Outcome(0.1, 0.1, 0.5),
    }
    assert ranked(outcomes) == ["faster", "slow", "fastest, with a tail", "fast, sheds", "sheds more"]


def test_cost_and_loss_by_hand() -> None:
    outcome = Outcome(0.5, 1.2, 0.1)
    assert outcome.cost == pytest.approx(0.5 * 1.2)
    assert outcome.loss == pytest.approx(0.6 - 1.0 + 0.5)
    assert Outcome(2.0, 0.0, 1.0).loss == pytest.approx(math.log(2.0) + 5.0)


def test_halving_keeps_the_best_of_every_round() -> None:
    heard: list[tuple[int, int]] = []

    def measure(candidate: int, effort: int) -> Outcome:
        heard.append((candidate, effort))
        return Outcome(abs(candidate - 5) + (0.5 if effort == 1000 and candidate == 5 else 0.0), 0.0, 0.0)

    assert next(iter(halved(range(10), measure, [(1000, 4), (2000, 2)]))) == 5
    assert sorted(candidate for candidate, effort in heard if effort == 1000) == list(range(10))
    assert sorted(candidate for candidate, effort in heard if effort == 2000) == [3, 4, 5, 6]


def test_least_regret_is_neither_the_boldest_nor_the_safest() -> None:
    p95 = {"bold": (0.1, 0.9), "middling": (0.2, 0.5), "safe": (0.6, 0.4)}
    loads = (0.2, 0.9)
    found = least_regret(list(p95), lambda which, load: Outcome(p95[which][loads.index(load)], 0.0, 0.0), loads)
    assert found == "middling"


def test_runs_are_paired_and_counted() -> None:
    runs = StationaryRuns(with_further_ladders(crossing_scenario()), seed=0, engine="compiled")
    first = runs.outcome(SPLIT, 0.3, 600)
    assert runs.outcome(SPLIT, 0.3, 600) == first
    assert runs.queries_used == 1200
    # Alone a split query takes about 0.7 ms of 8 and a whole one 1.9; hardly anyone waits at load 0.01.
    idle = [runs.outcome(setting, 0.01, 600) for setting in (SPLIT, WHOLE)]
    assert idle[0].p95 == pytest.approx(0.1, abs=0.03)
    assert idle[1].p95 == pytest.approx(0.25, abs=0.03)
    # At three times capacity hardly anyone is in time, unless the others are refused.
    assert runs.outcome(WHOLE, 3.0, 600).late > 0.8
    assert runs.outcome(Setting(16, admit_ms=7.2), 3.0, 600).late == pytest.approx(2 / 3, abs=0.08)
