from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.observation import FIELDS
from deeprec_env.policies.adaptive.load_table import LEVELS, LoadTablePolicy, find_load_table
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import DayRuns, day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import policy_capacities
from deeprec_env.policies.fixed.refine import leaders, saturation_rates
from deeprec_env.scenario.setting import Setting

SPLIT, WHOLE = Setting(4), Setting(16)


def crossing_scenario(**changes: Any) -> Scenario:
    """Queries of 16 items on 4 cores at 0.3 ms a request and 0.1 ms an item: by construction one best setting a load.

    In 4 requests a query takes 0.7 ms and 2.8 core-ms (at most 1429 queries/s), in one 1.9 ms and 1.9 core-ms (2105).
    Splitting is best on an idle node, and cannot be borne above three quarters of the capacity.
    """
    return load_scenario(
        {
            "sla_ms": 8,
            "workload": {
                "arrivals": {"kind": "diurnal", "qps": 1045, "day_s": 2.4},
                "sizes": {"kind": "fixed", "items": 16},
            },
            "node": {
                "cpu": {"servers": 4, "latency": {"kind": "affine", "base_ms": 0.3, "per_item_ms": 0.1, "cv": 0.05}}
            },
            "control": {"interval_s": 0.1, "batch_sizes": [4, 16], "batch_size": 16},
            "capacity": {"qps": 1900, "batch_size": 16, "found_by": "its construction"},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return crossing_scenario()


def table_of(scenario: Scenario) -> Any:
    return find_load_table(scenario, queries=2000, seed=0, engine="compiled")


def observation(offered: float) -> Any:
    seen = np.zeros(len(FIELDS), dtype=np.float32)
    seen[FIELDS.index("offered")] = offered
    return seen


def test_the_table_holds_the_known_best_setting_of_every_load(scenario: Scenario) -> None:
    table = table_of(scenario)
    best = {level: ranking[0] for level, ranking in zip(LEVELS, table.ranking, strict=True)}
    assert all(best[level] == SPLIT for level in LEVELS if level <= 0.3)
    assert all(best[level] == WHOLE for level in LEVELS if level * 1900 >= 1429)
    assert all(set(ranking) <= {SPLIT, WHOLE} for ranking in table.ranking)
    overloading = [ranking for level, ranking in zip(LEVELS, table.ranking, strict=True) if level * 1900 >= 1429]
    assert all(SPLIT not in ranking for ranking in overloading)
    assert table.queries_used > 10 * 2000
    assert table is table_of(scenario)


def test_the_policy_looks_up_the_smoothed_rate_from_above(scenario: Scenario) -> None:
    policy = LoadTablePolicy(table_of(scenario))
    start, state = policy.predict(observation(0.0), None, np.array([True]))
    assert start.tolist() == [1, 0]  # nothing measured: the setting of the highest load
    low, state = policy.predict(observation(0.2), state, np.array([False]))
    assert low.tolist() == [0, 0]
    assert state.tolist() == pytest.approx([0.2])
    _, state = policy.predict(observation(0.4), state, np.array([False]))
    assert state.tolist() == pytest.approx([0.3])
    table = table_of(scenario)
    assert [LEVELS[i] for i in table.indices(np.array([0.0, 0.2, 0.21, 0.95, 9.0]))] == [0.1, 0.2, 0.25, 0.95, 1.05]


def test_many_observations_are_many_single_ones(scenario: Scenario) -> None:
    policy = LoadTablePolicy(table_of(scenario))
    rng = np.random.default_rng(0)
    loads, starts = rng.uniform(0, 1.2, (6, 3)), rng.random((6, 3)) < 0.2
    together: Any = None
    alone: list[Any] = [None] * 3
    for seen, first in zip(loads, starts, strict=True):
        actions, together = policy.predict(np.stack([observation(load) for load in seen]), together, first)
        for env in range(3):
            action, alone[env] = policy.predict(observation(seen[env]), alone[env], first[env : env + 1])
            assert action.tolist() == actions[env].tolist()


def test_the_table_beats_every_fixed_setting_and_holds_the_capacity(scenario: Scenario) -> None:
    table = table_of(scenario)
    prepared = TunedPolicy(LoadTablePolicy(table), table.scenario, 0)
    env = ServingEnv(prepared.scenario, engine="compiled")
    adaptive = [day_metrics(run_policy(env, prepared.policy, seed, "validation"), scenario) for seed in range(4)]
    days = DayRuns(scenario, day_metrics, seeds=range(4), split="validation", engine="compiled")
    fixed = min(geometric_mean([day.p95_hourly_s for day in days.fixed(setting)]) for setting in (SPLIT, WHOLE))
    assert geometric_mean([day.p95_hourly_s for day in adaptive]) < fixed
    whole = TunedPolicy(prepared.policy, scenario, 0, WHOLE)
    capacity, base = (policy_capacities(each, [0], queries=4000)[0] for each in (prepared, whole))
    assert capacity == pytest.approx(base, rel=0.03)


def test_a_scenario_without_capacity_gets_that_of_its_settings(scenario: Scenario) -> None:
    table = table_of(scenario.replace(capacity=None))
    assert 1429 < table.unit_qps < 2105
    hopeless = table_of(crossing_scenario(sla_ms=0.01, capacity=None))
    assert hopeless.unit_qps == pytest.approx(4 / 0.0019, rel=0.01)


def test_a_load_that_no_setting_carries_takes_the_ranking_below(scenario: Scenario) -> None:
    control = {"interval_s": 0.1, "batch_sizes": [4], "batch_size": 4}
    table = table_of(crossing_scenario(control=control))
    assert table.ranking[-1] == table.ranking[0] == (SPLIT,)


def test_leaders_are_the_lowest_after_every_round() -> None:
    heard: list[tuple[int, int]] = []

    def value(setting: Any, effort: int) -> float:
        heard.append((setting[0], effort))
        return abs(setting[0] - 5) + (0.5 if effort == 1 and setting[0] == 5 else 0.0)

    assert leaders([(size, None) for size in range(10)], value, [(1, 3), (2, 1)]) == [(5, None)]
    assert sorted(heard)[:1] == [(0, 1)]
    assert sorted(size for size, effort in heard if effort == 2) == [4, 5, 6]


def test_largest_rates_cover_the_ladders(scenario: Scenario) -> None:
    rates = saturation_rates(scenario)
    assert list(rates) == scenario.settings() == [SPLIT, WHOLE]
    assert rates[SPLIT] == pytest.approx(4 / 0.0028, rel=1e-3)
    assert rates[WHOLE] == pytest.approx(4 / 0.0019, rel=1e-3)
