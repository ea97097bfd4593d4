from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env.policies.base import FixedPolicy, TunedPolicy
from deeprec_env.policies.evaluation.policy_capacity import (
    PRECISION,
    RateMeter,
    RateProbe,
    _largest,
    capacity_queries,
    policy_capacities,
)
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import offered_load
from tests.policies.test_load_table import crossing_scenario

SCENARIO = crossing_scenario()


class Alternating:
    """The ladder's batch sizes in turn, window by window."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> Any:
        turn = 0 if state is None else state
        return np.array([turn % 2, 0]), turn + 1


def test_the_rule_is_load_and_both_percentiles() -> None:
    assert RateProbe(0.008, 0.016, 0.99).meets(SCENARIO)
    assert not RateProbe(0.0081, 0.009, 0.5).meets(SCENARIO)
    assert not RateProbe(0.008, 0.0161, 0.5).meets(SCENARIO)
    assert not RateProbe(0.001, 0.002, 1.0).meets(SCENARIO)
    assert RateProbe(0.008, 9.0, 7.0).meets(crossing_scenario(p99_factor=None))  # the paper's rule is p95 alone


def test_the_load_is_averaged_over_the_settings_met() -> None:
    loads = [
        RateMeter(prepared, seed=0, queries=4000).probe(1200.0).load
        for prepared in (
            TunedPolicy(FixedPolicy(0, 0), SCENARIO, 0, Setting(4)),
            TunedPolicy(FixedPolicy(1, 0), SCENARIO, 0, Setting(16)),
            TunedPolicy(Alternating(), SCENARIO, 0),
        )
    ]
    for load, size in zip(loads, (4, 16), strict=False):
        assert load == pytest.approx(offered_load(SCENARIO, 1200.0, Setting(size, None))["cpu"])
    assert loads[2] == pytest.approx((loads[0] + loads[1]) / 2, rel=0.03)


def test_a_policy_that_overloads_half_the_time_may_hold_what_it_can_catch_up() -> None:
    split, whole, both = (
        policy_capacities(TunedPolicy(policy, SCENARIO, 0, setting), [0], queries=6000)[0]
        for policy, setting in (
            (FixedPolicy(0, 0), Setting(4)), (FixedPolicy(1, 0), Setting(16)), (Alternating(), None),
        )
    )  # fmt: skip
    assert split < both < whole


def test_overload_is_known_without_a_run() -> None:
    fixed = TunedPolicy(FixedPolicy(0, 0), SCENARIO, 0, Setting(4))
    adaptive = TunedPolicy(FixedPolicy(0, 0), SCENARIO, 0)
    assert RateMeter(fixed, seed=0, queries=2000).overloads(1430.0)
    assert not RateMeter(fixed, seed=0, queries=2000).overloads(1428.0)
    assert not RateMeter(adaptive, seed=0, queries=2000).overloads(1430.0)


@given(capacity=st.floats(0.02, 50.0), start=st.floats(0.1, 10.0))
def test_the_search_finds_the_edge(capacity: float, start: float) -> None:
    found = _largest(lambda qps: qps <= capacity, start, 1.15, 0.01)
    assert found <= capacity <= found * (1 + 1.01 * PRECISION)
    assert _largest(lambda qps: False, start, 1.15, 0.01) == 0.0


def test_a_probe_sees_at_least_a_day_of_windows() -> None:
    assert capacity_queries(SCENARIO, 100) == 1900 * 2.4
    assert capacity_queries(SCENARIO, 10_000) == 10_000
    assert capacity_queries(SCENARIO.replace(capacity=None), 100) == 100
