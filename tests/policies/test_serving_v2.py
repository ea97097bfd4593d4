"""Evaluation in `DeepRec/Serving-v2`: v1's policies in it, what is shed, and days of scenarios without capacity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.analysis.day import with_day, with_drift
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.envs.serving_v2_task import V2_CONTROLS, with_further_ladders
from deeprec_env.policies.base import FixedPolicy, TunedPolicy
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.day_metrics import day_metrics
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.evaluation.recorded import recorded_policy
from deeprec_env.policies.fixed.best_day import CLOSE, with_best_day
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.on_serving_v2 import without_further
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.conftest import day_scenario

OPTIONS = TuneOptions(queries=1500, days=2)
CAPACITY = {"qps": 1500, "batch_size": 64, "threshold": 256, "found_by": "a test"}
COARSE = {"batch_sizes": [16, 64, 256], "thresholds": [128, 320, None]}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(day_scenario(capacity=CAPACITY, control={"interval_s": 0.1} | COARSE))


@pytest.mark.parametrize("traffic", ["day", "drift"])
def test_policies_of_v1_give_their_bytes_in_v2(scenario: Scenario, traffic: str) -> None:
    names = ["static", "grid-day", "deeprecsched", "load-table"]  # rate-oracle searches all controls in v2
    one, two = (
        compare(spec, scenario, names, seeds=1, options=OPTIONS, choices={"traffic": traffic})
        for spec in (SERVING, SERVING_V2)
    )
    assert two.scenario.controls == ("batch_size", "threshold", "order", "offload", "admit_ms")
    first, second = one.to_json(), two.to_json()
    assert second["environment"] == "serving-v2"
    assert second["streams_sha256"] == first["streams_sha256"]
    assert second["policies"] == first["policies"]
    assert one.rows() == two.rows()


def test_what_is_shed_stands_beside_percentiles_of_the_rest(scenario: Scenario) -> None:
    busy = scenario.with_arrivals(scenario.workload.arrivals.model_copy(update={"qps": 3000.0}))
    busy = with_further_ladders(busy)
    sheds = busy.setting.at(batch_size=64, offload="predicted", admit_ms=48.0)
    action = busy.action(sheds, V2_CONTROLS)
    policy = TunedPolicy(FixedPolicy(*action), busy, 0)
    compared = compare(SERVING_V2, busy, [policy, "static"], labels=["sheds", "static"], seeds=2, options=OPTIONS)
    entry = compared.to_json()["policies"]["sheds"]
    assert 0.1 < entry["shed_rate"] < 0.9
    assert entry["shed_rate_ci"][0] < entry["shed_rate"] < entry["shed_rate_ci"][1]
    assert entry["violation_rate"] >= entry["shed_rate"]
    assert entry["goodput"] == pytest.approx(1.0 - entry["violation_rate"])
    assert entry["p99_day_ms"] < 90.0
    static = compared.to_json()["policies"]["static"]
    assert static["shed_rate"] == 0.0
    assert static["goodput_qps"] < entry["goodput_qps"]
    assert entry["capacity_qps"] > 1000.0  # under it nothing is shed
    header = ["", *compared.evaluation.columns]
    row = dict(zip(header, compared.rows()[0], strict=True))
    assert float(row["shed %"].split()[0]) == pytest.approx(100 * entry["shed_rate"], abs=0.01)
    again = recorded_policy("sheds", json.loads(json.dumps(compared.to_json()["actions"]["sheds"])), busy)
    assert again.scenario.ladders["admit_ms"] == busy.ladders["admit_ms"]
    json.dumps(compared.to_json(), allow_nan=False)


def test_day_metrics_count_what_was_shed_as_late(scenario: Scenario) -> None:
    strict = with_further_ladders(scenario).with_setting(
        with_further_ladders(scenario).setting.at(batch_size=256, offload=None, admit_ms=36.0)
    )
    traffic = QueryStream(strict.workload, episode_seed(0)).draw_until(1.2)
    records = run(strict, traffic.at(traffic.arrival_s * 0.2))
    metrics = day_metrics(records, strict)
    shed = np.isnan(records.latency_s)
    assert 0 < shed.sum() < len(shed)
    assert metrics.shed_rate == pytest.approx(shed.mean())
    within = (records.latency_s <= strict.sla_s).sum()
    assert metrics.violation_rate == pytest.approx(1.0 - within / len(records))
    assert metrics.goodput_qps == pytest.approx(within / 1.2)
    assert metrics.p99_day_s == pytest.approx(np.nanpercentile(records.latency_s, 99))
    assert metrics.queries == len(records)


def test_random_draws_from_all_four_ladders(scenario: Scenario) -> None:
    compared = compare(SERVING_V2, scenario, ["random"], seeds=1, options=OPTIONS)
    actions = np.array([action for action, _ in compared.to_json()["actions"]["random"]["episodes"]["0"]])
    assert actions.shape[1] == 4
    assert (actions.max(axis=0) > 0).all()


def test_a_scenario_without_capacity_gets_the_day_of_its_best_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data: dict[str, Any] = day_scenario(control={"interval_s": 0.1} | COARSE)
    data["workload"]["arrivals"] = {"kind": "poisson", "qps": 3}
    stationary = load_scenario(data)
    prepared = evaluation_of(SERVING_V2).prepare(stationary, "compiled", {"traffic": "day"})
    capacity = prepared.capacity
    assert capacity is not None
    poor = with_day(stationary).capacity
    assert poor is not None
    assert capacity.qps > 2.0 * poor.qps  # of the settings that it starts with
    best = stationary.setting.replace(batch_size=capacity.batch_size, threshold=capacity.threshold)
    found = find_capacity(stationary.with_setting(best), confirm=False, p95_only=False)
    assert capacity.qps == pytest.approx(found.qps)
    assert isinstance(prepared.workload.arrivals, Diurnal)
    assert prepared.workload.arrivals.peak_qps == pytest.approx(0.9 * capacity.qps, rel=1e-4)
    remembered = list((tmp_path / "deeprec-env").glob("best-capacity-*.json"))
    assert len(remembered) == 1
    begun = remembered[0].stat().st_mtime_ns
    assert with_best_day(without_further(stationary)).capacity == capacity
    assert remembered[0].stat().st_mtime_ns == begun
    assert with_best_day(prepared) is prepared  # it has a day
    given = stationary.replace(capacity=CAPACITY)
    assert with_best_day(given) == with_day(given)
    assert 0.0 < CLOSE < 0.1


def test_sizes_drift_through_the_day_and_are_the_scenarios_own_over_it(scenario: Scenario) -> None:
    drifting = with_drift(scenario)
    stream = QueryStream(drifting.workload, episode_seed(0))
    days = [stream.draw(480).items for _ in range(60)]
    first = np.median(np.concatenate([day[:80] for day in days[::2]]))
    last = np.median(np.concatenate([day[-80:] for day in days[::2]]))
    own = np.median(scenario.workload.sizes.draw(np.random.default_rng(0), 20_000))
    assert first < 0.75 * own < 1.3 * own < last
    assert drifting.workload.sizes.mean_items == pytest.approx(scenario.workload.sizes.mean_items)
    assert drifting.capacity == scenario.capacity
