"""Processes of this machine that do independent pieces of work."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from deeprec_env.cores import usable_cores
from deeprec_env.errors import WorkLost
from deeprec_env.executors.executor import Threads

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")

MOST_DEATHS = 5
"""Deaths of workers without a result in between after which the work, not chance, is taken for the reason."""


class WorkersDied(WorkLost):
    """Workers died again and again, without a result in between: for want of memory, say."""


@dataclass(frozen=True)
class Processes:
    """A process a core, begun anew (not forked), so that nothing of this one is in them but what they are given.

    A worker that dies costs what was being done: the others' results stay, and the rest is done by new ones.
    """

    workers: int | None = None
    """None: one a core."""

    def results(self, work: Callable[[S, T], U], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, U]]:
        """As `Executor` has it."""
        workers = self.workers or usable_cores()
        if workers == 1 or len(tasks) < 2:
            yield from Threads(1).results(work, shared, tasks)
            return
        waiting, deaths = dict(enumerate(tasks)), 0
        while waiting:
            try:
                for number, result in _done(work, shared, waiting, workers):
                    del waiting[number]
                    deaths = 0
                    yield number, result
            except BrokenProcessPool:
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise WorkersDied(f"workers died {deaths} times with no result in between") from None


def _done(work: Callable[[S, T], U], shared: S, waiting: dict[int, T], workers: int) -> Iterator[tuple[int, U]]:
    """Results until all are there, or a worker dies."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(waiting)), context, _begin, (work, shared))
    try:
        numbers: dict[Future[Any], int] = {pool.submit(_do, task): number for number, task in waiting.items()}
        for done in as_completed(numbers):
            yield numbers[done], done.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):  # what they do is not waited for
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_given: tuple[Callable[[Any, Any], Any], Any] | None = None


def _begin(work: Callable[[S, T], U], shared: S) -> None:
    """In a worker, once. Ctrl-C is for the process that began it, which then ends it."""
    global _given
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _given = work, shared


def _do(task: Any) -> Any:
    assert _given is not None
    work, shared = _given
    return work(shared, task)
