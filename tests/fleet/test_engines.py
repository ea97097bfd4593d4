"""The compiled engine of a fleet against the reference, event by event: the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.fleet.compiled_engine import CompiledFleet
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.workload.stream import Traffic
from tests.fleet.fleets import BLIND, GROUPS, ROUTERS, assert_same, drawn, fleet


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("delays", [{}, {"network_ms": 0.3, "probe_age_ms": 0.7}], ids=["at once", "delayed"])
def test_both_engines_give_the_same_bytes(router: str, delays: dict[str, float]) -> None:
    scenario = fleet(ROUTERS[router], **delays)
    traffic = drawn(scenario, 600)
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


CONSTANT = {"cpu": {"servers": 2, "latency": {"kind": "constant", "ms": 2}, "contention": {"c": [1, 0.2, 0]}}}


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("network_ms", [0, 1])
def test_equal_times_are_in_the_same_order(router: str, network_ms: float) -> None:
    """Whole milliseconds all over: arrivals, entries and completions of all nodes at the same instants."""
    groups = [{"name": name, "count": 2, "node": CONSTANT, "control": {"batch_size": 100}} for name in ("a", "b")]
    arrivals = {"kind": "poisson-ms", "qps": 900}
    scenario = fleet(ROUTERS[router], groups, arrivals=arrivals, network_ms=network_ms, probe_age_ms=2)
    traffic = drawn(scenario, 500)
    traffic = traffic.at(np.rint(traffic.arrival_s * 1024) / 1024)  # sums of these are exact
    assert len(np.unique(traffic.arrival_s)) < 400
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


OTHERS: dict[str, list[dict[str, Any]]] = {
    "pipelines": [{"name": "a", "count": 2, "preset": "recpipe-cpu"}, GROUPS[1]],
    "predicted": [{"name": "a", "count": 2, "preset": "wnd", "control": {"offload": "predicted"}}, GROUPS[1]],
    "shedding": [{"name": "a", "count": 2, "preset": "wnd-cpu", "control": {"admit_ms": 9}}, GROUPS[1]],
}


@pytest.mark.parametrize("groups", OTHERS)
@pytest.mark.parametrize("router", BLIND)
def test_nodes_of_any_kind_behind_routers_that_are_blind(groups: str, router: str) -> None:
    scenario = fleet(ROUTERS[router], OTHERS[groups], qps=9000, network_ms=0.1)
    traffic = drawn(scenario, 400)
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


@pytest.mark.parametrize("groups", OTHERS)
def test_nodes_that_only_the_reference_serves_behind_routers_that_are_not(groups: str) -> None:
    scenario = fleet(ROUTERS["least-requests"], OTHERS[groups], qps=5000)
    traffic = drawn(scenario, 300)
    with pytest.raises(InputError, match=r"fleet.groups: got 'a'; .* use engine asyncio"):
        run_fleet(scenario, traffic)
    assert not np.isinf(run_fleet(scenario, traffic, "asyncio").whole.completion_s).any()


@pytest.mark.parametrize("router", ROUTERS)
def test_blocks_give_the_bytes_of_the_whole(router: str) -> None:
    scenario = fleet(ROUTERS[router], network_ms=0.2, probe_age_ms=0.4)
    traffic = drawn(scenario, 900)
    whole, blocks = run_fleet(scenario, traffic), CompiledFleet(scenario, in_blocks=True)
    parts = [blocks.run(traffic.part(begin, end)) for begin, end in ((0, 100), (100, 101), (101, 900))]
    assert np.concatenate([part.node for part in parts]).tolist() == whole.node.tolist()
    completion_s = np.concatenate([part.whole.completion_s for part in parts])
    assert completion_s.tobytes() == whole.whole.completion_s.tobytes()


@pytest.mark.parametrize("router", ROUTERS)
def test_routers_and_settings_see_the_same_traffic_and_luck(router: str) -> None:
    """On nodes where nothing waits, a query takes as long whatever router named its node: its U's are its own."""
    node = {"cpu": {"servers": 3000, "latency": {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01, "cv": 0.5}}}
    groups = [{"name": name, "count": 3, "node": node, "control": {"batch_size": 64}} for name in ("a", "b")]
    scenario = fleet(ROUTERS[router], groups, qps=100)
    traffic = drawn(scenario, 300)
    alone = fleet(ROUTERS["random"], [groups[0] | {"count": 1}], qps=100)
    records, reference = run_fleet(scenario, traffic).whole, run_fleet(alone, traffic).whole
    assert records.query.tolist() == reference.query.tolist()
    assert records.items.tobytes() == reference.items.tobytes()
    assert records.completion_s.tobytes() == reference.completion_s.tobytes()


def test_draws_are_keyed_by_the_query_and_not_by_its_place() -> None:
    scenario = fleet(ROUTERS["random"])
    traffic = drawn(scenario, 400)
    odd = np.arange(400) % 2 == 1
    assert run_fleet(scenario, traffic.chosen(odd)).node.tolist() == run_fleet(scenario, traffic).node[odd].tolist()
    renumbered = Traffic(traffic.arrival_s[odd], traffic.items[odd], traffic.noise_key)
    assert run_fleet(scenario, renumbered).node.tolist() != run_fleet(scenario, traffic).node[odd].tolist()
