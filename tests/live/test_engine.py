"""The live engine keeps the protocol of the others; what is said here is of counts and order, not of times."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

from deeprec_env.errors import InputError
from deeprec_env.live.engine import LiveEngine
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.engines import ANY_CLOCK, engine_kind
from deeprec_env.simulation.simulate import simulate
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.live.scenarios import EMPTY, small


def test_windows_records_and_settings_are_as_of_any_engine() -> None:
    scenario = small()
    traffic = QueryStream(scenario.workload, episode_seed(0)).draw_until(2.0)
    engine = LiveEngine(scenario, traffic, options=EMPTY)
    try:
        assert (engine.now_s, engine.arrived) == (0.0, 0)
        windows = []
        for index in range(4):
            setting = scenario.setting.replace(batch_size=(50, 100)[index % 2])
            windows.append(engine.run_window(setting, 0.5 * index, 0.5 * (index + 1)))
            assert engine.now_s == 0.5 * (index + 1)
        engine.drain()
        records, entry_s = engine.records(), engine.entry_s
    finally:
        engine.close()
        engine.close()
    assert len(records) == len(traffic.items) == len(entry_s) == engine.completed
    assert np.array_equal(records.arrival_s, traffic.arrival_s)
    assert (entry_s >= records.arrival_s).all()
    assert (records.completion_s > entry_s).all()
    requests = np.diff(records.stages[0].first)
    assert np.array_equal(requests, np.where(records.batch_size == 50, 2, 1))
    assert {50, 100} == set(records.batch_size.tolist())
    start_s, end_s = records.stages[0].start_s, records.stages[0].end_s
    assert (start_s[1:] >= end_s[:-1]).all()  # one server, in order
    offered = sum(window.offered_qps * 0.5 for window in windows)
    assert offered == pytest.approx(len(records))
    assert sum(window.completed_qps * 0.5 for window in windows) <= len(records)


def test_coroutines_run_beside_the_node_and_a_killed_worker_costs_no_query() -> None:
    scenario = small(workers=2)
    traffic = QueryStream(scenario.workload, episode_seed(1)).draw_until(1.0)
    seen: list[int] = []

    async def kill(node: AsyncioEngine) -> None:
        assert isinstance(node, LiveEngine)
        await anyio.sleep(0.5)
        seen.append(node.arrived)
        node.crew.pools[0].kill(0)

    engine = LiveEngine(scenario, traffic, [kill], options=EMPTY)
    try:
        engine.drain()
        records = engine.records()
        assert engine.crew.deaths == 1
    finally:
        engine.close()
    assert 0 < seen[0] < len(traffic.items)
    assert np.isfinite(records.completion_s).all()
    assert len(engine.finished) == len(set(engine.finished)) == len(traffic.items)


def test_bad_input_is_refused_before_anything_starts() -> None:
    traffic = QueryStream(small().workload, episode_seed(0)).draw(10)
    with pytest.raises(InputError, match="names no model"):
        LiveEngine(small(), traffic)
    with pytest.raises(InputError, match=r"servers: got 100000; must be at most \d+, the cores"):
        LiveEngine(small(workers=100_000), traffic, options=EMPTY)
    with pytest.raises(InputError, match="must be one of asyncio, compiled"):
        simulate(small(), engine="live")
    assert "live" not in repr(engine_kind("compiled"))
    assert engine_kind("live", ANY_CLOCK).maker.endswith("LiveEngine")
