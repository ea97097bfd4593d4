"""One scenario by hand for each of rules 13 to 17, for both engines and for the event loop that states them.

The servers take 1 s and 1 s for each item, so that times are whole seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.workload import Traffic
from tests.simulation.node_oracle import NodeOracle, poured
from tests.simulation.window_oracle import run_window

everyone = pytest.mark.parametrize("name", [*ENGINES, "event loop"])

SECONDS = {"kind": "affine", "base_ms": 1000, "per_item_ms": 1000}
QUICK = {"kind": "constant", "ms": 2000}


def node(control: dict[str, Any], cpus: int = 1, sla_ms: float = 20_000, **accelerator: Any) -> Scenario:
    """Some cores, and with `accelerator` one that takes 2 s for any request."""
    pools: dict[str, Any] = {"cpu": {"servers": cpus, "latency": SECONDS}}
    if accelerator:
        pools["accelerator"] = {"servers": 1, "latency": QUICK, **accelerator}
    sizes = {"kind": "normal", "mean": 5, "std": 2, "low": 1, "high": 9}
    workload = {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": sizes}
    return load_scenario({"sla_ms": sla_ms, "workload": workload, "node": pools, "control": control})


def completions_s(name: str, scenario: Scenario, queries: list[tuple[float, int]]) -> list[float]:
    """When each query completes, of arrivals and items; NaN: shed."""
    arrival_s, items = zip(*queries, strict=True)
    traffic = Traffic(np.array(arrival_s, dtype=np.float64), np.array(items, dtype=np.int64), 1)
    if name == "event loop":
        loop = NodeOracle(scenario, traffic)
        loop.drain()
        return [query.completion_s for query in loop.queries]
    engine = make_engine(scenario, traffic, name)
    engine.drain()
    found: list[float] = engine.records().completion_s.tolist()
    engine.close()
    return found


def is_close(found: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@everyone
@pytest.mark.parametrize(("split", "seconds"), [("full", 5.0), ("even", 4.0)])
def test_rule_13_even_parts_differ_by_one_item_at_most(name: str, split: str, seconds: float) -> None:
    """Five items in batches of 4 on two cores: 4 and 1, or 3 and 2."""
    is_close(completions_s(name, node({"batch_size": 4, "split": split}, cpus=2), [(0.0, 5)]), [seconds])


@everyone
@pytest.mark.parametrize(
    ("order", "completion_s"),
    [
        ("fcfs", [5.0, 8.0, 16.0, 18.0]),
        ("small-first", [5.0, 10.0, 18.0, 7.0]),
        # Due at 21, 22 and 23 s, less services of 3, 8 and 2 s: to be begun by 18, 14 and 21 s.
        ("least-slack", [5.0, 16.0, 13.0, 18.0]),
    ],
)
def test_rule_14_orders(name: str, order: str, completion_s: list[float]) -> None:
    """Queries of 2, 7 and 1 items wait for the core, which the first holds till 5 s."""
    queries = [(0.0, 4), (1.0, 2), (2.0, 7), (3.0, 1)]
    is_close(completions_s(name, node({"batch_size": 9, "order": order}), queries), completion_s)


@everyone
def test_rule_14_the_order_of_the_instant_sorts_all_that_wait(name: str) -> None:
    """Small first until 6 s: the query of one item starts at 5 s, then the one that came first."""
    scenario = node({"batch_size": 9, "orders": ["small-first", "fcfs"]})
    traffic = Traffic(np.array([0.0, 1.0, 2.0, 3.0]), np.array([4, 7, 1, 2]), 1)
    small, fcfs = Setting(9, order="small-first"), Setting(9, order="fcfs")
    if name == "event loop":
        loop = NodeOracle(scenario, traffic)
        windows = [run_window(loop, small, 0.0, 6.0), run_window(loop, fcfs, 6.0, 40.0)]
        completion_s = [query.completion_s for query in loop.queries]
    else:
        engine = make_engine(scenario, traffic, name)
        windows = [engine.run_window(small, 0.0, 6.0), engine.run_window(fcfs, 6.0, 40.0)]
        completion_s = engine.records().completion_s.tolist()
        engine.close()
    is_close(completion_s, [5.0, 15.0, 7.0, 18.0])
    assert [window.waiting_cpu for window in windows] == [2.0, 0.0]
    # A query of 5 items (the median) at 6 s: 1 s till the core is free, the 2 items' 3 s before it, its own 6 s.
    assert [window.predicted_s for window in windows] == pytest.approx([10.0, 6.0])


@everyone
def test_rule_15_a_query_goes_where_it_would_complete_first(name: str) -> None:
    """One item takes 2 s on either: the CPU. Then 8 s there or 2 s here, then 2 + 2 s here or 1 + 3 s there, a tie."""
    scenario = node({"batch_size": 9, "offload": "predicted"}, busy_w=0)
    is_close(completions_s(name, scenario, [(0.0, 1), (1.0, 7), (1.0, 2), (1.0, 1)]), [2.0, 3.0, 5.0, 5.0])


def test_water_is_poured_on_the_servers_that_come_free_first() -> None:
    assert poured([0.0, 1.0, 5.0], 3 * 10**9) == [2.0, 2.0, 5.0]
    assert poured([0.0, 1.0, 5.0], 10**9) == [1.0, 1.0, 5.0]
    assert poured([0.0, 1.0, 5.0], 0) == [0.0, 1.0, 5.0]
    assert poured([3.0], 2 * 10**9) == [5.0]


@everyone
def test_rule_16_a_query_that_would_be_late_is_shed(name: str) -> None:
    """It may take 6 s. At 1 s 4 + 8 and 4 + 3 s are too long; at 2 s 3 + 3 s are not, 6 + 2 s after that are."""
    scenario = node({"batch_size": 9, "admit_ms": 6000})
    found = completions_s(name, scenario, [(0.0, 4), (1.0, 7), (1.0, 2), (2.0, 2), (2.0, 1)])
    is_close(found, [5.0, np.nan, np.nan, 8.0, np.nan])


@everyone
@pytest.mark.parametrize(
    ("wait_ms", "completion_s"),
    [
        # The first alone at once; at 2 s those of 4 and 5 items together, 9; then 1 and 6; then the 3 that came at 5 s.
        (0, [2.0, 4.0, 4.0, 6.0, 6.0, 8.0]),
        # At 1 s 1 and 4 start, as 5 more don't fit; at 3 s 5 and 1, as 6 don't fit; at 5 s 6 and the 3 that come then.
        (3000, [3.0, 3.0, 5.0, 5.0, 7.0, 7.0]),
    ],
)
def test_rule_17_batches(name: str, wait_ms: float, completion_s: list[float]) -> None:
    """Batches of up to 9 items, 2 s each."""
    scenario = node({"batch_size": 9, "threshold": 1}, batching={"max_items": 9, "max_wait_ms": wait_ms})
    queries = [(0.0, 1), (1.0, 4), (1.0, 5), (1.25, 1), (1.5, 6), (5.0, 3)]
    is_close(completions_s(name, scenario, queries), completion_s)


@everyone
def test_rule_17_a_timer_is_a_start_who_arrives_at_its_instant_joins(name: str) -> None:
    scenario = node({"batch_size": 9, "threshold": 1}, batching={"max_items": 9, "max_wait_ms": 3000})
    is_close(completions_s(name, scenario, [(1.0, 2), (4.0, 3), (4.5, 1)]), [6.0, 6.0, 9.5])
