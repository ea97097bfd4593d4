"""Fleets whose nodes come and go: both engines alike, what they are without any coming and going, and by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, Scenario
from deeprec_env.fleet.provision import Provision
from deeprec_env.fleet.setting import FleetSetting
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.fleet.stepped import SteppedFleet
from deeprec_env.fleet.stepped_engines import make_stepped
from deeprec_env.fleet.window import FleetWindow
from deeprec_env.scenario.router import Members
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.workload.stream import Traffic
from tests.fleet.fleets import GROUPS, ROUTERS, bytes_of, drawn, fleet

WINDOWS, WINDOW_S = 10, 0.006
SMALL: list[dict[str, Any]] = [group | {"start_s": 0.004 + 0.005 * place} for place, group in enumerate(GROUPS)]


def settings(scenario: Scenario, seed: int, windows: int = WINDOWS) -> list[FleetSetting]:
    """Random ones, in every group a node at least now and then."""
    rng, start = np.random.default_rng(seed), FleetSetting.of(scenario)
    assert scenario.fleet is not None
    fewest = int(scenario.fleet.router.every_group)
    found = []
    for _ in range(windows):
        each = tuple(
            Setting(int(rng.choice([64, 384, 1000])), None if one.threshold is None else int(rng.choice([128, 640])))
            for one in start.settings
        )
        nodes = tuple(int(rng.integers(fewest, count + 1)) for count in start.nodes)
        found.append(FleetSetting(start.names, each, nodes))
    return found


def stepped(engine: SteppedFleet, chosen: list[FleetSetting], window_s: float = WINDOW_S) -> list[FleetWindow]:
    times = [index * window_s for index in range(len(chosen) + 1)]
    return [engine.run_window(setting, *span) for setting, span in zip(chosen, pairwise(times), strict=True)]


def until(traffic: Traffic, end_s: float) -> Traffic:
    return traffic.part(0, int(np.searchsorted(traffic.arrival_s, end_s)))


def assert_alike(scenario: Scenario, traffic: Traffic, chosen: list[FleetSetting], window_s: float) -> None:
    """Both engines give the same windows and records."""
    engines = [make_stepped(scenario, traffic, name) for name in ("compiled", "asyncio")]
    for ours, theirs in zip(*(stepped(engine, chosen, window_s) for engine in engines), strict=True):
        assert repr(ours) == repr(theirs)
        assert repr(ours.groups) == repr(theirs.groups)
    open_records = [engine.records() for engine in engines]
    for engine in engines:
        engine.drain()
    for records in (open_records, [engine.records() for engine in engines]):
        for name in ("query", "arrival_s", "items", "setting", "completion_s", "offloaded"):
            assert bytes_of(getattr(records[0], name)) == bytes_of(getattr(records[1], name)), name
    assert engines[0].node.tolist() == engines[1].node.tolist()
    assert engines[0].completed == engines[0].arrived == len(traffic.items)
    engines[1].close()


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("delays", [{}, {"network_ms": 0.7, "probe_age_ms": 0.4}], ids=["at once", "delayed"])
def test_both_engines_give_the_same_bytes(router: str, delays: dict[str, float]) -> None:
    scenario = fleet(ROUTERS[router], SMALL, sla_ms=5, **delays)
    traffic = until(drawn(scenario, 2000), WINDOWS * WINDOW_S)
    assert_alike(scenario, traffic, settings(scenario, 1), WINDOW_S)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("network_ms", [0, 1, 40])
def test_equal_times_are_in_the_same_order(router: str, network_ms: float) -> None:
    """Whole milliseconds all over, windows among them; or a network slower than a window is long."""
    node = {"cpu": {"servers": 2, "latency": {"kind": "constant", "ms": 2}, "contention": {"c": [1, 0.2, 0]}}}
    groups = [
        {"name": name, "count": 2, "node": node, "control": {"batch_size": 100}, "start_s": start_s}
        for name, start_s in (("a", 0.0), ("b", 0.015625))
    ]
    arrivals = {"kind": "poisson-ms", "qps": 900}
    scenario = fleet(ROUTERS[router], groups, arrivals=arrivals, network_ms=network_ms, probe_age_ms=2)
    traffic = drawn(scenario, 500)
    traffic = until(traffic.at(np.rint(traffic.arrival_s * 1024) / 1024), WINDOWS / 64)
    assert_alike(scenario, traffic, settings(scenario, 2), 1 / 64)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("network_ms", [0.0, 0.3])
def test_where_nothing_changes_it_is_the_fleet_that_stays(router: str, network_ms: float) -> None:
    scenario = fleet(ROUTERS[router], SMALL, network_ms=network_ms, probe_age_ms=0.2)
    traffic = until(drawn(scenario, 2000), WINDOWS * WINDOW_S)
    engine = make_stepped(scenario, traffic)
    stepped(engine, [FleetSetting.of(scenario)] * WINDOWS)
    engine.drain()
    expected = run_fleet(scenario, traffic)
    assert engine.node.tolist() == expected.node.tolist()
    assert bytes_of(engine.records().completion_s) == bytes_of(expected.whole.completion_s)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_fleet_of_one_node_is_that_node_window_by_window(router: str) -> None:
    kind = ROUTERS[router] | ({"bounds": []} if router == "by-size" else {})
    scenario = fleet(kind, [GROUPS[0] | {"count": 1}], qps=4000, sla_ms=6)
    traffic = until(drawn(scenario, 2000), 0.3)
    chosen = settings(scenario, 3)
    chosen = [FleetSetting(each.names, each.settings, (1,)) for each in chosen]
    engine, alone = make_stepped(scenario, traffic), CompiledEngine(scenario.group_scenarios[0], traffic)
    windows = stepped(engine, chosen, 0.03)
    for index, (window, setting) in enumerate(zip(windows, chosen, strict=True)):
        expected = alone.run_window(setting.settings[0], index * 0.03, (index + 1) * 0.03)
        for name in (
            *("p50_s", "p95_s", "p99_s", "violation_rate", "sample", "offered_qps", "completed_qps", "mean_items"),
            "backlog",
        ):
            assert getattr(window, name) == getattr(expected, name), name
            assert getattr(window.groups[0], name) == getattr(expected, name), name
        for name in ("cpu_utilisation", "accelerator_utilisation", "energy_j"):
            assert getattr(window, name) == pytest.approx(getattr(expected, name), rel=1e-12), name
            assert getattr(window.groups[0], name) == getattr(window, name), name
    engine.drain()
    alone.drain()
    assert bytes_of(engine.records().completion_s) == bytes_of(alone.records().completion_s)


def provision(*counts: int, start_s: float = 1.0) -> Provision:
    names = tuple("abc"[: len(counts)])
    return Provision(Members(names, counts, (1.0,) * len(counts)), [start_s] * len(counts))


IDLE = np.full(8, -math.inf)


def test_the_last_nodes_go_and_those_that_drain_come_back_first() -> None:
    nodes = provision(5)
    busy_until_s = np.array([9.0, 9.0, 9.0, 1.5, 9.0])
    nodes.turn(1.0, [2], busy_until_s)
    assert nodes.on.tolist() == [True, True, False, False, False]
    nodes.turn(2.0, [4], busy_until_s)  # 2 and 4 still drain, 3 is off
    assert nodes.serving(2.0).tolist() == [True, True, True, False, True]
    nodes.turn(3.0, [5], busy_until_s)
    assert nodes.serving(3.5).tolist() == [True, True, True, False, True]
    assert nodes.on[3]
    assert nodes.segments(3.0, 5.0)[0][:2] == (3.0, 4.0)
    assert nodes.segments(3.0, 5.0)[1][2].tolist() == [0, 1, 2, 3, 4]
    nodes.turn(3.5, [4], busy_until_s)  # 3 is only starting: it goes before one that serves
    assert nodes.serving(9.0).tolist() == [True, True, True, False, True]


def test_a_fleet_always_has_a_node_that_serves() -> None:
    nodes = provision(2, 3)
    nodes.turn(1.0, [0, 0], IDLE)
    assert np.flatnonzero(nodes.on).tolist() == [0]
    nodes.turn(2.0, [0, 2], IDLE)  # until one of these is up and the next turn comes
    assert np.flatnonzero(nodes.on).tolist() == [0, 2, 3]
    assert np.flatnonzero(nodes.serving(2.5)).tolist() == [0]
    assert [each[2].tolist() for each in nodes.segments(2.0, 4.0)] == [[0], [0, 2, 3]]
    nodes.turn(4.0, [0, 2], IDLE)
    assert np.flatnonzero(nodes.serving(4.0)).tolist() == [2, 3]


def test_energy_by_hand() -> None:
    """Two nodes of one server, 10 W idle and 30 W busy, each query 0.4 s; one goes, and comes back later."""
    node = {"cpu": {"servers": 1, "latency": {"kind": "constant", "ms": 400}, "idle_w": 10, "busy_w": 30}}
    groups = [{"name": "a", "count": 2, "node": node, "start_s": 0.5}]
    scenario = fleet({"kind": "round-robin"}, groups, sizes={"kind": "fixed", "items": 1}, qps=1, sla_ms=500)
    arrival_s = np.array([0.1, 0.8, 1.2, 3.7])  # to nodes 0, 1, 0 and, which is up again then, 1
    traffic = Traffic(arrival_s, np.ones(4, dtype=np.int64), 1)
    on = FleetSetting.of(scenario)
    both, one = on, FleetSetting(on.names, on.settings, (1,))
    engine = make_stepped(scenario, traffic)
    windows = stepped(engine, [both, one, one, both, both], 1.0)
    assert engine.node.tolist() == [0, 1, 0, 1]
    busy_s = [0.4 + 0.2, 0.4 + 0.2, 0.0, 0.3, 0.1]
    powered_s = [2.0, 1.2, 1.0, 2.0, 2.0]  # in the second window node 1 drains for 0.2 s
    for window, busy, powered in zip(windows, busy_s, powered_s, strict=True):
        assert window.energy_j == pytest.approx(10 * powered + 20 * busy)
    up_s = [2.0, 1.2, 1.0, 1.5, 2.0]  # in the fourth node 1 starts for half a second
    assert [window.cpu_utilisation for window in windows] == pytest.approx(
        [busy / up for busy, up in zip(busy_s, up_s, strict=True)]
    )
    states = [(group.serving, group.starting, group.draining) for (group,) in (window.groups for window in windows)]
    assert states == [(2, 0, 0), (1, 0, 0), (1, 0, 0), (2, 0, 0), (2, 0, 0)]


def test_a_node_that_drains_finishes_what_it_has() -> None:
    node = {"cpu": {"servers": 1, "latency": {"kind": "constant", "ms": 700}, "idle_w": 10, "busy_w": 30}}
    scenario = fleet(
        {"kind": "round-robin"}, [{"name": "a", "count": 2, "node": node}], sizes={"kind": "fixed", "items": 1}, qps=1
    )
    traffic = Traffic(np.array([0.0, 0.1, 0.2, 0.3]), np.ones(4, dtype=np.int64), 1)
    on = FleetSetting.of(scenario)
    engine = make_stepped(scenario, traffic)
    windows = stepped(engine, [on, FleetSetting(on.names, on.settings, (1,))], 1.0)
    assert windows[1].groups[0].draining == 0  # from 1 s on, until 1.5 s
    assert windows[1].energy_j == pytest.approx(10 * (1.0 + 0.5) + 20 * (0.4 + 0.5))
    assert engine.records().completion_s.tolist() == pytest.approx([0.7, 0.8, 1.4, 1.5])


@pytest.mark.parametrize(
    "group",
    [
        {"preset": "recpipe-cpu"},
        {"preset": "wnd", "control": {"offload": "predicted"}},
        {"preset": "wnd-cpu", "control": {"admit_ms": 9}},
    ],
)
def test_nodes_whose_fate_is_not_decided_on_entry_are_refused(group: dict[str, Any]) -> None:
    scenario = fleet({"kind": "random"}, [{"name": "own", "count": 2, **group}])
    with pytest.raises(InputError, match=r"fleet.groups: got 'own'"):
        make_stepped(scenario, Traffic.nothing())


def test_what_only_the_reference_can_ask_is_refused_by_the_compiled_engine() -> None:
    scenario = fleet({"kind": "tests.fleet.test_routers:Sticky"}, SMALL)
    with pytest.raises(InputError, match="use engine asyncio"):
        make_stepped(scenario, Traffic.nothing())
    traffic = until(drawn(scenario, 300), WINDOWS * WINDOW_S)
    engine = make_stepped(scenario, traffic, "asyncio")
    stepped(engine, settings(scenario, 4))
    engine.drain()
    assert engine.completed == len(traffic.items)
