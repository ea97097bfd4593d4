"""Records: what happened to every query and request of a run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.files import check_writable, replacing
from deeprec_env.scenario.parts import Floats, Ints

RECORD_COLUMNS = (
    "query", "arrival_s", "items", "batch_size", "threshold", "offloaded", "completion_s", "latency_s", "warmup",
)  # fmt: skip


@dataclass(frozen=True)
class StageRecords:
    """Requests of consecutive queries at one stage, in (query, part) order.

    Query i has the requests `first[i]` to `first[i + 1]`. Times are seconds, infinite where they have not come yet
    (`end_s` is set at the start of service).
    """

    offloaded: NDArray[np.bool_]
    first: Ints
    start_s: Floats
    end_s: Floats

    def of_pool(self, accelerator: bool) -> tuple[Floats, Floats]:
        """Start and end of the requests on one of the stage's pools."""
        chosen = np.repeat(self.offloaded == accelerator, np.diff(self.first))
        return self.start_s[chosen], self.end_s[chosen]


@dataclass(frozen=True)
class Records:
    """Consecutive queries that have arrived, each array (queries,), and their requests stage by stage.

    `threshold` is infinite for null; `completion_s` is infinite while a query is in flight.
    """

    first_query: int
    arrival_s: Floats
    items: Ints
    batch_size: Ints
    threshold: Floats
    completion_s: Floats
    stages: tuple[StageRecords, ...]

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def latency_s(self) -> Floats:
        """Completion less arrival, in seconds."""
        return self.completion_s - self.arrival_s

    @property
    def offloaded(self) -> NDArray[np.bool_]:
        """Whether any stage sent the query to its accelerator."""
        return np.asarray(np.any([stage.offloaded for stage in self.stages], axis=0))


def check_records_path(path: Path) -> None:
    """Raise `InputError` if records can't be written there; called before the simulation starts."""
    if path.suffix != ".csv":
        raise InputError("records", str(path), "must be a file named *.csv")
    check_writable("records", path)


def write_records(records: Records, warmup: int, path: Path) -> None:
    """One line a query, floats by repr; `warmup` is true for the first `warmup` queries, which summaries leave out."""
    check_records_path(path)
    columns = (
        records.arrival_s.tolist(),
        records.items.tolist(),
        records.batch_size.tolist(),
        records.threshold.tolist(),
        records.offloaded.tolist(),
        records.completion_s.tolist(),
        records.latency_s.tolist(),
    )
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RECORD_COLUMNS)
        for query, row in enumerate(zip(*columns, strict=True), start=records.first_query):
            writer.writerow([query, *row, query < warmup])
