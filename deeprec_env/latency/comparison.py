"""Comparing two profiles: how much faster one is than the other, per model and batch, and from which batch on."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.latency.table import LEVELS, ProfileTable

COLUMNS = ("model", "batch", "a_ms", "b_ms", "speed_up")
_MEDIAN = LEVELS.index(0.50)


@dataclass(frozen=True)
class Point:
    """Median latency of one batch in both profiles, in milliseconds, load and compute summed."""

    batch: int
    a_ms: float
    b_ms: float

    @property
    def speed_up(self) -> float:
        """Of B over A: above 1, B is faster."""
        return self.a_ms / self.b_ms


@dataclass(frozen=True)
class Comparison:
    """One model in two profiles, at the batches that both hold."""

    model: str
    points: tuple[Point, ...]

    def crossovers(self) -> list[float]:
        """Batches at which the speed-up passes 1, with latencies linear between the measured batches."""
        found = []
        for before, after in itertools.pairwise(self.points):
            ahead, then = before.a_ms - before.b_ms, after.a_ms - after.b_ms
            if ahead * then < 0.0:
                found.append(before.batch + (after.batch - before.batch) * ahead / (ahead - then))
            elif ahead == 0.0 != then and before.batch != self.points[0].batch:
                found.append(float(before.batch))
        return found


def compare(a: ProfileTable, b: ProfileTable, threads: tuple[int | None, int | None]) -> list[Comparison]:
    """The models and batches that both profiles hold, in A's order, at `threads` threads (None: the fewest measured).

    `InputError` where a profile holds a model on several devices, or not at these threads, and where the profiles
    have nothing in common.
    """
    of_a, of_b = _medians("A", a, threads[0]), _medians("B", b, threads[1])
    compared = []
    for model, medians in of_a.items():
        batches = sorted(medians.keys() & of_b.get(model, {}).keys())
        if batches:
            points = tuple(Point(batch, medians[batch], of_b[model][batch]) for batch in batches)
            compared.append(Comparison(model, points))
    if not compared:
        raise InputError("B", b.models(), f"has no model and batch in common with A, which holds {a.models()}")
    return compared


def _medians(which: str, table: ProfileTable, threads: int | None) -> dict[str, dict[int, float]]:
    """Median milliseconds by model and batch, parts summed."""
    found: dict[str, dict[int, float]] = {}
    for model in table.models():
        rows = [row for row in table.rows if row.model == model]
        devices = sorted({row.device for row in rows})
        if len(devices) > 1:
            raise InputError(which, devices, f"must hold {model} on one device")
        counts = sorted({row.threads for row in rows})
        wanted = threads or counts[0]
        if wanted not in counts:
            raise InputError("threads", wanted, f"{which} holds {', '.join(map(str, counts))} for {model}")
        for row in rows:
            if row.threads == wanted:
                of_batch = found.setdefault(model, {})
                of_batch[row.batch] = of_batch.get(row.batch, 0.0) + row.quantiles_ms[_MEDIAN]
    return found


def write_comparison(path: Path, compared: Sequence[Comparison]) -> None:
    """Write the speed-ups as a CSV, whole or not at all; floats to six significant digits."""
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in compared:
            for point in entry.points:
                figures = (f"{value:.6g}" for value in (point.a_ms, point.b_ms, point.speed_up))
                writer.writerow([entry.model, point.batch, *figures])
