"""Recordings of live runs: one row a request, and a header with all that the run followed from."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable, replacing, replacing_path
from deeprec_env.live.engine import LiveEngine
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.workload.stream import Traffic

FORMAT = "deeprec live recording"
VERSION = 1

_WHOLE = ("query", "items", "stage", "part", "accelerator", "request_items", "worker", "carries")
_REAL = ("arrival_s", "entry_s", "completion_s", "start_s", "end_s", "worker_begin_s", "worker_end_s")
COLUMNS = (*_WHOLE, *SettingNumbers._fields, *_REAL)
"""Of a file, one row a request in the order of arrival, stage and part; a query that was shed has one, of stage -1.

`query`, its `items`, when it was to arrive (`arrival_s`), was taken up (`entry_s`) and completed, and the setting in
force for it (`SettingNumbers`); of the request its `stage`, `part`, items, whether it was on the `accelerator`, when it
was handed over (`start_s`) and answered (`end_s`) on the dispatcher's clock, by which `worker`, and that one's own
times. Of requests that were served together one `carries` the service. Seconds from the start of the run; NaN and -1
where there is none.
"""


@dataclass(frozen=True)
class Recording:
    """A live run: its header, scenario and columns, each (rows,)."""

    header: Mapping[str, Any]
    scenario: Scenario
    columns: Mapping[str, NDArray[Any]]

    def first_rows(self) -> Ints:
        """Where the rows of each query begin, (queries,)."""
        query = self.columns["query"]
        return np.flatnonzero(np.concatenate([[True], query[1:] != query[:-1]]))

    def traffic(self, times: str = "arrival_s") -> Traffic:
        """The queries, arriving as they were meant to, or as they were taken up (`entry_s`)."""
        rows = self.first_rows()
        columns = self.columns
        keys = int(self.header["noise_key"]), int(self.header["slow_key"])
        return Traffic(columns[times][rows], columns["items"][rows], keys[0], columns["query"][rows], keys[1])

    def of_queries(self, name: str) -> NDArray[Any]:
        """A column of the queries, (queries,)."""
        return self.columns[name][self.first_rows()]

    def settings(self) -> Floats:
        """What was in force for each query, as `SettingNumbers`, (queries, controls)."""
        rows = self.first_rows()
        return np.column_stack([self.columns[name][rows] for name in SettingNumbers._fields])


def record(engine: LiveEngine, header: Mapping[str, Any], scenario: Scenario) -> Recording:
    """What a live engine that has drained did."""
    records, entry_s, tables = engine.records(), engine.entry_s, []
    by_query = {
        "query": records.query,
        "items": records.items,
        "arrival_s": records.arrival_s,
        "entry_s": entry_s,
        "completion_s": records.completion_s,
        **{name: records.setting[:, place] for place, name in enumerate(SettingNumbers._fields)},
    }
    for stage, (log, times) in enumerate(zip(engine.stage_logs, engine.times, strict=True)):
        start_s, items = np.array(log.start_s, dtype=np.float64), np.array(log.items, dtype=np.int64)
        each = scenario.sub_batches
        begins = np.array(log.first, dtype=np.int64)[::each]
        count = np.diff(begins)
        query = np.repeat(np.arange(len(count)), count)
        came = start_s > -np.inf
        requests = np.flatnonzero(came)

        def worker_s(measured: Mapping[int, float], requests: Ints = requests) -> Floats:
            return np.array([measured.get(request, np.nan) for request in requests.tolist()])

        of = query[came]
        tables.append(
            {name: column[of] for name, column in by_query.items()}
            | {
                "position": of,
                "stage": np.full(len(of), stage),
                "part": (np.arange(len(query)) - begins[:-1][query])[came],
                "accelerator": np.repeat(np.array(log.offloaded, dtype=np.int64), np.diff(log.first))[came],
                "request_items": items[came],
                "worker": np.array([times.worker.get(request, -1) for request in requests.tolist()], dtype=np.int64),
                "carries": np.ones(len(of), dtype=np.int64) if log.carries is None else np.array(log.carries)[came],
                "start_s": start_s[came],
                "end_s": np.array(log.end_s, dtype=np.float64)[came],
                "worker_begin_s": worker_s(times.begun_s),
                "worker_end_s": worker_s(times.ended_s),
            }
        )
    shed = np.flatnonzero(records.shed)
    lacking = {name: np.full(len(shed), -1) for name in _WHOLE[2:]} | {
        name: np.full(len(shed), np.nan) for name in _REAL[3:]
    }
    tables.append({name: column[shed] for name, column in by_query.items()} | lacking | {"position": shed})
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    order = np.lexsort((joined["part"], joined["stage"], joined["position"]))
    columns = {name: joined[name][order].astype(np.int64 if name in _WHOLE else np.float64) for name in COLUMNS}
    return Recording(dict(header), scenario, columns)


def write_recording(recording: Recording, path: Path) -> None:
    """As `COLUMNS`, Parquet or CSV by the file's name."""
    columns = {name: recording.columns[name] for name in COLUMNS}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "rows": len(columns["query"]),
        "sha256": _digest(columns),
        **recording.header,
        "scenario": recording.scenario.model_dump(mode="json"),
    }
    text = json.dumps(header)
    if path.suffix == ".csv":
        with replacing(path) as file:
            file.write(f"# {text}\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        return
    import pyarrow as pa  # loaded when the first Parquet file is written
    from pyarrow import parquet

    table = pa.table(columns).replace_schema_metadata({"deeprec": text})
    with replacing_path(path) as temporary:
        parquet.write_table(table, temporary)


def check_recording_path(path: Path) -> None:
    """Raise `InputError` if a recording can't be written there; called before the run starts."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError("record", str(path), "must be a file named *.parquet or *.csv")
    if path.suffix == ".parquet":
        check_installed("pyarrow")
    check_writable("record", path)


def read_recording(path: Path) -> Recording:
    """A file that `write_recording` wrote; `InputError` for any other, and for one that is not whole."""
    if not path.is_file():
        raise InputError("recording", str(path), "there is no such file")
    try:
        header, columns = (_read_csv if path.suffix == ".csv" else _read_parquet)(path)
        header = _checked_header(header)
    except InputError:
        raise
    except Exception as error:  # whatever a reader says of a file that is cut off or is something else
        said = str(error).partition("\n")[0] or type(error).__name__
        raise InputError("recording", str(path), f"must be a whole file of 'deeprec live --record' ({said})") from None
    if len(columns["query"]) != header["rows"] or _digest(columns) != header["sha256"]:
        raise InputError(
            "recording", str(path), f"is not whole: its {header['rows']} rows are not as they were written"
        )
    return Recording(header, load_scenario(header["scenario"]), columns)


def _checked_header(header: Any) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("its header is not one")
    if header.get("version") != VERSION:
        raise ValueError(f"version {header.get('version')!r}, not {VERSION}")
    for name, kind in (("rows", int), ("sha256", str), ("noise_key", int), ("slow_key", int), ("scenario", dict)):
        if not isinstance(header.get(name), kind):
            raise ValueError(f"its header has no {name}")
    return header


def _read_csv(path: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header = json.loads(file.readline().removeprefix("# "))
        rows = csv.reader(file)
        names = next(rows)
        cells = list(zip(*rows, strict=True))
    found = dict(zip(names, cells, strict=True))
    return header, {name: np.array(found[name], dtype=np.int64 if name in _WHOLE else np.float64) for name in COLUMNS}


def _read_parquet(path: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    check_installed("pyarrow")
    from pyarrow import parquet

    table = parquet.read_table(path)
    header = json.loads((table.schema.metadata or {}).get(b"deeprec", b"null"))
    return header, {name: table.column(name).to_numpy() for name in COLUMNS}


def _digest(columns: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(np.ascontiguousarray(columns[name]).data)
    return digest.hexdigest()
