"""What an executor is, and which one a command asks for.

A piece of work is a function of a module, what all pieces share, and a task. The results do not depend on who does
it: whatever is random in it comes from seeds in the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol, TypeVar

from deeprec_env.cores import usable_cores

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")


class Executor(Protocol):
    """Does pieces of work, several at once; what a piece raises ends them all and is raised here."""

    def results(self, work: Callable[[S, T], U], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, U]]:
        """(number of the task, `work(shared, task)`), as they are done; each task once.

        Where other processes do it `work` is a function of a module, and all else can be pickled; `shared` travels
        once to each of them, not with every task.
        """


@dataclass(frozen=True)
class Threads:
    """Threads of this process: for compiled work, which does not hold the others up. 1: one after another."""

    workers: int | None = None
    """None: one a core."""

    def results(self, work: Callable[[S, T], U], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, U]]:
        """As `Executor` has it."""
        workers = self.workers or usable_cores()
        if workers == 1 or len(tasks) < 2:
            yield from ((number, work(shared, task)) for number, task in enumerate(tasks))
            return
        yield 0, work(shared, tasks[0])  # compiles, if need be, before several threads would
        with ThreadPoolExecutor(workers) as threads:
            numbers = {threads.submit(work, shared, task): number for number, task in enumerate(tasks) if number}
            try:
                for done in as_completed(numbers):
                    yield numbers[done], done.result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)


def executor_of(cluster: str | None, local: Executor) -> Executor:
    """The Ray cluster at an address (`auto`: the one that runs here), or the local executor without one.

    Raises `InputError` for an address that is none, and `NotInstalled` where Ray is not there.
    """
    if cluster is None:
        return local
    from deeprec_env.executors.ray_cluster import RayCluster  # its processes are loaded when they are asked for

    return RayCluster(cluster)
