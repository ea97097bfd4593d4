"""What a report is made from: results' JSON, records beside it, folders of trainings."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprec_env.agents.evaluations import EVALUATIONS, Evaluations, read_evaluations
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.provenance import KEY, read_result
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION

if TYPE_CHECKING:
    from deeprec_env.live.recording import Recording

_CONFIG = "config.json"
"""Of a training's folder; read without the libraries that training needs."""

RECORDS = (".csv", ".parquet")


@dataclass(frozen=True)
class Source:
    """A result: its name in the report, the command that made it, its JSON, and what lies beside it.

    `records`: by column, of the counted queries of a run. `recording`: of a live one. `validations`: of a training.
    `path`: where it was read.
    """

    name: str
    command: str
    payload: Mapping[str, Any]
    records: Mapping[str, Floats] | None = None
    validations: Evaluations | None = None
    recording: Recording | None = None
    path: Path | None = None

    @property
    def kind(self) -> str:
        """What its report is of: the command, but of a fleet's run, which has groups."""
        return f"{self.command} of a fleet" if self.command == "simulate" and "groups" in self.payload else self.command

    @property
    def question(self) -> Mapping[str, Any]:
        """What was asked."""
        found: Mapping[str, Any] = self.payload.get(KEY, {})
        return found

    @property
    def scenario(self) -> Mapping[str, Any] | None:
        """The scenario as resolved, where there is one."""
        found: Mapping[str, Any] | None = self.question.get("scenario")
        return found


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """The results at some paths, all of one kind; records belong to the run whose JSON comes before them.

    Raises `InputError` for what is no result, is of another schema or kind, or for records without their scenario.
    """
    found: list[Source] = []
    for path in paths:
        if path.suffix in RECORDS and is_recording(path):
            found[-1:] = _with_recording(found[-1:], path)
        elif path.suffix in RECORDS:
            if not found or found[-1].command != "simulate" or found[-1].records is not None:
                allowed = "holds records without their scenario: give the JSON of that run before it"
                raise InputError("what", str(path), allowed)
            found[-1] = replace(found[-1], records=_records(path, found[-1].payload))
        else:
            found.append(replace(_training(path) if path.is_dir() else _result(path), path=path))
    kinds = list(dict.fromkeys(source.kind for source in found))
    if len(kinds) > 1:
        raise InputError("what", ", ".join(kinds), "must be results of one kind")
    names = [source.name for source in found]
    if len(set(names)) < len(names):  # by their folders, where the files are called alike
        found = [replace(source, name=str(source.path and source.path.with_suffix(""))) for source in found]
    return found


def _result(path: Path) -> Source:
    payload = read_result(path)
    if payload.get("schema_version") != SCHEMA_VERSION:
        raise InputError("schema_version", payload.get("schema_version"), f"must be {SCHEMA_VERSION}")
    return Source(path.stem, str(payload[KEY].get("command")), payload)


def _training(path: Path) -> Source:
    if not (path / EVALUATIONS).is_file():
        raise InputError(
            "what", str(path), f"must be a result's JSON, or a folder that 'deeprec train' left ({EVALUATIONS})"
        )
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("what", str(path), f"must hold a training's {_CONFIG} ({error})") from None
    payload = {KEY: {"scenario": config.get("scenario"), "command": "train"}, "config": config}
    return Source(path.name, "train", payload, validations=read_evaluations(path))


def is_recording(path: Path) -> bool:
    """Whether a file of records is one of `deeprec live --record`."""
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8") as file:
                return file.readline().startswith("# {")
        check_installed("pyarrow")
        from pyarrow import parquet

        return b"deeprec" in (parquet.read_schema(path).metadata or {})
    except (OSError, ValueError):  # said when it is read
        return False


def _with_recording(before: Sequence[Source], path: Path) -> list[Source]:
    """A recording, with the JSON of its run where that came before it; else told from itself alone."""
    from deeprec_env.live.recording import read_recording
    from deeprec_env.report.recording import payload_of, records_of

    recording = read_recording(path)
    records = records_of(recording)
    if not before or before[0].command != "live" or before[0].recording is not None:
        return [*before, Source(path.stem, "live", payload_of(recording), records, recording=recording, path=path)]
    [run] = before
    if run.payload.get("queries") != len(recording.first_rows()) or run.scenario != recording.header["scenario"]:
        raise InputError("what", str(path), f"must be the recording of the run before it, {run.name}")
    return [replace(run, records=records, recording=recording)]


def _records(path: Path, payload: Mapping[str, Any]) -> dict[str, Floats]:
    """Arrival and latency of the counted queries, in milliseconds and seconds."""
    columns = ("arrival_s", "latency_s", "items", "warmup")
    try:
        table = _parquet(path, columns) if path.suffix == ".parquet" else _csv(path, columns)
    except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise InputError("what", str(path), f"must be records of 'deeprec simulate' ({error})") from None
    if len(table["warmup"]) != payload.get("queries"):
        allowed = f"must be the records of that run, which has {payload.get('queries')} queries"
        raise InputError("what", f"{path} with {len(table['warmup'])} queries", allowed)
    counted = (table["warmup"] == 0.0) & ~np.isnan(table["latency_s"])
    return {name: column[counted] for name, column in table.items()}


def _csv(path: Path, columns: Sequence[str]) -> dict[str, Floats]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        places = [header.index(column) for column in columns]
        words = {"True": 1.0, "False": 0.0}
        values = [[words[row[at]] if row[at] in words else float(row[at]) for at in places] for row in rows]
    return dict(zip(columns, np.array(values, dtype=np.float64).reshape(-1, len(columns)).T, strict=True))


def _parquet(path: Path, columns: Sequence[str]) -> dict[str, Floats]:
    check_installed("pyarrow")
    from pyarrow import parquet

    table = parquet.read_table(path, columns=list(columns))
    return {name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in columns}
