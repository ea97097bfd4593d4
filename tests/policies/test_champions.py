"""Champions in small systems whose best settings are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario
from deeprec_env.envs.environments import SERVING_V2
from deeprec_env.envs.observation import V2_FIELDS
from deeprec_env.envs.serving_v2_task import V2_CONTROLS, with_further_ladders
from deeprec_env.policies.adaptive.champion import Combination, find_champion
from deeprec_env.policies.adaptive.control_table import (
    all_settings,
    find_control_table,
    find_small_table,
    predicted_settings,
)
from deeprec_env.policies.adaptive.load_table_p99 import find_load_table_p99
from deeprec_env.policies.adaptive.rate_table import Lookup, RateTable, RateTablePolicy
from deeprec_env.policies.adaptive.stationary import Outcome, StationaryRuns
from deeprec_env.policies.adaptive.target_delay import TargetDelayPolicy
from deeprec_env.policies.base import Policy
from deeprec_env.policies.evaluation.champions import CHAMPIONS, _remembered
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.progress import silent
from deeprec_env.scenario.setting import Setting
from tests.conftest import day_scenario
from tests.policies.test_load_table import SPLIT, WHOLE, crossing_scenario

CARRIED_BY_ALL = 1429 / 1900
"""Load that split queries can carry in `crossing_scenario`."""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return with_further_ladders(crossing_scenario())


def new_runs(scenario: Scenario) -> StationaryRuns:
    return StationaryRuns(scenario, seed=0, engine="compiled")


def observation(**fields: float) -> Any:
    seen = np.zeros(len(V2_FIELDS), dtype=np.float32)
    seen[V2_FIELDS.index("mean_items")] = 1.0
    for name, value in fields.items():
        seen[V2_FIELDS.index(name)] = value
    return seen


def test_load_table_p99_holds_the_known_best_setting_of_every_load(scenario: Scenario) -> None:
    table = find_load_table_p99(new_runs(scenario), 2000, silent)
    best = {level: ranking[0] for level, ranking in zip(table.levels, table.ranking, strict=True)}
    assert all(best[level] == SPLIT for level in best if level <= 0.3)
    assert all(best[level] == WHOLE for level in best if level > CARRIED_BY_ALL)
    assert table.first == WHOLE  # split queries cost all at high load, whole ones a little at low load
    assert table.queries_used > 10 * 2000


def test_the_table_of_all_controls_finds_the_batch_size_and_sheds_beyond_capacity(scenario: Scenario) -> None:
    settings = all_settings(scenario)
    assert len(settings) == len(set(settings)) == 2 * 1 * 3 * len(scenario.ladders["admit_ms"])
    runs = new_runs(scenario)
    table = find_control_table(runs, settings, 2000, silent)
    best = {level: ranking[0] for level, ranking in zip(table.levels, table.ranking, strict=True)}
    assert all(best[level].batch_size == 4 for level in best if level <= 0.3)
    assert all(best[level].batch_size == 16 for level in best if level >= 0.95)
    assert all(best[level].admit_ms is not None for level in best if level >= 1.2)
    assert table.queries_used == runs.queries_used
    assert find_control_table(new_runs(scenario), settings, 2000, silent) == table


def test_predicted_offload_leaves_the_batch_size_to_the_load() -> None:
    scenario = with_further_ladders(day_scenario_of_two_pools())
    settings = predicted_settings(scenario)
    assert [setting.offload for setting in settings] == ["predicted"] * len(scenario.control.batch_sizes)
    table = find_small_table(new_runs(scenario), settings[::4], 2000, silent)
    assert {setting.offload for best in table.ranking for setting in best} == {"predicted"}
    alone = with_further_ladders(crossing_scenario())
    assert predicted_settings(alone) == [SPLIT, WHOLE]  # nothing to offload to


def day_scenario_of_two_pools() -> Scenario:
    from deeprec_env import load_scenario

    return load_scenario(day_scenario(capacity={"qps": 1500, "batch_size": 64, "found_by": "a test"}))


def table_of(*settings: Setting, first: Setting = WHOLE) -> RateTable:
    levels = tuple(0.5 * (place + 1) for place in range(len(settings)))
    return RateTable(levels, tuple((setting,) for setting in settings), first, 7)


def test_a_table_is_read_by_rate_or_by_work_with_memory_and_headroom(scenario: Scenario) -> None:
    table = table_of(SPLIT, WHOLE)

    def batch_sizes(lookup: Lookup, *seen: Any) -> list[int]:
        policy, state, found = RateTablePolicy(table, scenario, V2_CONTROLS, lookup), None, []
        for number, each in enumerate(seen):
            action, state = policy.predict(each, state, np.array([number == 0]))
            found.append(scenario.control.batch_sizes[action[0]])
        return found

    nothing, low, high = observation(), observation(offered=0.45), observation(offered=0.6)
    assert batch_sizes(Lookup(), nothing, low, high) == [16, 4, 16]  # (0.45 + 0.6) / 2 is above 0.5
    assert batch_sizes(Lookup(memory=0.9), nothing, low, high) == [16, 4, 4]
    assert batch_sizes(Lookup(headroom=1.2), nothing, low) == [16, 16]
    large = observation(offered=0.45, mean_items=1.5)
    assert batch_sizes(Lookup(), nothing, large) == [16, 4]
    assert batch_sizes(Lookup(by_work=True), nothing, large) == [16, 16]


def limits(policy: Policy, scenario: Scenario, *seen: Any) -> list[float | None]:
    state, found = None, []
    for number, each in enumerate(seen):
        action, state = policy.predict(each, state, np.array([number == 0]))
        found.append(scenario.ladders["admit_ms"][action[3]])
    return found


def test_target_delay_sheds_only_when_late_for_an_interval_and_until_it_need_not(scenario: Scenario) -> None:
    base = RateTablePolicy(table_of(SPLIT), scenario, V2_CONTROLS)
    quick, late, predicted = observation(p95=0.9), observation(p95=1.2), observation(predicted=1.5)
    shedding = observation(p95=0.9, shed_rate=0.2)
    ladder = sorted((limit for limit in scenario.ladders["admit_ms"] if limit is not None), reverse=True)
    assert ladder[0] == scenario.sla_ms

    two = TargetDelayPolicy(base, scenario, interval=2)
    assert limits(two, scenario, quick, late, quick, late, quick) == [None] * 5
    assert limits(two, scenario, quick, late, predicted, shedding, shedding, quick) == [
        None, None, ladder[0], ladder[0], ladder[0], None,
    ]  # fmt: skip
    one = TargetDelayPolicy(base, scenario, interval=1)
    assert limits(one, scenario, late, *[late] * 9) == [None, *ladder, *[ladder[-1]] * (9 - len(ladder))]


def test_target_delay_on_many_observations_is_many_single_ones(scenario: Scenario) -> None:
    policy = TargetDelayPolicy(RateTablePolicy(table_of(SPLIT, WHOLE), scenario, V2_CONTROLS), scenario)
    rng = np.random.default_rng(0)
    together: Any = None
    alone: list[Any] = [None] * 3
    for _ in range(12):
        starts = rng.random(3) < 0.2
        seen = [
            observation(p95=rng.uniform(0, 2), shed_rate=float(rng.random() < 0.5), offered=rng.random())
            for _ in range(3)
        ]
        actions, together = policy.predict(np.stack(seen), together, starts)
        for env in range(3):
            action, alone[env] = policy.predict(seen[env], alone[env], starts[env : env + 1])
            assert action.tolist() == actions[env].tolist()


def test_the_champion_is_the_best_combination(scenario: Scenario) -> None:
    tables = {"split": table_of(SPLIT, SPLIT, first=SPLIT), "whole": table_of(WHOLE, WHOLE)}
    judged: list[int] = []

    def judge(policy: Policy, days: int) -> Outcome:
        judged.append(days)
        refuses = isinstance(policy, TargetDelayPolicy)
        table = policy._base if isinstance(policy, TargetDelayPolicy) else policy
        assert isinstance(table, RateTablePolicy)
        best = table.table.ranking[0][0]
        faster = 0.1 * (table.lookup.by_work + (table.lookup.memory == 0.7))
        late = 0.0 if best.admit_ms is None else 0.1
        return Outcome(0.5 + 0.2 * (best.batch_size == 16) - 0.1 * refuses - faster, 0.0, late)

    best = find_champion(tables, scenario, judge, silent, days=4)
    assert best == Combination("split", "target-delay", Lookup(memory=0.7, by_work=True))
    assert judged == [2] * 6 + [4] * 4 + [4] * 4


def test_all_champions_play_and_the_champion_beats_the_load_table_under_flash_crowds(scenario: Scenario) -> None:
    evaluation = evaluation_of(SERVING_V2)
    assert set(CHAMPIONS) <= set(evaluation.compared)
    small = replace(evaluation, capacities=None)
    spec = replace(SERVING_V2, evaluation=small)
    names = ["load-table", *CHAMPIONS, "rate-oracle"]
    options = TuneOptions(queries=2000, days=2)
    found = []
    for _ in range(2):
        _remembered.clear()
        found.append(compare(spec, crossing_scenario(), names, seeds=1, options=options, choices={"traffic": "flash"}))
    results, again = ({name: each.by_episode() for name, each in one.policies.items()} for one in found)
    for name, figures in results.items():
        assert np.array_equal(list(figures.values()), list(again[name].values()), equal_nan=True), name
    cost = {name: result.prepared.tuning_queries for name, result in found[0].policies.items()}
    assert cost["queueing"] == 0
    assert cost["champion"] > cost["control-table"] > 0
    goodput = {name: figures["goodput_qps"][0] for name, figures in results.items()}
    assert goodput["champion"] > 1.05 * goodput["load-table"]
    assert goodput["rate-oracle"] > goodput["load-table"]
