from __future__ import annotations

import asyncio

import anyio
import pytest

from deeprec_env import load_scenario, simulate
from deeprec_env.simulation import AsyncioEngine, VirtualTimeLoop
from tests.conftest import day_scenario

# Coroutines beside the node


def test_a_controller_of_ten_lines_changes_the_batch_size_with_the_queue() -> None:
    async def controller(node: AsyncioEngine) -> None:
        while True:
            node.batch_size = 64 if node.waiting("cpu") > 20 else 16
            await anyio.sleep(0.05)

    scenario = load_scenario(day_scenario())
    fixed = simulate(scenario, batch_size=16, qps=600, queries=4000)
    controlled = simulate(scenario, batch_size=16, qps=600, queries=4000, coroutines=[controller])
    assert fixed.streams_sha256 == controlled.streams_sha256
    assert set(controlled.records.batch_size.tolist()) == {16, 64}
    assert controlled.tail.p95_s < 0.8 * fixed.tail.p95_s
    assert fixed.overloaded  # its offered load says so
    assert not controlled.overloaded  # there is none for settings that change: the trend of the latencies decides
    assert controlled.offered_load == {"cpu": None, "accelerator": None}
    hopeless = simulate(scenario, batch_size=16, qps=2500, queries=4000, coroutines=[controller])
    assert set(hopeless.records.batch_size.tolist()) == {16, 64}
    assert hopeless.overloaded
    assert hopeless.verdict == "fail"
    again = simulate(scenario, batch_size=16, qps=600, queries=4000, coroutines=[controller])
    assert again.records.completion_s.tobytes() == controlled.records.completion_s.tobytes()


def test_an_error_in_a_coroutine_reaches_the_caller() -> None:
    async def broken(node: AsyncioEngine) -> None:
        await anyio.sleep(0.1)
        raise LookupError("my mistake")

    with pytest.raises(ExceptionGroup) as caught:
        simulate(day_scenario(), queries=2000, coroutines=[broken])
    assert caught.group_contains(LookupError, match="my mistake")


def test_an_error_of_a_coroutine_that_is_ended_reaches_the_caller() -> None:
    async def untidy(node: AsyncioEngine) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("my mistake")

    with pytest.raises(ExceptionGroup) as caught:
        simulate(day_scenario(), queries=2000, coroutines=[untidy])
    assert caught.group_contains(LookupError, match="my mistake")


def test_a_coroutine_that_ends_leaves_the_run_alone() -> None:
    async def brief(node: AsyncioEngine) -> None:
        with anyio.move_on_after(0.2):
            await anyio.sleep(10)
        assert node.now_s == pytest.approx(0.2)

    with_coroutine = simulate(day_scenario(), queries=2000, coroutines=[brief])
    assert (
        with_coroutine.records.completion_s.tobytes()
        == simulate(day_scenario(), queries=2000).records.completion_s.tobytes()
    )


# The loop as an asyncio event loop


def test_the_loop_runs_ordinary_asyncio_code_in_no_time() -> None:
    async def clock() -> list[float]:
        loop, seen = asyncio.get_running_loop(), []
        for delay in (3600.0, 0.5):
            await asyncio.sleep(delay)
            seen.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return [*seen, loop.time()]

    loop = VirtualTimeLoop()
    assert loop.run_until_complete(clock()) == [3600.0, 3600.5, 3605.5]
    with pytest.raises(RuntimeError, match="no place in virtual time"):
        loop.run_in_executor(None, print)
    with pytest.raises(RuntimeError, match="nothing is left to happen"):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()


def test_anyio_runs_on_the_loop() -> None:
    async def main() -> float:
        async with anyio.create_task_group() as group:
            for delay in (3.0, 1.0, 2.0):
                group.start_soon(anyio.sleep, delay)
        return anyio.current_time()

    assert anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop}) == 3.0


def test_timers_fire_in_order_of_time_then_of_their_making_before_the_node_at_that_instant() -> None:
    loop = VirtualTimeLoop()
    seen: list[str] = []
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 2.0), ("d", 2.0)):
        loop.call_at(when, seen.append, name)
    cancelled = loop.call_later(1.5, seen.append, "never")
    cancelled.cancel()
    loop.run_before(2.0)
    assert (seen, loop.time()) == (["a"], 2.0)
    loop.run_before(9.0)
    assert (seen, loop.time()) == (["a", "b", "c", "d"], 9.0)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_before(10.0)


def test_a_simulation_works_inside_a_running_loop() -> None:
    async def notebook() -> tuple[bytes, bool]:
        outer = asyncio.get_running_loop()
        result = simulate(day_scenario(), queries=1500)
        await asyncio.sleep(0)
        return result.records.completion_s.tobytes(), asyncio.get_running_loop() is outer

    inside, restored = asyncio.run(notebook())
    assert restored
    assert inside == simulate(day_scenario(), queries=1500).records.completion_s.tobytes()
