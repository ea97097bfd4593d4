from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.stats import chisquare

from deeprec_env import InputError, Scenario, find_capacity, load_scenario
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.environments import SERVING
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import FixedPolicy, TunedPolicy, fixed
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.day_metrics import DayRuns, day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import policy_capacities
from deeprec_env.policies.fixed.capacity_meter import CapacityMeter
from deeprec_env.policies.fixed.deeprecsched_repository import LiveTuner, RepositoryOptions
from deeprec_env.policies.fixed.static import static_setting
from deeprec_env.policies.fixed.tune import METHODS, TuneOptions, find_setting, tune
from deeprec_env.policies.registry import policy_names, prepare
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, episode_seed
from tests.conftest import day_scenario
from tests.policies.test_load_table import crossing_scenario

OPTIONS = TuneOptions(queries=2000, days=1)
QUIET: Any = lambda what: None  # noqa: E731


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """A small ladder, and a scenario whose best batch size lies inside it: overhead below, parallelism above."""
    control = {"interval_s": 0.1, "batch_sizes": [8, 32, 128, 512, 1000], "thresholds": [128, 512, None]}
    return load_scenario(day_scenario(control=control))


def test_static_spreads_the_largest_query_over_the_cores() -> None:
    assert static_setting(load_scenario("dlrm-rmc1")) == Setting(25)


def test_fixed_policies_act_for_one_observation_or_many(scenario: Scenario) -> None:
    prepared = fixed(scenario, Setting(48, 300))
    assert prepared.scenario.control.batch_sizes == (8, 32, 48, 128, 512, 1000)
    assert prepared.scenario.thresholds == (128, 300, 512, None)
    one, _ = prepared.policy.predict(np.zeros(14, dtype=np.float32))
    many, _ = prepared.policy.predict(np.zeros((3, 14), dtype=np.float32))
    assert one.tolist() == [2, 1]
    assert many.tolist() == [[2, 1]] * 3
    one[0] = 99  # a caller's copy
    assert prepared.policy.predict(np.zeros(14, dtype=np.float32))[0].tolist() == [2, 1]


def test_a_fixed_policy_in_the_environment_is_the_fixed_run(scenario: Scenario) -> None:
    env = ServingEnv(scenario)
    records = run_policy(env, FixedPolicy(1, 0), 4, "test")
    traffic = QueryStream(scenario.workload, episode_seed(4, "test")).draw_until(1.2)
    alone = run(scenario.with_setting(Setting(32, 128)), traffic)
    assert records.completion_s.tobytes() == alone.completion_s.tobytes()


def test_random_is_seeded(scenario: Scenario) -> None:
    observation = np.zeros(14, dtype=np.float32)
    levels = len(scenario.control.batch_sizes), len(scenario.thresholds)

    def draws(seed: int, count: int) -> list[list[int]]:
        policy, state, actions = RandomPolicy(gym.spaces.MultiDiscrete(levels), seed), None, []
        for _ in range(count):
            action, state = policy.predict(observation, state)
            actions.append(action.tolist())
        return actions

    assert draws(3, 60) == draws(3, 60) != draws(4, 60)
    counts = [
        np.bincount(column, minlength=length) for column, length in zip(np.array(draws(3, 900)).T, levels, strict=True)
    ]
    assert [len(count) for count in counts] == list(levels)
    assert all(chisquare(count).pvalue > 1e-4 for count in counts)


def test_random_is_the_same_on_the_same_day_whatever_ran_before(scenario: Scenario) -> None:
    env, policy = ServingEnv(scenario), RandomPolicy(gym.spaces.MultiDiscrete((5, 3)), 3)
    first = run_policy(env, policy, 7, "test")
    other = run_policy(env, policy, 8, "test")
    again = run_policy(env, policy, 7, "test")
    assert again.completion_s.tobytes() == first.completion_s.tobytes()
    settings = [[*zip(day.batch_size.tolist(), day.threshold.tolist(), strict=True)] for day in (first, other)]
    assert len(set(settings[0])) > 5
    assert settings[0][0] == settings[1][0]
    assert list(dict.fromkeys(settings[0])) != list(dict.fromkeys(settings[1]))


def test_random_acts_in_many_environments_as_in_each(scenario: Scenario) -> None:
    policy, rng = RandomPolicy(gym.spaces.MultiDiscrete((5, 3)), 3), np.random.default_rng(0)
    steps = rng.random((4, 3, 14), dtype=np.float32)  # (windows, environments, fields)
    starts = np.array([[True] * 3, [False] * 3, [False, True, False], [False] * 3])
    together, apart = None, [None] * 3
    for seen, start in zip(steps, starts, strict=True):
        actions, together = policy.predict(seen, together, start)
        for i in range(3):
            one, apart[i] = policy.predict(seen[i], apart[i], start[i : i + 1])
            assert one.tolist() == actions[i].tolist()


