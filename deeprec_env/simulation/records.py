"""Records: what happened to every query and request of a run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable, replacing, replacing_path
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.setting import (
    ADMIT_MS,
    BATCH_SIZE,
    OFFLOAD,
    OFFLOADS,
    ORDER,
    ORDERS,
    PLAN,
    SPLIT,
    SPLITS,
    THRESHOLD,
)

RECORD_COLUMNS = (
    "query", "arrival_s", "items", "batch_size", "threshold", "offloaded", "completion_s", "latency_s", "warmup",
)  # fmt: skip


@dataclass(frozen=True)
class StageRecords:
    """Requests of consecutive queries at one stage, in (query, part) order.

    Query i has the requests `first[i]` to `first[i + 1]`, none where its plan skips the stage. Times are seconds,
    infinite where they have not come yet (`end_s` is set at the start of service). Where requests are served in
    batches, all of one have its start and end, and the first of it alone `carries` its service (None: every request
    does).
    """

    offloaded: NDArray[np.bool_]
    first: Ints
    start_s: Floats
    end_s: Floats
    carries: NDArray[np.bool_] | None = None

    @classmethod
    def of_held(
        cls,
        offloaded: NDArray[np.bool_],
        first: Ints,
        start_s: Floats,
        end_s: Floats,
        carries: NDArray[np.bool_] | None = None,
    ) -> StageRecords:
        """From what a node holds, where requests that did not come about start at minus infinity: without these."""
        came = start_s > -np.inf
        if came.all():
            return cls(offloaded, first, start_s, end_s, carries)
        kept = np.concatenate([[0], np.cumsum(came)])[first]
        return cls(offloaded, kept, start_s[came], end_s[came], None if carries is None else carries[came])

    def of_pool(self, accelerator: bool) -> tuple[Floats, Floats]:
        """Start and end of the requests on one of the stage's pools."""
        chosen = np.repeat(self.offloaded == accelerator, np.diff(self.first))
        return self.start_s[chosen], self.end_s[chosen]


@dataclass(frozen=True)
class Records:
    """Consecutive queries that a node has met, each array (queries,), and their requests stage by stage.

    `first` is how many the node had met before, `query` holds their numbers in the whole traffic. `setting`, (queries,
    controls), holds what was in force for each as `SettingNumbers`, of which `controls` names those that the scenario
    uses. `completion_s` is infinite while a query is in flight, NaN of one that was shed.
    """

    first: int
    query: Ints
    arrival_s: Floats
    items: Ints
    setting: Floats
    completion_s: Floats
    stages: tuple[StageRecords, ...]
    controls: tuple[str, ...] = ("batch_size", "threshold")

    @property
    def batch_size(self) -> Ints:
        """Batch sizes in force."""
        return self.setting[:, BATCH_SIZE].astype(np.int64)

    @property
    def threshold(self) -> Floats:
        """Offload thresholds in force, infinite for never."""
        return self.setting[:, THRESHOLD]

    @property
    def plan(self) -> Ints | None:
        """Indices of the plans in force; None without plans."""
        return self.setting[:, PLAN].astype(np.int64) if "plan" in self.controls else None

    @property
    def shed(self) -> NDArray[np.bool_]:
        """Which queries were refused on arrival."""
        return np.isnan(self.completion_s)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def latency_s(self) -> Floats:
        """Completion less arrival, in seconds; NaN of queries that were shed."""
        return self.completion_s - self.arrival_s

    @property
    def offloaded(self) -> NDArray[np.bool_]:
        """Whether any stage sent the query to its accelerator; none did one that was shed."""
        return np.asarray(np.any([stage.offloaded for stage in self.stages], axis=0) & ~self.shed)


def check_records_path(path: Path) -> None:
    """Raise `InputError` if records can't be written there; called before the simulation starts."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError("records", str(path), "must be a file named *.csv or *.parquet")
    if path.suffix == ".parquet":
        check_installed("pyarrow")
    check_writable("records", path)


def write_records(records: Records, warmup: int, path: Path) -> None:
    """One row a query, as CSV (floats by repr) or Parquet: `RECORD_COLUMNS` and the controls that the scenario uses.

    These are the `plan`'s index, `split`, `order`, `offload`, and `admit_ms` (infinite: no limit) with `shed`.
    `warmup` is true for the first `warmup` queries, which summaries leave out.
    """
    check_records_path(path)
    columns: list[NDArray[Any]] = [
        records.query,
        records.arrival_s,
        records.items,
        records.batch_size,
        records.threshold,
        records.offloaded,
        records.completion_s,
        records.latency_s,
        records.first + np.arange(len(records)) < warmup,
    ]
    names = list(RECORD_COLUMNS)
    if records.plan is not None:
        names.append("plan")
        columns.append(records.plan)
    for control, column, words in (("split", SPLIT, SPLITS), ("order", ORDER, ORDERS), ("offload", OFFLOAD, OFFLOADS)):
        if control in records.controls:
            names.append(control)
            columns.append(np.array(words)[records.setting[:, column].astype(np.int64)])
    if "admit_ms" in records.controls:
        names += ["admit_ms", "shed"]
        columns += [records.setting[:, ADMIT_MS], records.shed]
    if path.suffix == ".parquet":
        import pyarrow as pa  # loaded when the first Parquet file is written
        from pyarrow import parquet

        named = zip(names, columns, strict=True)
        with replacing_path(path) as temporary:
            parquet.write_table(pa.table({name: np.ascontiguousarray(column) for name, column in named}), temporary)
        return
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
