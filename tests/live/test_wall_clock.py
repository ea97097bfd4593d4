"""The loop on the real clock: order, halting, errors; how punctual it is depends on the machine."""

from __future__ import annotations

import asyncio
import math
import socket
import time

import pytest

from deeprec_env.live.wall_clock import WallClockLoop
from deeprec_env.simulation.loop import ARRIVAL


@pytest.fixture
def loop() -> WallClockLoop:
    return WallClockLoop()


def test_events_happen_in_order_and_never_before_their_time(loop: WallClockLoop) -> None:
    seen: list[tuple[int, float, float]] = []
    for number, due_s in enumerate((0.03, 0.01, 0.02)):
        loop.events.append((due_s, ARRIVAL, number, due_s, lambda n, due: seen.append((n, due, loop.now))))
    loop.events.sort()
    assert not loop.has_begun
    loop.run_before(0.025)
    assert (loop.now, [number for number, _, _ in seen]) == (0.025, [1, 2])
    assert loop.time() >= 0.025
    time.sleep(0.02)  # what is due meanwhile is late, and happens
    loop.run_before(0.05)
    assert [number for number, _, _ in seen] == [1, 2, 0]
    assert all(now >= due for _, due, now in seen)
    assert seen[-1][2] >= 0.045
    loop.close()


def test_coroutines_sleep_in_real_time_and_sockets_are_read(loop: WallClockLoop) -> None:
    ours, theirs = socket.socketpair()
    read: list[bytes] = []

    def readable() -> None:
        read.append(ours.recv(10))
        loop.halt()

    async def write() -> None:
        await asyncio.sleep(0.02)
        theirs.send(b"word")

    with ours, theirs:
        loop.add_reader(ours, readable)
        task = loop.create_task(write())
        loop.run_before(math.inf)
        assert read == [b"word"]
        assert task.done()
        assert 0.02 <= loop.time() < 5.0
        loop.remove_reader(ours)
    loop.close()


def test_what_a_callback_raises_is_the_callers(loop: WallClockLoop) -> None:
    loop.call_soon(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        loop.run_before(1.0)
    loop.run_before(0.01)
    loop.close()
