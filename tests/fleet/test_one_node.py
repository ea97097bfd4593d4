"""A fleet of one node, behind any router and no network, is that node, to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deeprec_env import load_scenario, simulate, simulate_fleet
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.simulation.simulate import run
from tests.fleet.fleets import ROUTERS, bytes_of, drawn, fleet

SLOW = {
    "servers": 8,
    "latency": {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01, "cv": 0.5},
    "slowness": {"factor": 3, "mean_slow_s": 0.02, "mean_normal_s": 0.05},
}
NODES: dict[str, dict[str, Any]] = {
    "decided on entry": {"preset": "wnd", "control": {"batch_size": 128, "threshold": 512}},
    "pipeline": {"preset": "recpipe-cpu", "control": {}},
    "ordered and shedding": {"preset": "wnd", "control": {"order": "small-first", "admit_ms": 12, "threshold": 700}},
    "slow phases": {"node": {"cpu": SLOW}},
    "ordered in slow phases": {"node": {"cpu": SLOW}, "control": {"order": "small-first"}},
}


def one_node(router: str, node: str, **more: Any) -> Any:
    kind = ROUTERS[router] | ({"bounds": []} if router == "by-size" else {})
    return fleet(kind, [{"name": "only", "count": 1, **NODES[node]}], qps=more.pop("qps", 1500), **more)


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("router", ROUTERS)
def test_records(router: str, node: str, engine: str) -> None:
    scenario = one_node(router, node, qps=900 if "slow" in node else 1500)
    traffic, (alone,) = drawn(scenario, 300), scenario.group_scenarios
    (records,), expected = run_fleet(scenario, traffic, engine).groups, run(alone, traffic, engine=engine)
    for name in ("query", "arrival_s", "items", "setting", "completion_s"):
        assert bytes_of(getattr(records, name)) == bytes_of(getattr(expected, name)), name
    for ours, theirs in zip(records.stages, expected.stages, strict=True):
        for name in ("offloaded", "first", "start_s", "end_s"):
            assert bytes_of(getattr(ours, name)) == bytes_of(getattr(theirs, name)), name


@pytest.mark.parametrize("router", ROUTERS)
def test_summary_and_file(router: str, tmp_path: Path) -> None:
    scenario = one_node(router, "decided on entry")
    ours = simulate_fleet(scenario, queries=3000, records=tmp_path / "fleet.csv").to_json()
    theirs = simulate(scenario.group_scenarios[0], queries=3000, records=tmp_path / "node.csv").to_json()
    asked = {"question", "devices", "batch_size", "threshold"}  # of a fleet by group
    assert {key: ours[key] for key in theirs.keys() - asked} == {key: theirs[key] for key in theirs.keys() - asked}
    lines = [line.rsplit(",", 2) for line in (tmp_path / "fleet.csv").read_text().splitlines()]
    assert [line[0] for line in lines] == (tmp_path / "node.csv").read_text().splitlines()
    assert [line[1:] for line in lines[:2]] == [["group", "node"], ["only", "0"]]


def test_the_network_delays_every_answer_by_both_ways() -> None:
    near, far = (one_node("random", "decided on entry", network_ms=way) for way in (0, 2))
    at_once, later = (simulate_fleet(load_scenario(each), queries=2000) for each in (near, far))
    assert later.tail.p95_s == pytest.approx(at_once.tail.p95_s + 4e-3, rel=1e-9)
