"""A Ray cluster that does independent pieces of work, and how one that is lost ends the command with one line.

Ray runs in a process of its own: a cluster whose head has gone leaves its calls hanging, and a minute later ends its
process. Here that process is ended, and said so.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from deeprec_env.errors import InputError, WorkLost
from deeprec_env.executors.ray_driver import AUTO, Began, Ended, Failed, drive
from deeprec_env.extras import check_installed

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")

ANSWERS_WITHIN_S = 10.0
"""A cluster that takes longer to answer is taken for one that is not there."""

LOST_AFTER_S = 5.0
"""A head that does not answer for so long is taken for dead."""

_LOOKED_EVERY_S = 1.0


class ClusterLost(WorkLost):
    """The cluster's head does not answer any more; what was done is kept by who asked."""


@dataclass(frozen=True)
class RayCluster:
    """The Ray cluster at `address`: HOST:PORT, or "auto" for the one that runs on this machine.

    Its machines must have this package, Ray, Python and NumPy in the same versions, the package's sources included. A
    worker that dies costs what it was doing, which is done again.
    """

    address: str

    def __post_init__(self) -> None:
        check_installed("ray")
        if self.address != AUTO:
            _host_and_port(self.address)

    def results(self, work: Callable[[S, T], U], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, U]]:
        """As `Executor` has it. Raises `InputError` for a cluster that can't do it, `ClusterLost` when it dies."""
        if not tasks:
            return
        if self.address != AUTO and not _answers(self.address, ANSWERS_WITHIN_S):
            allowed = f"must be the head of a Ray cluster: it did not answer within {ANSWERS_WITHIN_S:g} s"
            raise InputError("cluster", self.address, allowed)
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=drive, args=(there, self.address, work, shared, list(tasks)), daemon=True
        )
        try:
            process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:  # what pickle says of what it can't take
            raise InputError("cluster", self.address, f"can't be sent this work: {error}") from None
        there.close()
        try:
            yield from _received(here, process)
        finally:
            process.terminate()  # Ray cancels what runs for a driver that has gone
            process.join(_LOOKED_EVERY_S)
            process.kill()
            process.join()


def _received(connection: Connection, process: multiprocessing.context.SpawnProcess) -> Iterator[tuple[int, Any]]:
    head, answered_s = "", time.monotonic()
    while True:
        if not connection.poll(_LOOKED_EVERY_S):
            now_s = time.monotonic()
            if not head or _answers(head, _LOOKED_EVERY_S):
                answered_s = now_s
            elif now_s - answered_s >= LOST_AFTER_S:
                raise ClusterLost(f"the head of the cluster, {head}, has not answered for {LOST_AFTER_S:g} s")
            continue
        try:
            told = connection.recv()
        except EOFError:
            process.join(_LOOKED_EVERY_S)
            raise ClusterLost(f"Ray's own process ended, with exit status {process.exitcode}") from None
        answered_s = time.monotonic()
        if isinstance(told, Began):
            head = told.head
        elif isinstance(told, Failed):
            raise told.error
        elif isinstance(told, Ended):
            return
        else:
            yield told


def _host_and_port(address: str) -> tuple[str, int]:
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError("cluster", address, f"must be {AUTO} (the cluster of this machine) or HOST:PORT")
    return host, int(port)


def _answers(address: str, within_s: float) -> bool:
    """Whether anything listens there."""
    with contextlib.suppress(OSError), socket.create_connection(_host_and_port(address), timeout=within_s):
        return True
    return False
