"""Records: what happened to every query and request of a run."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

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
from deeprec_env.shown import frame
from deeprec_env.simulation.arrays import NodeArrays, NodeState

if TYPE_CHECKING:
    import pandas as pd

RECORD_COLUMNS = (
    "query", "arrival_s", "items", "batch_size", "threshold", "offloaded", "completion_s", "latency_s", "warmup",
)  # fmt: skip

ROW_GROUP = 1 << 20
"""Rows of a Parquet file's row groups, but the last."""

_CSV_ROWS = 10_000

NO_MORE: Mapping[str, NDArray[Any]] = {}


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

    @classmethod
    def of_state(cls, node: NodeArrays, state: NodeState, stage: int, queries: slice) -> StageRecords:
        """Those of some of the queries that a compiled node holds: views of its arrays."""
        each = node.sub_batches
        begins = state.first[stage, queries.start * each : queries.stop * each + 1 : each]
        requests = slice(int(begins[0]), int(begins[-1]))
        return cls.of_held(
            state.offloaded[stage, queries.start * each : queries.stop * each : each],
            begins - begins[0],
            state.start_s[stage, requests],
            state.end_s[stage, requests],
            state.carries[stage, requests] if np.any(node.batch_items) else None,
        )

    def chosen(self, queries: Ints) -> StageRecords:
        """The requests of some of the queries, in the order given."""
        begins = self.first[queries]
        counts = self.first[1:][queries] - begins
        first = np.concatenate([[0], np.cumsum(counts)])
        requests = np.repeat(begins - first[:-1], counts) + np.arange(first[-1])
        carries = None if self.carries is None else self.carries[requests]
        return StageRecords(self.offloaded[queries], first, self.start_s[requests], self.end_s[requests], carries)

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

    def to_frame(self, warmup: int = 0) -> pd.DataFrame:
        """A pandas `DataFrame` with a row for every query, the columns those of `write_records`.

        The first `warmup` queries are marked as such (`Result.warmup`). Raises `NotInstalled`, which names the extra,
        without pandas.
        """
        return frame(_columns(self, warmup))


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
    with open_records(path, warmup) as file:
        file.add(records)


@contextmanager
def open_records(path: Path, warmup: int) -> Iterator[RecordsFile]:
    """A file of records, as `write_records` writes them, that grows block by block and is there when the block ends."""
    check_records_path(path)
    if path.suffix == ".csv":
        with replacing(path) as file:
            yield _CsvFile(file, warmup)
        return
    with replacing_path(path) as temporary, _ParquetFile(temporary, warmup) as parquet:
        yield parquet


class RecordsFile(Protocol):
    """Takes the completed queries of a run, in their order."""

    def add(self, records: Records, more: Mapping[str, NDArray[Any]] = NO_MORE) -> None:
        """Write the next queries; `more` columns stand behind the others."""


class _CsvFile:
    def __init__(self, file: TextIO, warmup: int) -> None:
        self._writer, self._warmup, self._begun = csv.writer(file, lineterminator="\n"), warmup, False

    def add(self, records: Records, more: Mapping[str, NDArray[Any]] = NO_MORE) -> None:
        columns = {**_columns(records, self._warmup), **more}
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        for begin in range(0, len(records), _CSV_ROWS):  # as Python's numbers they take five times the memory
            part = slice(begin, begin + _CSV_ROWS)
            self._writer.writerows(zip(*(column[part].tolist() for column in columns.values()), strict=True))


class _ParquetFile:
    """Row groups of the same size, whatever the sizes of the blocks: the file does not tell how it was written."""

    def __init__(self, path: Path, warmup: int) -> None:
        self._path, self._warmup = path, warmup
        self._writer: Any = None  # opened with the first rows, which say the columns
        self._waiting: list[Any] = []  # Arrow tables of less than a row group

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        if self._waiting and failed[0] is None:
            self._write(0)
        if self._writer is not None:
            self._writer.close()

    def add(self, records: Records, more: Mapping[str, NDArray[Any]] = NO_MORE) -> None:
        import pyarrow as pa  # loaded when the first Parquet file is written

        columns = {**_columns(records, self._warmup), **more}
        self._waiting.append(pa.table({name: np.array(column) for name, column in columns.items()}))
        if sum(len(table) for table in self._waiting) >= ROW_GROUP:
            self._write(ROW_GROUP - 1)

    def _write(self, most_left: int) -> None:
        """Write row groups until at most so many rows are left."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema)
        while len(table) > most_left:
            self._writer.write_table(table[:ROW_GROUP].combine_chunks(), ROW_GROUP)
            table = table[ROW_GROUP:]
        self._waiting = [table] if len(table) else []


def _columns(records: Records, warmup: int) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "query": records.query,
        "arrival_s": records.arrival_s,
        "items": records.items,
        "batch_size": records.batch_size,
        "threshold": records.threshold,
        "offloaded": records.offloaded,
        "completion_s": records.completion_s,
        "latency_s": records.latency_s,
        "warmup": records.first + np.arange(len(records)) < warmup,
    }
    if records.plan is not None:
        columns["plan"] = records.plan
    for control, column, words in (("split", SPLIT, SPLITS), ("order", ORDER, ORDERS), ("offload", OFFLOAD, OFFLOADS)):
        if control in records.controls:
            columns[control] = np.array(words)[records.setting[:, column].astype(np.int64)]
    if "admit_ms" in records.controls:
        columns |= {"admit_ms": records.setting[:, ADMIT_MS], "shed": records.shed}
    return columns
