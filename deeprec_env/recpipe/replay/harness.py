"""The harness of RecPipe's logged runs: when its generator sent which query, and what its processes add to a query.

The generator is one Python process. It stamps a query, puts it into a queue, draws a gap of whole milliseconds and
waits: it sleeps for 2 ms or more, and spins for 1 ms. While it spins, the thread that empties the queue does not run,
so that a query with a gap of 1 ms behind it is held back until the generator waits in another way.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.recpipe.replay.runs import Device, Run
from deeprec_env.scenario.parts import Floats, Ints

SEED = 123
"""Of NumPy's legacy generator in every sweep."""

PERMUTED = 100_000
"""CPU and GPU sweeps draw a permutation of this many before their first gap."""

CPU_GPU_GAPS_MS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5, 10.0, 12.0, 15.0)
ACCELERATOR_GAPS_MS = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 10.0)
"""Mean gaps of the sweeps, in order."""


@dataclass(frozen=True)
class Generator:
    """What a query costs the generator, in seconds: so much, so much an item, to wake up, and a share of the gap."""

    base_s: float
    per_item_s: float
    wake_s: float
    stretch: float = 0.0


CPU_GENERATOR = Generator(0.088e-3, 0.308e-6, 0.166e-3)
GPU_GENERATOR = Generator(0.184e-3, 0.249e-6, 0.1e-3)
ACCELERATOR_GENERATOR = Generator(0.031e-3, 0.0, 0.110e-3, 0.006)


@dataclass(frozen=True)
class Process:
    """What the process around an engine adds to a query, in seconds: it occupies the engine, and it delays the query.

    The delay is `transfer_s` + `per_item_s` * items.
    """

    occupancy_s: float
    transfer_s: float
    per_item_s: float = 0.0


PROCESSES: dict[Device, Process] = {
    "cpu": Process(0.184e-3, 0.66e-3, 0.13e-6),
    "gpu": Process(0.21e-3, 0.47e-3, 0.13e-6),
    "accelerator": Process(0.08e-3, 0.186e-3),
}
"""That of the GPU is what saturated runs have left of their time a query, on average: 1 / rate less the service."""

LONE_ACCELERATOR = Process(0.155e-3, 0.186e-3)
"""Of a pipeline with one stage on the accelerator."""


def process(run: Run, device: Device) -> Process:
    """The process around an engine of a run."""
    return LONE_ACCELERATOR if run.on_accelerator and len(run.stages) == 1 else PROCESSES[device]


@dataclass(frozen=True)
class Sent:
    """When each query was stamped and when it left the generator, in seconds, both (queries,)."""

    stamped_s: Floats
    left_s: Floats


def send(run: Run, gaps_ms: Ints) -> Sent:
    """The queries of a run, each with the gap behind it."""
    cost = _generator(run)
    gap_s = gaps_ms * 1e-3
    wait_s = gap_s * (1.0 + cost.stretch) + np.where(gaps_ms >= 2, cost.wake_s, 0.0)
    spent_s = wait_s + (cost.base_s + cost.per_item_s * run.stages[0].items)
    stamped_s = np.concatenate([[0.0], np.cumsum(spent_s[:-1])])
    spins = gaps_ms == 1
    spins[-1] = False
    last = len(gaps_ms)
    leaves_with = np.minimum.accumulate(np.where(spins, last, np.arange(last))[::-1])[::-1]
    return Sent(stamped_s, stamped_s[leaves_with])


def _generator(run: Run) -> Generator:
    if run.on_accelerator:
        return ACCELERATOR_GENERATOR
    return GPU_GENERATOR if run.stages[0].device == "gpu" else CPU_GENERATOR


class Sweeps:
    """The gaps of every run of a table, drawn anew: a sweep draws those of its runs one after another."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._known = {(run.pipeline, run.sweep_pos): (run.gap_ms, run.queries) for run in runs}

    def gaps_ms(self, run: Run) -> Ints:
        """Whole milliseconds after each query of a run.

        Runs of its sweep that the table does not hold are taken from the published ladder, with as many queries.
        """
        ladder = ACCELERATOR_GAPS_MS if run.on_accelerator else CPU_GPU_GAPS_MS
        before = []
        for position in range(run.sweep_pos):
            known = self._known.get((run.pipeline, position))
            if known is None and position >= len(ladder):
                allowed = f"must be at most {len(ladder)}, or the table must hold the runs before it"
                raise InputError(f"line {run.line}, sweep_pos", run.sweep_pos, allowed)
            before.append(known or (ladder[position], run.queries))
        return _drawn(not run.on_accelerator, (*before, (run.gap_ms, run.queries)))


@functools.lru_cache(maxsize=64)
def _drawn(permuted: bool, sweep: tuple[tuple[float, int], ...]) -> Ints:
    """The gaps of the last of some runs (mean gap in ms, queries)."""
    legacy = np.random.RandomState(SEED)
    if permuted:
        legacy.permutation(PERMUTED)
    gaps: Ints = np.empty(0, dtype=np.int64)
    for gap_ms, queries in sweep:
        gaps = np.asarray(legacy.poisson(lam=gap_ms, size=queries), dtype=np.int64)
    return gaps
