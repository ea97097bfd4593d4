"""Fleets that tests run, and whether two runs are the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env import Scenario, load_scenario
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

ROUTERS: dict[str, dict[str, Any]] = {
    "random": {"kind": "random"},
    "round-robin": {"kind": "round-robin"},
    "weighted": {"kind": "weighted"},
    "by-size": {"kind": "by-size", "bounds": [150]},
    "least-requests": {"kind": "least-requests"},
    "least-work": {"kind": "least-work"},
    "power-of-d": {"kind": "power-of-d"},
    "probing": {"kind": "probing", "probes": 3, "every_ms": 1.5},
}
BLIND = ("random", "round-robin", "weighted", "by-size")

GROUPS: list[dict[str, Any]] = [
    {"name": "gpu", "count": 3, "preset": "wnd", "control": {"batch_size": 384, "threshold": 640}, "weight": 2},
    {"name": "cpu", "count": 4, "preset": "kairos-wnd-skylake", "control": {"batch_size": 100}},
]

MM1 = {"cpu": {"servers": 1, "latency": {"kind": "exponential", "mean_ms": 1000}}}
"""A node that serves one query a second."""


def fleet(router: dict[str, Any], groups: list[dict[str, Any]] | None = None, **more: Any) -> Scenario:
    """A fleet under production sizes at 20,000 queries a second, unless told otherwise."""
    arrivals = more.pop("arrivals", {"kind": "poisson", "qps": more.pop("qps", 20_000)})
    sizes = more.pop("sizes", {"kind": "production"})
    return load_scenario(
        {
            "sla_ms": more.pop("sla_ms", 25),
            "workload": {"arrivals": arrivals, "sizes": sizes},
            "fleet": {"router": router, "groups": GROUPS if groups is None else groups, **more},
        }
    )


def one_item_nodes(router: dict[str, Any], nodes: int, load: float, **more: Any) -> Scenario:
    """Nodes of one server with exponential service of mean 1 s, at a load."""
    groups = [{"name": "mm1", "count": nodes, "node": MM1}]
    return fleet(router, groups, qps=load * nodes, sizes={"kind": "fixed", "items": 1}, sla_ms=1e6, **more)


def drawn(scenario: Scenario, count: int, seed: int = 0) -> Traffic:
    """The scenario's traffic."""
    return QueryStream(scenario.workload, episode_seed(seed)).draw(count)


def assert_same(left: FleetRecords, right: FleetRecords) -> None:
    """Every float of two runs is the same."""
    assert left.node.tolist() == right.node.tolist()
    for ours, theirs in zip(left.groups, right.groups, strict=True):
        assert ours.controls == theirs.controls
        for name in ("query", "arrival_s", "items", "setting", "completion_s"):
            assert bytes_of(getattr(ours, name)) == bytes_of(getattr(theirs, name)), name
        for one, other in zip(ours.stages, theirs.stages, strict=True):
            assert (one.carries is None) == (other.carries is None)
            for name in ("offloaded", "first", "start_s", "end_s", "carries"):
                assert bytes_of(getattr(one, name)) == bytes_of(getattr(other, name)), name


def bytes_of(array: Any) -> bytes:
    """Those of its values in order."""
    return np.ascontiguousarray(array).tobytes()
