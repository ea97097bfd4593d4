"""What routers choose, and routers of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import Choose, Members, Router
from tests.fleet.fleets import ROUTERS, assert_same, drawn, fleet, one_item_nodes


class Sticky(Router):
    """Every query to a node that depends on nothing but its items."""

    def start(self, members: Members) -> Choose:
        return lambda query, known: query.items % members.size


class StickyAtOnce(Sticky):
    """The same, for many queries at once."""

    blind: ClassVar[bool] = True

    def assign(self, query: Ints, items: Ints, before: Ints, draw: Callable[[int], Floats], members: Members) -> Ints:
        return np.asarray(items % members.size)


class Astray(Router):
    """Names a node that there is not."""

    def start(self, members: Members) -> Choose:
        return lambda query, known: members.size


def of_ones_own(router: type[Router]) -> dict[str, str]:
    return {"kind": f"{router.__module__}:{router.__name__}"}


def test_a_router_of_ones_own() -> None:
    scenario = fleet(of_ones_own(Sticky))
    traffic = drawn(scenario, 300)
    records = run_fleet(scenario, traffic, "asyncio")
    assert records.node.tolist() == (traffic.items % 7).tolist()
    with pytest.raises(InputError, match=r"fleet.router: got .*Sticky'; follows state in Python: use engine asyncio"):
        run_fleet(scenario, traffic)
    assert_same(run_fleet(fleet(of_ones_own(StickyAtOnce)), traffic), records)
    with pytest.raises(InputError, match=r"got 7; must choose a node from 0 to 6"):
        run_fleet(fleet(of_ones_own(Astray)), traffic, "asyncio")


def test_in_turn() -> None:
    scenario = fleet(ROUTERS["round-robin"])
    assert run_fleet(scenario, drawn(scenario, 300)).node.tolist() == [query % 7 for query in range(300)]


def test_by_size_in_turn_within_each_group() -> None:
    scenario = fleet(ROUTERS["by-size"])
    traffic = drawn(scenario, 300)
    node = run_fleet(scenario, traffic).node
    small = traffic.items < 150
    assert node[small].tolist() == [query % 3 for query in range(small.sum())]
    assert node[~small].tolist() == [3 + query % 4 for query in range((~small).sum())]


def test_by_weight() -> None:
    scenario = fleet(ROUTERS["weighted"])
    share = np.bincount(run_fleet(scenario, drawn(scenario, 50_000)).node, minlength=7) / 50_000
    assert share == pytest.approx([0.2] * 3 + [0.1] * 4, abs=0.006)


def test_slow_nodes_get_fewer_queries_from_routers_that_look() -> None:
    """Where half of the nodes are twice as fast, they get more than half from routers that look."""
    share = {}
    for kind in ("random", "power-of-d", "least-requests", "least-work"):
        slow, fast = ({"cpu": {"servers": 1, "latency": {"kind": "exponential", "mean_ms": ms}}} for ms in (1000, 500))
        groups = [{"name": "slow", "count": 5, "node": slow}, {"name": "fast", "count": 5, "node": fast}]
        scenario = fleet({"kind": kind}, groups, qps=9, sizes={"kind": "fixed", "items": 1})
        share[kind] = float((run_fleet(scenario, drawn(scenario, 20_000)).node >= 5).mean())
    assert share["random"] == pytest.approx(0.5, abs=0.02)
    assert 0.55 < share["power-of-d"] < share["least-requests"] < share["least-work"]


def test_what_a_router_knows_late_is_worth_less() -> None:
    p95_s = []
    for age_ms in (0, 1000, 4000):
        scenario = one_item_nodes({"kind": "power-of-d"}, 50, 0.8, probe_age_ms=age_ms)
        p95_s.append(float(np.percentile(run_fleet(scenario, drawn(scenario, 100_000)).whole.latency_s, 95)))
    assert p95_s == sorted(p95_s)
    assert p95_s[2] > 1.1 * p95_s[0]
