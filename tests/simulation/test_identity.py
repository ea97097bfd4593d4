"""A query meets the same luck wherever it lands: its noise is keyed by its number, not by its place in an engine."""

from __future__ import annotations

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed


def wide_node() -> Scenario:
    """So many servers that no request ever waits: latencies are the largest of a query's service times."""
    return load_scenario(
        {
            "sla_ms": 100,
            "workload": {"arrivals": {"kind": "poisson", "qps": 100.0}, "sizes": {"kind": "production"}},
            "node": {
                "cpu": {"servers": 4000, "latency": {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01, "cv": 0.5}}
            },
            "control": {"batch_size": 64},
        }
    )


def drawn(count: int) -> Traffic:
    return QueryStream(wide_node().workload, episode_seed(3)).draw(count)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_other_query_alone_takes_what_it_takes_among_all(engine: str) -> None:
    traffic = drawn(200)
    odd = np.arange(200) % 2 == 1
    among_all, alone = run(wide_node(), traffic, engine=engine), run(wide_node(), traffic.chosen(odd), engine=engine)
    assert alone.query.tolist() == list(range(1, 200, 2))
    # Service times of the same requests, from completions less arrivals: equal but for the rounding of their sums.
    assert alone.latency_s == pytest.approx(among_all.latency_s[odd], rel=1e-9)
    unnamed = run(wide_node(), Traffic(traffic.arrival_s[odd], traffic.items[odd], traffic.noise_key), engine=engine)
    assert unnamed.latency_s != pytest.approx(among_all.latency_s[odd], rel=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_traffic_told_later_keeps_its_numbers(engine: str) -> None:
    traffic = drawn(60)
    whole = run(wide_node(), traffic, engine=engine)
    node = make_engine(wide_node(), traffic.part(0, 20), engine)
    node.advance(float(traffic.arrival_s[20]))
    node.expect(traffic.part(20, 60))
    node.drain()
    assert node.records().query.tolist() == list(range(60))
    assert node.records().completion_s.tobytes() == whole.completion_s.tobytes()
    node.close()


def test_blocks_of_a_stream_are_numbered_on() -> None:
    stream = QueryStream(wide_node().workload, episode_seed(3))
    assert [stream.draw(count).query.tolist() for count in (2, 0, 3)] == [[0, 1], [], [2, 3, 4]]
    assert Traffic.joined([drawn(5).part(0, 2), drawn(5).part(2, 5)]).sha256() == drawn(5).sha256()
