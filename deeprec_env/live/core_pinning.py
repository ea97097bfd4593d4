"""Which core does what: one for the dispatcher alone and one for each worker, where there are enough.

Without it the system puts a worker onto the dispatcher's core now and then, and what arrives meanwhile waits for the
worker's time slice: 1 to 3 ms at p99 where it is 0.1 with a core of its own (docs/live.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class CorePlan(NamedTuple):
    """The dispatcher's core, and the workers' in their order; None and empty where the system chooses."""

    dispatcher: int | None = None
    workers: tuple[int, ...] = ()


def plan_cores(workers: int) -> CorePlan:
    """Cores of this process's for so many workers; none where they are too few, or can't be chosen (macOS)."""
    if not hasattr(os, "sched_setaffinity"):
        return CorePlan()
    cores = sorted(os.sched_getaffinity(0))
    return CorePlan(cores[0], tuple(cores[1 : workers + 1])) if len(cores) > workers else CorePlan()


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep a process on some cores; one that has ended already is left alone."""
    try:
        os.sched_setaffinity(pid, set(cores))
    except ProcessLookupError:
        return


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep this thread on a core meanwhile; None: wherever it is."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
