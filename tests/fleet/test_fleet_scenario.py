"""Scenario files with a fleet: what they say, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from deeprec_env import InputError, find_capacity, load_scenario, simulate, simulate_fleet
from tests.fleet.fleets import GROUPS, MM1, ROUTERS, fleet, one_item_nodes


def test_a_group_takes_from_its_preset_what_it_does_not_name() -> None:
    gpu, cpu = fleet(ROUTERS["random"]).group_scenarios
    assert (gpu.setting.batch_size, gpu.setting.threshold) == (384, 640)
    assert gpu.control.interval_s == load_scenario("wnd").control.interval_s
    assert (cpu.setting.batch_size, cpu.setting.threshold) == (100, None)
    assert gpu.sla_ms == cpu.sla_ms == 25


def test_its_text_loads_again() -> None:
    scenario = fleet(ROUTERS["probing"], network_ms=1, probe_age_ms=2)
    assert load_scenario(scenario.model_dump(mode="json")) == scenario


DAY = {"kind": "diurnal", "qps": 100, "day_s": 10, "trough": 0.2, "peak": 0.9}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fleet.groups": []}, "fleet.groups: got [];"),
        ({"fleet.groups.0.count": 0}, "fleet.groups.0.count: got 0;"),
        ({"fleet.groups.0.weight": -1}, "fleet.groups.0.weight: got -1;"),
        ({"fleet.groups.0.preset": "none"}, "fleet.groups.0.preset: got 'none';"),
        ({"fleet.groups.0.preset": None}, "needs exactly one of node and preset"),
        ({"fleet.groups.1.name": "gpu"}, "each with its own name"),
        ({"fleet.groups.1.control": {"threshold": 5}}, "fleet.groups.1.node"),
        ({"fleet.router": {"kind": "by-size", "bounds": [1, 2]}}, "fleet.router.bounds: got [1, 2];"),
        ({"fleet.router": {"kind": "by-size", "bounds": [2, 2]}}, "must ascend"),
        ({"fleet.router": {"kind": "power-of-d", "d": 0}}, "fleet.router.d: got 0;"),
        ({"fleet.router": {"kind": "fastest"}}, "kind 'fastest' is not known"),
        ({"fleet.probe_age_ms": 10_001, "workload.arrivals": DAY}, "fleet.probe_age_ms: got 10001"),
        ({"fleet.router": {"kind": "probing", "every_ms": 1e6}, "workload.arrivals": DAY}, "fleet.router: got"),
        ({"fleet.network_ms": -1}, "fleet.network_ms: got -1;"),
        ({"node": MM1}, "needs exactly one of node, pipeline and fleet"),
        ({"control": {"batch_size": 8}}, "control: got ['batch_size']; must be left to the fleet's groups"),
    ],
)
def test_bad_input(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        load_scenario(fleet(ROUTERS["random"]), changes)
    assert message in str(error.value)


def test_weights_that_are_all_zero() -> None:
    with pytest.raises(InputError, match=r"fleet.groups.weight: got \[0.0\]"):
        fleet(ROUTERS["weighted"], [{**GROUPS[0], "weight": 0}])


def test_a_load_that_no_setting_can_carry_names_group_and_load() -> None:
    with pytest.raises(InputError, match=r"fleet.groups: got 'mm1'; has an offered load of 1.2"):
        simulate_fleet(one_item_nodes(ROUTERS["random"], 5, 1.2), queries=1200)
    with pytest.raises(InputError, match=r"fleet.groups: got 'gpu, cpu'; has an offered load of 1.79"):
        simulate_fleet(fleet(ROUTERS["least-work"], qps=60_000), queries=1200)


def test_what_is_about_one_node_says_so() -> None:
    for ask in (simulate, find_capacity):
        with pytest.raises(InputError, match="must be a node or pipeline"):
            ask(fleet(ROUTERS["random"]))
    with pytest.raises(InputError, match="fleet: got None; is needed"):
        simulate_fleet("wnd")


def test_options_are_those_of_all_groups() -> None:
    changed = simulate_fleet(fleet(ROUTERS["random"]), queries=1200, qps=5000, batch_size=64, threshold=300)
    gpu, cpu = changed.groups.values()
    assert changed.qps_offered == 5000
    assert [group.scenario.setting.batch_size for group in (gpu, cpu)] == [64, 64]
    assert [group.scenario.setting.threshold for group in (gpu, cpu)] == [300, None]
