"""Who runs on which core."""

from __future__ import annotations

import os

import anyio
import pytest

from deeprec_env.live.core_pinning import CorePlan, on_core, pin, plan_cores
from deeprec_env.live.engine import LiveEngine
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.live.scenarios import EMPTY, small

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell cores")


def test_every_worker_has_a_core_beside_the_dispatchers_or_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 3, 5})
    assert plan_cores(2) == CorePlan(3, (5, 7))
    assert plan_cores(1) == CorePlan(3, (5,))
    assert plan_cores(3) == CorePlan(None, ())


def test_a_thread_comes_back_to_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with on_core(core):
        assert os.sched_getaffinity(0) == {core}
    with on_core(None):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before
    pin(2**22 + 1, [core])  # nobody: beyond the numbers that Linux gives


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_dispatcher_and_worker_keep_apart_also_after_a_death() -> None:
    scenario = small()
    traffic = QueryStream(scenario.workload, episode_seed(1)).draw_until(1.0)
    dispatcher, worker, *_ = sorted(os.sched_getaffinity(0))
    seen: list[tuple[set[int], set[int]]] = []

    async def watch(node: AsyncioEngine) -> None:
        assert isinstance(node, LiveEngine)
        (pool,) = node.crew.pools
        for _ in range(2):
            await anyio.sleep(0.3)
            seen.append((os.sched_getaffinity(0), os.sched_getaffinity(pool.pids()[0])))
            pool.kill(0)

    before = os.sched_getaffinity(0)
    engine = LiveEngine(scenario, traffic, [watch], options=EMPTY)
    try:
        engine.drain()
    finally:
        engine.close()
    assert seen == [({dispatcher}, {worker})] * 2
    assert os.sched_getaffinity(0) == before
