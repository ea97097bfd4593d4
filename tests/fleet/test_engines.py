"""The compiled engine of a fleet against the reference, event by event: the same bytes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.fleet.compiled_engine import CompiledFleet
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.scenario.parts import Floats
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


ARRIVALS = {
    "all at once": np.full(200, 1.0),
    "two bursts": np.repeat([0.0, 5.0], 100),
    "one ages later": np.append(np.arange(199) / 20_000, 1e7),
    "one ages before": np.append(0.0, 1e7 + np.arange(199) / 20_000),
}


@pytest.mark.parametrize("arrival_s", ARRIVALS.values(), ids=ARRIVALS)
@pytest.mark.parametrize("router", [name for name in ROUTERS if name not in BLIND])
def test_arrivals_however_far_apart(router: str, arrival_s: Floats) -> None:
    scenario = fleet(ROUTERS[router], network_ms=0.1, probe_age_ms=0.2)
    traffic = drawn(scenario, 200).at(arrival_s)
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


BATCHING = {
    "cpu": {"servers": 6, "latency": {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01, "cv": 0.5}},
    "accelerator": {
        "servers": 1,
        "latency": {"kind": "affine", "base_ms": 0.5, "per_item_ms": 0.002, "cv": 0.1},
        "batching": {"max_items": 1000, "max_wait_ms": 0.6},
    },
}
OTHERS: dict[str, list[dict[str, Any]]] = {
    "pipelines": [{"name": "a", "count": 2, "preset": "recpipe-cpu"}, GROUPS[1]],
    "predicted": [{"name": "a", "count": 2, "preset": "wnd", "control": {"offload": "predicted"}}, GROUPS[1]],
    "shedding": [{"name": "a", "count": 2, "preset": "wnd-cpu", "control": {"admit_ms": 3}}, GROUPS[1]],
    "ordered": [{"name": "a", "count": 2, "preset": "wnd-cpu", "control": {"order": "least-slack"}}, GROUPS[1]],
    "batching": [
        {"name": "a", "count": 2, "node": BATCHING, "control": {"batch_size": 64, "threshold": 200}},
        {"name": "b", "count": 3, "preset": "wnd-cpu"},
    ],
}


@pytest.mark.parametrize("groups", OTHERS)
@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("delays", [{}, {"network_ms": 0.1, "probe_age_ms": 0.3}], ids=["at once", "delayed"])
def test_nodes_of_any_kind(groups: str, router: str, delays: dict[str, float]) -> None:
    scenario = fleet(ROUTERS[router], OTHERS[groups], qps=9000, **delays)
    traffic = drawn(scenario, 400)
    compiled = run_fleet(scenario, traffic)
    assert_same(compiled, run_fleet(scenario, traffic, "asyncio"))
    sheds = groups == "shedding" and router != "by-size"  # which sends small queries there
    assert np.isnan(compiled.whole.completion_s).any() == sheds


ONE_BY_ONE = {"small-first": {"order": "small-first"}, "shedding": {"admit_ms": 6}}


@pytest.mark.parametrize("control", ONE_BY_ONE)
@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("network_ms", [0, 1])
def test_equal_times_event_by_event(router: str, network_ms: float, control: str) -> None:
    """As above, on nodes whose queues look at more than the order of entry."""
    own = {"batch_size": 100, **ONE_BY_ONE[control]}
    groups = [{"name": name, "count": 2, "node": CONSTANT, "control": own} for name in ("a", "b")]
    arrivals = {"kind": "poisson-ms", "qps": 1200}
    scenario = fleet(ROUTERS[router], groups, arrivals=arrivals, network_ms=network_ms, probe_age_ms=network_ms)
    traffic = drawn(scenario, 500)
    traffic = traffic.at(np.rint(traffic.arrival_s * 1024) / 1024)
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


@pytest.mark.parametrize("router", ROUTERS)
def test_event_by_event_as_by_recursion_where_both_may_serve(router: str) -> None:
    """Queries of one item are served in the order of entry by small-first too, which goes event by event."""
    kind = ROUTERS[router] | ({"bounds": []} if router == "by-size" else {})
    node = {"cpu": {"servers": 3, "latency": {"kind": "exponential", "mean_ms": 1000}}}

    def records(control: dict[str, Any]) -> FleetRecords:
        groups = [{"name": "a", "count": 100, "node": node, "control": control}]
        sizes = {"kind": "fixed", "items": 1}
        scenario = fleet(kind, groups, qps=0.9 * 300, sizes=sizes, sla_ms=1e6, network_ms=50, probe_age_ms=100)
        return run_fleet(scenario, drawn(scenario, 20_000))

    swift, events = records({}), records({"order": "small-first"})
    assert events.node.tolist() == swift.node.tolist()
    assert events.whole.completion_s.tobytes() == swift.whole.completion_s.tobytes()


def test_nodes_that_hold_more_than_there_was_room_for() -> None:
    """Twice as many queries as they can serve: backlogs of hundreds."""
    node = {"cpu": {"servers": 1, "latency": {"kind": "constant", "ms": 1}}}
    groups = [{"name": "a", "count": 2, "node": node, "control": {"batch_size": 1000, "order": "small-first"}}]
    scenario = fleet(ROUTERS["least-requests"], groups, qps=4000)
    traffic = drawn(scenario, 1500)
    records = run_fleet(scenario, traffic)
    assert records.whole.latency_s.max() > 0.3
    assert_same(records, run_fleet(scenario, traffic, "asyncio"))


SLOWNESS = {"factor": 3, "mean_slow_s": 0.01, "mean_normal_s": 0.03}
SLOW = {"servers": 4, "latency": {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01, "cv": 0.5}, "slowness": SLOWNESS}
SLOWED: dict[str, list[dict[str, Any]]] = {
    "on entry": [{"name": "a", "count": 2, "node": {"cpu": SLOW}}, {"name": "b", "count": 3, "node": {"cpu": SLOW}}],
    "event by event": [
        {"name": "a", "count": 2, "node": {"cpu": SLOW}, "control": {"order": "small-first"}},
        {"name": "b", "count": 3, "node": {"cpu": SLOW}},
    ],
}


@pytest.mark.parametrize("groups", SLOWED)
@pytest.mark.parametrize("router", ROUTERS)
def test_nodes_with_slow_phases(groups: str, router: str) -> None:
    scenario = fleet(ROUTERS[router], SLOWED[groups], qps=1500, network_ms=0.1)
    traffic = drawn(scenario, 400)
    assert_same(run_fleet(scenario, traffic), run_fleet(scenario, traffic, "asyncio"))


def test_every_node_has_slow_phases_of_its_own_whatever_other_nodes_there_are() -> None:
    """Nodes where nothing waits: how long queries take tells which of them were slow, and when."""
    own = {"servers": 400, "latency": {"kind": "constant", "ms": 1}, "slowness": SLOWNESS}

    def slow_starts(counts: tuple[int, int]) -> dict[tuple[str, int], set[float]]:
        groups = [{"name": name, "count": n, "node": {"cpu": own}} for name, n in zip("ab", counts, strict=True)]
        scenario = fleet(ROUTERS["round-robin"], groups, qps=2000, sizes={"kind": "fixed", "items": 1})
        records = run_fleet(scenario, drawn(scenario, 3000))
        found: dict[tuple[str, int], set[float]] = {}
        for number, (name, group) in enumerate(zip("ab", records.groups, strict=True)):
            _, bounds = records.within(number)
            slow = group.latency_s > 2e-3
            for node, (begin, end) in enumerate(pairwise(bounds.tolist())):
                found[name, node] = {round(at, 2) for at in group.arrival_s[begin:end][slow[begin:end]].tolist()}
        return found

    few, more = slow_starts((2, 2)), slow_starts((3, 2))
    for node, slow in few.items():
        for other, theirs in few.items():
            assert (len(slow & theirs) > 0.9 * len(slow)) == (node == other)
        assert len(slow & more[node]) > 0.7 * len(slow)  # seen at other arrivals
    assert few.keys() < more.keys()


def test_what_has_to_be_asked_in_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_router.py").write_text(
        "from deeprec_env.scenario.router import Router\n\n\n"
        "class Sticky(Router):\n"
        "    def start(self, members):\n"
        "        return lambda query, known: query.items % members.size\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    scenario = fleet({"kind": "own_router:Sticky"})
    traffic = drawn(scenario, 300)
    with pytest.raises(InputError, match=r"fleet.router: got 'own_router:Sticky'; .* use engine asyncio"):
        run_fleet(scenario, traffic)
    chosen = run_fleet(scenario, traffic, "asyncio").node
    assert chosen.tolist() == (traffic.items % 7).tolist()


@pytest.mark.parametrize("router", ROUTERS)
def test_blocks_give_the_bytes_of_the_whole(router: str) -> None:
    scenario = fleet(ROUTERS[router], network_ms=0.2, probe_age_ms=0.4)
    traffic = drawn(scenario, 900)
    whole, blocks = run_fleet(scenario, traffic), CompiledFleet(scenario, in_blocks=True)
    parts = [blocks.run(traffic.part(begin, end)) for begin, end in ((0, 100), (100, 100), (100, 101), (101, 900))]
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
