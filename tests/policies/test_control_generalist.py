"""The generalist of `DeepRec/Serving-v2`: when it refuses, predicts and lets small queries go first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.analysis.day import with_drift, with_flash
from deeprec_env.envs.environments import SERVING_V2
from deeprec_env.envs.observation import V2_FIELDS
from deeprec_env.envs.serving_v2_task import V2_CONTROLS, with_further_ladders
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.control_generalist import ControlGeneralistPolicy
from deeprec_env.policies.adaptive.generalist import Belief, GeneralistPolicy
from deeprec_env.policies.adaptive.utilisation import Factors
from deeprec_env.policies.base import Policy, TunedPolicy
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, day_metrics
from deeprec_env.policies.evaluation.episodes import run_episode
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.on_serving_v2 import on_serving_v2, without_further
from deeprec_env.scenario.pools import Contention
from deeprec_env.scenario.setting import PREDICTED
from tests.policies.test_generalist import PROFILE, small


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return with_further_ladders(small())


@pytest.fixture(scope="module")
def policy(scenario: Scenario) -> ControlGeneralistPolicy:
    return ControlGeneralistPolicy(scenario)


def day(policy: Policy, scenario: Scenario) -> DayMetrics:
    return day_metrics(run_episode(SERVING_V2.make(scenario), policy, 0, "validation").records, scenario)


def test_a_crowd_is_refused_as_far_as_need_be() -> None:
    busy = small(capacity={"qps": 2500, "batch_size": 256, "found_by": "a guess"})
    busy = busy.with_arrivals(busy.workload.arrivals.model_copy(update={"qps": 1375.0}))
    crowds = with_further_ladders(with_flash(busy))
    policy = ControlGeneralistPolicy(crowds)
    alone = TunedPolicy(GeneralistPolicy(without_further(crowds)), without_further(crowds), 0)
    own, of_v1 = day(policy, crowds), day(on_serving_v2(alone, crowds).policy, crowds)
    assert of_v1.violation_rate > 0.02
    assert own.violation_rate < 0.5 * of_v1.violation_rate
    assert own.shed_rate > 0.0
    assert own.p99_day_s < of_v1.p99_day_s


def test_sizes_that_drift_are_offloaded_by_prediction(scenario: Scenario) -> None:
    drifting = with_drift(scenario)
    policy = ControlGeneralistPolicy(drifting)
    run = run_episode(SERVING_V2.make(drifting), policy, 0, "validation")
    offloads = np.array(run.actions)[:, V2_CONTROLS.index("offload")]
    predicted = drifting.ladders["offload"].index(PREDICTED)
    assert 0.3 < (offloads == predicted).mean() < 1.0
    assert day(policy, drifting).violation_rate < 0.01
    usual = run_episode(SERVING_V2.make(scenario), ControlGeneralistPolicy(scenario), 0, "validation")
    assert (np.array(usual.actions)[:, V2_CONTROLS.index("offload")] == predicted).mean() < 0.1


def test_small_queries_go_first_where_some_wait_and_p99_is_far_from_the_target(scenario: Scenario) -> None:
    far = ControlGeneralistPolicy(with_further_ladders(small(sla_ms=200)))
    near = ControlGeneralistPolicy(scenario)

    def orders(policy: ControlGeneralistPolicy) -> list[str]:
        return [policy.setting(Belief(qps, Factors())).order for qps in (50.0, 1500.0, 20000.0)]

    assert orders(far) == ["fcfs", "small-first", "fcfs"]
    assert orders(near) == ["fcfs", "fcfs", "fcfs"]


def test_beyond_what_any_threshold_carries_it_predicts_and_refuses(policy: ControlGeneralistPolicy) -> None:
    setting = policy.setting(Belief(20_000.0, Factors()))
    assert setting.offload == PREDICTED
    assert setting.admit_ms == pytest.approx(20.0)
    assert policy.setting(Belief(300.0, Factors())).offload != PREDICTED
    assert policy.setting(Belief(300.0, Factors(items=1.3))).offload == PREDICTED
    assert policy.setting(Belief(300.0, Factors(), refused=0.05)).offload == PREDICTED


def test_near_capacity_nobody_is_refused_while_it_lasts() -> None:
    tight = with_further_ladders(small(sla_ms=8))
    policy, limit = ControlGeneralistPolicy(tight), 8.0

    def admits(now_qps: float, sustained_qps: float | None) -> float | None:
        return policy.setting(Belief(now_qps, Factors(), sustained_qps=sustained_qps)).admit_ms

    found = {qps: policy.best(Belief(qps, Factors())) for qps in (700.0, 1500.0, 1800.0, 2500.0)}
    assert [round(each.p99, 1) for each in found.values()] == [0.6, 1.2, 1.8, 37.0]
    assert admits(1500.0, 1500.0) is None
    for other_qps in (700.0, 1800.0):
        assert admits(1500.0, other_qps) == admits(other_qps, 1500.0) == limit
    assert admits(1500.0, None) == limit
    assert admits(2500.0, 2500.0) == limit
    strict = small(sla_ms=8, control={"interval_s": 0.1, "admits_ms": [6.0, 8.0]})
    strict_policy = ControlGeneralistPolicy(with_further_ladders(strict))
    assert strict_policy.setting(Belief(1500.0, Factors(), sustained_qps=1500.0)).admit_ms == limit


def test_what_lasts_is_the_mean_rate_of_the_last_ten_windows_or_of_all_there_are(scenario: Scenario) -> None:
    policy = ControlGeneralistPolicy(scenario)
    rates = [9.0, 0.2, 0.4, 0.9, *[0.6] * 7, *[1.5] * 12]
    state: Any = None
    means = []
    for window, rate in enumerate(rates):
        row = np.zeros(len(V2_FIELDS), dtype=np.float32)
        row[V2_FIELDS.index("offered")] = rate
        _, state = policy.predict(row, state, np.array([window == 0]))
        means.append(state[0] and state[0].sustained_qps / 1500.0)
    assert means[0] is None  # what an episode begins with was not measured
    assert means[1:11] == pytest.approx([np.mean(rates[1 : window + 1]) for window in range(1, 11)])
    assert means[-1] == pytest.approx(1.5 - (1.5 - means[10]) * 0.9**12)


def test_beside_prediction_a_full_batch_leaves_room_for_a_wait(policy: ControlGeneralistPolicy) -> None:
    batches = [policy.setting(Belief(20_000.0, Factors(cpu=slower))).batch_size for slower in (1.0, 3.0)]
    assert batches == [256, 64]  # 5.4 and 1.6 ms by the profile, of a target of 20
    assert GeneralistPolicy(small()).best(Belief(20_000.0, Factors())).place // 4 == 3  # of all, 1000 is least work
    tight = ControlGeneralistPolicy(with_further_ladders(small(sla_ms=6)))
    assert tight.setting(None).batch_size == 64


def test_a_slow_core_is_found_under_crowds_that_are_refused() -> None:
    told = with_further_ladders(with_flash(small()))
    assert told.node is not None
    slow = told.node.cpu.model_copy(update={"contention": Contention(c=(1.4, 0.0, 0.0))})
    true = told.replace(node=told.node.model_copy(update={"cpu": slow}))
    run = run_episode(SERVING_V2.make(true), ControlGeneralistPolicy(told), 0, "validation")
    assert run.records.shed.mean() > 0.005
    assert run.state[0].factors.cpu == pytest.approx(1.4, rel=0.1)
    right = run_episode(SERVING_V2.make(told), ControlGeneralistPolicy(told), 0, "validation")
    assert right.state[0].factors.cpu == pytest.approx(1.0, abs=0.05)


def test_what_is_refused_is_not_taken_for_a_fast_accelerator(scenario: Scenario) -> None:
    def believed(shed: float, offload: str | int) -> float:
        policy, state = ControlGeneralistPolicy(scenario), None
        row = np.zeros(len(V2_FIELDS), dtype=np.float32)
        settled = {"offered": 0.4, "completed": 0.4, "mean_items": 1.0, "cpu_utilisation": 0.15}
        level = scenario.ladders["offload"].index(offload) / (len(scenario.ladders["offload"]) - 1)
        of_ladder = {"batch_size": 1.0, "offload": level, "shed_rate": shed, "accelerator_utilisation": 0.3}
        for name, value in {**settled, **of_ladder}.items():
            row[V2_FIELDS.index(name)] = value
        for window in range(20):
            _, state = policy.predict(row, state, np.array([window == 0]))
        return float(state[0].factors.accelerator)

    assert believed(0.0, 128) == pytest.approx(0.37, abs=0.01)  # it did in 0.30 what it was expected to do in 0.81
    assert believed(0.1, 128) == pytest.approx(0.45, abs=0.01)  # in 0.67, were all who were refused meant for it
    assert believed(0.4, 128) == believed(0.0, PREDICTED) == 1.0


@pytest.mark.parametrize(
    "ladders",
    [
        {"offloads": [128, None], "orders": ["fcfs"], "admits_ms": [None]},
        {"offloads": ["predicted"], "orders": ["least-slack"], "admits_ms": [30, 40]},
        {"offloads": [64, "predicted"], "orders": ["small-first"], "admits_ms": [12, 18, 30, None]},
    ],
)
def test_it_keeps_to_the_scenarios_ladders(ladders: dict[str, Any]) -> None:
    control = {"interval_s": 0.1, "batch_sizes": [16, 64, 256], "thresholds": [128, 256, None], **ladders}
    scenario = with_further_ladders(small(control=control))
    policy = ControlGeneralistPolicy(scenario)
    allowed = {None: None} | dict.fromkeys(scenario.ladders["admit_ms"])
    for qps in (100.0, 1500.0, 9000.0):
        setting = policy.setting(Belief(qps, Factors()))
        scenario.action(setting, V2_CONTROLS)  # it is on the ladders
        assert setting.admit_ms in allowed
    assert setting.admit_ms == {30: 40, 12: 18, None: None}[ladders["admits_ms"][0]]
    assert day(policy, scenario).p95_hourly_s > 0.0


def test_many_observations_are_many_single_ones(policy: ControlGeneralistPolicy) -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.0, 1.0, (5, 3, len(V2_FIELDS))).astype(np.float32)
    together: Any = None
    alone: list[Any] = [None] * 3
    for step, seen in enumerate(rows):
        first = np.full(3, step == 0)
        actions, together = policy.predict(seen, together, first)
        for env in range(3):
            action, alone[env] = policy.predict(seen[env], alone[env], first[:1])
            assert action.tolist() == actions[env].tolist()


def test_evaluation_compares_it_without_tuning(scenario: Scenario) -> None:
    found = compare(
        SERVING_V2, small(), ["generalist", "static"], seeds=1, options=TuneOptions(queries=1100, days=1)
    ).to_json()
    assert found["policies"]["generalist"]["tuning_queries"] == 0
    assert found["policies"]["generalist"]["capacity_qps"] > 0.9 * found["policies"]["static"]["capacity_qps"]


def test_what_it_cannot_describe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(PROFILE)
    latency = {"kind": "profile", "profile": str(tmp_path / "one.csv"), "model": "m"}
    lacking = small(node={"cpu": {"servers": 8, "latency": latency}}, control={"interval_s": 0.1})
    with pytest.raises(InputError, match=r"cpu.latency.profile.*two batches"):
        ControlGeneralistPolicy(with_further_ladders(lacking))
    with pytest.raises(InputError, match=r"control.split.*left out"):
        ControlGeneralistPolicy(with_further_ladders(small(control={"interval_s": 0.1, "split": "even"})))
    with pytest.raises(InputError, match="one node"):
        ControlGeneralistPolicy(with_further_ladders(load_scenario("recpipe-cpu")))