def test_day_metrics_are_over_all_queries_by_the_hour_of_their_arrival(scenario: Scenario) -> None:
    traffic = QueryStream(scenario.workload, episode_seed(0, "test")).draw_until(1.2)
    records = run(scenario, traffic)
    metrics = day_metrics(records, scenario)
    first = records.latency_s[records.arrival_s < 0.05]
    assert metrics.hourly_p95_s[0] == np.percentile(first, 95)
    assert metrics.p95_hourly_s == pytest.approx(np.nanmean(metrics.hourly_p95_s))
    assert metrics.p95_day_s == np.percentile(records.latency_s, 95)
    late = records.latency_s > scenario.sla_s
    assert metrics.violation_rate == late.mean()
    assert metrics.goodput_qps == pytest.approx((~late).sum() / 1.2)
    assert metrics.queries == len(records)


def test_tuners_beat_static_by_what_they_tune_for(scenario: Scenario) -> None:
    static = tune(scenario, "static", OPTIONS)
    assert static.tuned.queries_used == 0
    grid = tune(scenario, "grid-capacity", OPTIONS)
    climbed = tune(scenario, "deeprecsched", OPTIONS)
    live = tune(scenario, "deeprecsched-repository", OPTIONS)
    assert grid.capacity.qps > 1.1 * static.capacity.qps
    assert climbed.capacity.qps > 1.1 * static.capacity.qps
    assert live.capacity.qps > static.capacity.qps
    assert all(result.tuned.queries_used > 10_000 for result in (grid, climbed, live))
    payload = grid.to_json()
    assert {"batch_size", "threshold", "qps", "p95_only_qps", "offered_load", "queries_used"} <= set(payload)
    assert json.loads(json.dumps(payload)) == payload


def test_the_papers_climb_leaves_the_ladder_and_stops_behind_the_fall(scenario: Scenario) -> None:
    heard: list[str] = []
    cpu_only = scenario.replace(
        node=scenario.node and scenario.node.model_copy(update={"accelerator": None}), control={"batch_size": 25}
    )
    found = find_setting(cpu_only, "deeprecsched", OPTIONS, heard.append)
    tried = [int(line.split()[-1]) for line in heard]
    assert tried == [min(2**power, 1000) for power in range(1, len(tried) + 1)]
    assert found.setting.batch_size in (1, *tried)
    assert found.setting.threshold is None


def test_the_live_tuner_settles_where_p95_meets_the_target(scenario: Scenario) -> None:
    tuner = LiveTuner(scenario, RepositoryOptions(), seed=0)
    qps = 1 / tuner.median_gap_s(Setting(64))
    capacity = find_capacity(scenario, batch_size=64, threshold=None, queries=20_000).p95_only_qps
    assert qps == pytest.approx(capacity, rel=0.15)  # p95 of 64 samples: 17 % standard deviation a window
    assert tuner.queries_used >= 128 * 64


def test_grid_day_minimises_the_day_metric_on_validation_days(scenario: Scenario) -> None:
    found = find_setting(scenario, "grid-day", OPTIONS, QUIET)
    days = DayRuns(scenario, day_metrics, seeds=[0], split="validation", engine="asyncio")
    every = {
        setting: geometric_mean([day.p95_hourly_s for day in days.fixed(setting)]) for setting in scenario.settings()
    }
    assert every[found.setting] == min(every.values())


def test_capacity_meter_remembers(scenario: Scenario) -> None:
    meter = CapacityMeter(scenario, queries=2000, seed=0, engine="asyncio")
    first = meter.capacity(Setting(64))
    used = meter.queries_used
    assert meter.capacity(Setting(64)) is first
    assert meter.queries_used == used
    assert meter.find(Setting(64), at_least=2 * first.qps).qps == 0.0


def test_evaluation_is_paired_and_complete(scenario: Scenario) -> None:
    result = compare(SERVING, scenario, ["static", "grid-day", "random"], seed=3, seeds=3, options=OPTIONS)
    payload = result.to_json()
    assert payload["seeds"] == [3, 4, 5]
    assert set(payload["policies"]) == {"static", "grid-day", "random"}
    entry = payload["policies"]["static"]
    assert {
        "p95_hourly_ms", "p95_day_ms", "p99_day_ms", "violation_rate", "goodput", "capacity_qps", "joules_per_query",
        "tuning_queries", "score", "vs",
    } <= set(entry)  # fmt: skip
    assert entry["score"] is None
    ratio = entry["vs"]["grid-day"]["ratio"]
    ours, theirs = (
        geometric_mean([day.p95_hourly_s for day in result.policies[name].episodes]) for name in ("static", "grid-day")
    )
    assert ratio == pytest.approx(ours / theirs)
    assert ratio == pytest.approx(1 / payload["policies"]["grid-day"]["vs"]["static"]["ratio"])
    low, high = entry["vs"]["grid-day"]["ci"]
    assert low < ratio < high
    again = compare(SERVING, scenario, ["static"], seed=3, seeds=1, options=OPTIONS).to_json()
    assert again["policies"]["static"]["vs"] == {}


