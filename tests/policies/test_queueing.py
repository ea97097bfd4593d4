"""Settings by formulas: closed forms, and stability."""

from __future__ import annotations

import math
from typing import Any

import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.envs.serving_v2_task import with_further_ladders
from deeprec_env.policies.adaptive.queueing import find_queueing_table
from deeprec_env.policies.adaptive.queueing_model import QueueingModel
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.policies.on_serving_v2 import without_further
from deeprec_env.progress import silent
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.simulate import simulate
from tests.policies.test_load_table import SPLIT, WHOLE, crossing_scenario


def single(servers: int, latency: dict[str, Any], items: int = 1) -> Scenario:
    return load_scenario(
        {
            "sla_ms": 50,
            "workload": {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "fixed", "items": items}},
            "node": {"cpu": {"servers": servers, "latency": latency}},
            "control": {"batch_size": 1},
        }
    )


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_one_exponential_server_has_exponential_latencies(load: float) -> None:
    model = QueueingModel(single(1, {"kind": "exponential", "mean_ms": 10}))
    p95_s, p99_s, late = model.latencies(Setting(1), load * 100.0)
    left = 100.0 * (1.0 - load)
    assert p95_s == pytest.approx(-math.log(0.05) / left, rel=0.03)
    assert p99_s == pytest.approx(-math.log(0.01) / left, rel=0.05)
    assert late == pytest.approx(math.exp(-0.05 * left), rel=0.1)


def test_an_idle_node_takes_as_long_as_its_slowest_server() -> None:
    model = QueueingModel(single(4, {"kind": "affine", "base_ms": 2, "per_item_ms": 1, "cv": 0.0}, items=8))
    for batch_size, rounds in ((8, 1), (2, 1), (1, 2)):
        service_ms = 2 + batch_size
        assert model.latencies(Setting(batch_size), 1e-6)[0] == pytest.approx(rounds * service_ms * 1e-3, rel=1e-3)


def test_the_formulas_are_near_the_simulation_on_wnd() -> None:
    scenario = load_scenario("wnd")
    assert scenario.capacity is not None
    setting = Setting(128, 768)
    for load in (0.7, 0.85):
        qps = load * scenario.capacity.qps
        measured = simulate(scenario, qps=qps, batch_size=128, threshold=768, queries=20_000).tail
        p95_s, _, _ = QueueingModel(scenario).latencies(setting, qps)
        assert p95_s == pytest.approx(measured.p95_s, rel=0.15)


@pytest.mark.parametrize("name", ["crossing", "wnd", "dlrm-rmc2", "din-cpu"])
def test_it_is_stable_whenever_any_setting_is(name: str) -> None:
    scenario = with_further_ladders(crossing_scenario() if name == "crossing" else load_scenario(name))
    control = scenario.control.model_copy(update={"batch_sizes": scenario.control.batch_sizes[::3] or (4, 16)})
    scenario = scenario.replace(control=control)
    assert scenario.capacity is not None
    table = find_queueing_table(scenario, scenario.capacity.qps, silent)
    most_qps = saturation_rates(without_further(scenario))
    for level, ranking in zip(table.levels, table.ranking, strict=True):
        chosen = most_qps[ranking[0].replace(admit_ms=None)]
        qps = level * scenario.capacity.qps
        assert chosen > qps or chosen == max(most_qps.values()) <= qps
        assert ranking[0].admit_ms == scenario.sla_ms or chosen > qps
    assert table.queries_used == 0


def test_it_finds_the_known_best_settings() -> None:
    scenario = with_further_ladders(crossing_scenario())
    table = find_queueing_table(scenario, 1900.0, silent)
    best = {level: ranking[0] for level, ranking in zip(table.levels, table.ranking, strict=True)}
    assert all(best[level] == SPLIT for level in best if level <= 0.3)
    assert all(best[level].batch_size == WHOLE.batch_size for level in best if level * 1900 >= 1429)
    assert all(best[level].admit_ms == scenario.sla_ms for level in best if level >= 1.2)
    assert best[0.5].admit_ms is None
