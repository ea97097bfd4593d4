"""Explanations of fleets: the network and what a query met on its node sum to its latency."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deeprec_env import load_scenario, simulate, simulate_fleet
from deeprec_env.timeline.explain import explain
from deeprec_env.timeline.explain_fleet import explain_fleet
from tests.fleet.fleets import ROUTERS, fleet
from tests.test_cli import call


@pytest.mark.parametrize("router", ["random", "least-requests", "probing"])
@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
def test_parts_sum_to_the_latency_with_the_network(router: str, engine: str) -> None:
    result = simulate_fleet(
        fleet(ROUTERS[router], network_ms=0.3, probe_age_ms=0.5), queries=1200, engine=engine, qps=21_000.0
    )
    assert result.records is not None
    found = explain_fleet(result, slowest=50)
    whole = result.records.whole
    slowest = np.sort(whole.latency_s[result.warmup :])[::-1][:50]
    assert [query.on_node.latency_s for query in found.queries] == slowest.tolist()
    for query in found.queries:
        parts = [part for stage in query.on_node.stages for part in stage.parts_s.tolist()]
        assert math.fsum([*parts, query.network_s]) == query.on_node.latency_s
        assert query.network_s == pytest.approx(0.6e-3)
        assert min(parts) >= -1e-12
        assert result.records.node[query.on_node.query] == query.node
        assert query.group == ("gpu" if query.node < 3 else "cpu")
        assert query.on_node.alone_s is not None
        assert query.on_node.alone_s <= query.on_node.latency_s + 1e-9
    assert f"router {router} " not in " ".join(tried.change for tried in found.tried)
    tried = {each.change: each for each in found.tried}
    change = "router round-robin (not " + router + ")"
    other = simulate_fleet(
        fleet({"kind": "round-robin"}, network_ms=0.3, probe_age_ms=0.5), queries=1200, engine=engine, qps=21_000.0
    )
    assert other.records is not None
    queries = [query.on_node.query for query in found.queries]
    assert tried[change].latency_s.tolist() == other.records.whole.latency_s[queries].tolist()


def test_a_fleet_of_one_node_without_network_is_that_node() -> None:
    node = load_scenario("wnd").replace(capacity=None)
    group = {"name": "one", "count": 1, "preset": "wnd"}
    of_fleet = explain_fleet(
        simulate_fleet(fleet({"kind": "round-robin"}, [group], qps=1900), queries=3000, batch_size=64), slowest=9
    )
    of_node = explain(simulate(node, queries=3000, qps=1900, batch_size=64), slowest=9)
    for one, other in zip(of_fleet.queries, of_node.queries, strict=True):
        assert one.on_node.query == other.query
        assert one.on_node.alone_s == pytest.approx(other.alone_s)
        assert one.on_node.cause == f"on node 0 (one) {other.cause}"
        for mine, theirs in zip(one.on_node.stages, other.stages, strict=True):
            assert mine.parts_s.tolist() == theirs.parts_s.tolist()
            assert mine.behind == theirs.behind


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described: dict[str, Any] = {
        "sla_ms": 25,
        "workload": {"arrivals": {"kind": "poisson", "qps": 5000}, "sizes": {"kind": "production"}},
        "fleet": {
            "router": {"kind": "random"},
            "network_ms": 0.2,
            "groups": [{"name": "only", "count": 2, "preset": "wnd-cpu", "control": {"batch_size": 384}}],
        },
    }
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump(described), encoding="utf-8")
    status, out, err = call(capsys, "explain", config, "--queries", 1500, "--slowest", 2)
    assert (status, err) == (0, "")
    assert "(only)" in out
    assert "network" in out
    status, out, err = call(capsys, "explain", config, "--queries", 1500, "--slowest", 2, "--json")
    answer = json.loads(out)
    for query in answer["slowest"]:
        assert math.fsum(query["parts_s"].values()) == query["latency_s"]
        assert query["group"] == "only"
    result = tmp_path / "result.json"
    result.write_text(out, encoding="utf-8")
    assert call(capsys, "rerun", result)[0] == 0
