"""The node of a service: the rules of the others, windows that count everything once, and a memory that is bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from deeprec_env.live.service.mean_work import MeanWork
from deeprec_env.live.service.monitor import Monitor
from deeprec_env.live.service.node import ServiceNode
from deeprec_env.live.service.query_log import Sliding
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.windows import Window
from tests.live.scenarios import EMPTY, small


def served(node: ServiceNode, do: Callable[[], Awaitable[None]]) -> None:
    """Do something on a loop that a node runs on, then end the node."""

    async def on_loop() -> None:
        node.attach(asyncio.get_running_loop())
        async with asyncio.timeout(60):
            await do()

    try:
        asyncio.run(on_loop())
    finally:
        node.close()
        node.close()


def inputs(items: int) -> dict[str, np.ndarray]:
    return {"item": np.zeros((items, 1), dtype=np.int64)}


def test_settings_split_queries_windows_count_them_and_memory_is_bounded() -> None:
    node = ServiceNode(small(), EMPTY)
    meters = node.meter(), node.meter()
    counted: list[Window] = []

    async def do() -> None:
        begin_s = 0.0
        for turn in range(20):
            node.control(node.setting.replace(batch_size=(50, 100)[turn % 2]))
            answers = [node.accept(inputs(100), 100) for _ in range(50)]
            assert node.in_flight == 50
            for answer in answers:
                assert answer is not None
                assert (await answer).shape == (100, 1)
            first = node._log.held_from  # type: ignore[attr-defined]
            records = node.records(first)
            requests = np.diff(records.stages[0].first)
            assert np.array_equal(requests, np.where(records.batch_size == 50, 2, 1))
            end_s = node.real_s()
            counted.extend(node.measure(meter, begin_s, end_s) for meter in meters)
            begin_s = end_s
        assert list.__len__(node._log.arrival_s) == list.__len__(node._log.stages[0].start_s) == 0
        assert len(node._log.settings) == 1
        assert list.__len__(node._log.stages[0].first) == 1

    served(node, do)
    for windows in (counted[0::2], counted[1::2]):
        assert round(sum(window.completed_qps * (window.end_s - window.begin_s) for window in windows)) == 1000
    assert (node.arrived, node.answered, node.failed, node.completed) == (1000, 1000, 0, 1000)
    assert sum(node.latencies.counts) == 1000


def test_further_controls_shed_and_order_as_the_rules_say() -> None:
    scenario = small(admit_ms=0.3, admits_ms=[0.3, 1000.0], order="small-first")
    node = ServiceNode(scenario, EMPTY)

    async def do() -> None:
        assert node.accept(inputs(100), 100) is None  # two requests of 0.2 ms
        node.admit_ms = 1000.0
        ended: list[int] = []
        for number, items in enumerate((100, 60, 30)):
            answer = node.accept(inputs(items), items)
            assert answer is not None
            answer.add_done_callback(lambda _, number=number: ended.append(number))  # type: ignore[misc]
        while len(ended) < 3:
            await asyncio.sleep(0.001)
        assert ended == [2, 1, 0]  # all came before the first start

    served(node, do)
    assert (node.arrived, node.shed, node.answered) == (4, 1, 3)


def test_a_controller_is_asked_once_a_window_with_what_happened() -> None:
    seen: list[Window | None] = []

    def choose(window: Window | None) -> Setting:
        seen.append(window)
        return Setting((50, 100)[len(seen) % 2])

    node = ServiceNode(small(interval_s=0.05), EMPTY)
    monitor = Monitor(node, choose)
    assert node.batch_size == 100

    async def do() -> None:
        watching = asyncio.create_task(monitor.control())
        for _ in range(100):
            answer = node.accept(inputs(100), 100)
            assert answer is not None
            await answer
            await asyncio.sleep(0.002)
        while len(seen) < 6:
            await asyncio.sleep(0.01)
        watching.cancel()

    served(node, do)
    windows = [window for window in seen if window is not None]
    for earlier, later in itertools.pairwise(windows):
        assert later.begin_s >= earlier.end_s
    assert all(window.end_s - window.begin_s == pytest.approx(0.05) for window in windows)
    assert 0 < round(sum(window.completed_qps for window in windows) * 0.05) <= 100


def test_mean_work_is_learnt_and_poured_on_the_servers() -> None:
    scenario = load_scenario("wnd-cpu").replace(
        node={"cpu": {"servers": 2, "latency": {"kind": "affine", "base_ms": 5.0, "per_item_ms": 0.5}}}, capacity=None
    )
    work = MeanWork(scenario.stages[0].pools()["cpu"], 1000)
    base, per_item = work.means_s
    assert (base, per_item) == pytest.approx((5e-3, 5e-4))
    rng = np.random.default_rng(0)
    for request in range(5000):  # another machine: 1 ms and 10 us an item
        items = int(rng.integers(1, 500))
        work.entered([items])
        work.started(request, 0.0, items, 1)
        work.ended(request, (1e-3 + 1e-5 * items) * rng.uniform(0.9, 1.1))
    base, per_item = work.means_s
    assert (base, per_item) == pytest.approx((1e-3, 1e-5), rel=0.1)
    assert work.ends_in_s(0.0, [100]) == pytest.approx(base + 100 * per_item)
    assert work.ends_in_s(0.0, [100, 100, 50]) == pytest.approx(2 * base + 150 * per_item)
    for request in (0, 1):
        work.entered([100])
        work.started(request, 0.0, 100, 1)
    work.entered([200, 200])
    assert work.backlog_s() == pytest.approx(base + 200 * per_item)
    assert work.ends_in_s(0.0, [100]) == pytest.approx(3 * base + 400 * per_item)  # behind all, on two servers
    assert work.ends_in_s(1.0, [100]) == pytest.approx(2 * base + 300 * per_item)  # those in service are overdue


def test_a_sliding_list_keeps_places() -> None:
    values = Sliding(range(10))
    values.let_go(4)
    values.append(10)
    values += [11]
    assert (len(values), values[4], values[-1], values[5:8], values[6:6]) == (12, 4, 11, [5, 6, 7], [])
    values[4], values[10:12] = 40, [100, 110]
    assert (values[4], values[10:12]) == (40, [100, 110])
    values.let_go(12)
    assert (len(values), list.__len__(values)) == (12, 0)