def test_an_adaptive_policys_capacity_is_that_of_the_setting_it_keeps(scenario: Scenario) -> None:
    prepared = prepare("grid-capacity", scenario, OPTIONS, QUIET)
    fixed_qps = policy_capacities(prepared, [0], queries=4000)[0]
    assert fixed_qps == pytest.approx(
        find_capacity(scenario, **_options(prepared), queries=4000, split="test").qps, rel=0.02
    )
    adaptive = policy_capacities(type(prepared)(prepared.policy, prepared.scenario, 0, None), [0], queries=4000)[0]
    assert adaptive == fixed_qps
    unreachable = type(prepared)(prepared.policy, prepared.scenario.replace(sla_ms=0.1), 0, None)
    assert policy_capacities(unreachable, [0], queries=2000)[0] == 0.0


def test_scores_and_capacity_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "SMALLEST_GAIN", 0.01)  # so small a scenario leaves little to win
    scenario = crossing_scenario()
    names = ["grid-capacity", "grid-day", "load-table", "rate-oracle"]
    entries = compare(SERVING, scenario, names, seeds=2, options=OPTIONS).to_json()["policies"]
    assert entries["grid-day"]["score"] == 0.0
    assert entries["rate-oracle"]["score"] == pytest.approx(1.0)
    assert entries["rate-oracle"]["score_ci"] == pytest.approx((1.0, 1.0))
    low, high = entries["load-table"]["score_ci"]
    assert low <= entries["load-table"]["score"] <= high
    assert entries["grid-capacity"]["capacity_ratio"] == {"ratio": 1.0, "ci": [1.0, 1.0]}
    low, high = entries["load-table"]["capacity_ratio"]["ci"]
    assert low <= entries["load-table"]["capacity_ratio"]["ratio"] <= high
    assert entries["load-table"]["capacity_qps"] > 0.0
    assert entries["rate-oracle"]["capacity_qps"] is None  # a reference is not a server
    assert entries["rate-oracle"]["capacity_ratio"] is None
    low, high = entries["grid-day"]["violation_rate_ci"]
    assert low <= entries["grid-day"]["violation_rate"] <= high
    low, high = entries["grid-day"]["p95_hourly_ci_ms"]
    assert low < entries["grid-day"]["p95_hourly_ms"] < high


def _options(prepared: TunedPolicy) -> Any:
    assert prepared.setting is not None
    return {"batch_size": prepared.setting.batch_size, "threshold": prepared.setting.threshold}


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_can_be_prepared(name: str, scenario: Scenario) -> None:
    prepared = prepare(name, scenario, TuneOptions(queries=1100, days=1), QUIET)
    assert (prepared.tuning_queries > 0) == (name not in ("static", "generalist", "random"))


def test_unknown_names_are_refused(scenario: Scenario) -> None:
    with pytest.raises(InputError, match="method"):
        tune(scenario, "guess", OPTIONS)
    with pytest.raises(InputError, match="policy"):
        compare(SERVING, scenario, ["guess"], seeds=1)
    with pytest.raises(InputError, match=r"engine.*rate-oracle"):
        compare(SERVING, scenario, ["static", "rate-oracle"], seeds=1, options=TuneOptions(engine="asyncio"))
    with pytest.raises(InputError, match="each policy once"):
        compare(SERVING, scenario, ["static", "static"], seeds=1)
    with pytest.raises(InputError, match="seeds"):
        compare(SERVING, scenario, ["static"], seeds=0)
    with pytest.raises(InputError, match="queries"):
        TuneOptions(queries=5)
    assert set(METHODS) < set(policy_names())


def test_grid_capacity_is_exhaustive_up_to_noise(scenario: Scenario) -> None:
    """No setting of the ladders carries clearly more; `grid` is another name of it; all its queries are counted."""
    heard: list[str] = []
    found = find_setting(scenario, "grid", TuneOptions(queries=20_000), heard.append)
    assert found == find_setting(scenario, "grid-capacity", TuneOptions(queries=20_000), QUIET)
    every = {
        setting: find_capacity(scenario.with_setting(setting), queries=40_000, p95_only=False)
        for setting in scenario.settings()
    }
    assert every[found.setting].qps >= 0.98 * max(capacity.qps for capacity in every.values())
    assert 20_000 < found.queries_used < sum(capacity.queries_used for capacity in every.values())
    assert tune(scenario, "grid", OPTIONS).method == "grid-capacity"


def test_no_setting_meets_an_impossible_target(scenario: Scenario) -> None:
    result = tune(scenario.replace(sla_ms=0.1), "grid", OPTIONS)
    assert (result.capacity.qps, result.capacity.limited_by) == (0.0, "infeasible")
