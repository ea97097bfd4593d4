"""What a report is made from: results' JSON, records beside it, folders of trainings."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.agents.evaluations import EVALUATIONS, Evaluations, read_evaluations
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.provenance import KEY, read_result
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION

_CONFIG = "config.json"
"""Of a training's folder; read without the libraries that training needs."""

RECORDS = (".csv", ".parquet")


@dataclass(frozen=True)
class Source:
    """A result: its name in the report, the command that made it, its JSON, and what lies beside it.

    `records`: by column, of the counted queries of a run. `validations`: of a training.
    """

    name: str
    command: str
    payload: Mapping[str, Any]
    records: Mapping[str, Floats] | None = None
    validations: Evaluations | None = None

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
        if path.suffix in RECORDS:
            if not found or found[-1].command != "simulate" or found[-1].records is not None:
                allowed = "holds records without their scenario: give the JSON of that run before it"
                raise InputError("what", str(path), allowed)
            found[-1] = replace(found[-1], records=_records(path, found[-1].payload))
        elif path.is_dir():
            found.append(_training(path))
        else:
            found.append(_result(path))
    kinds = list(dict.fromkeys(source.command for source in found))
    if len(kinds) > 1:
        raise InputError("what", ", ".join(kinds), "must be results of one kind")
    names = [source.name for source in found]
    if len(set(names)) < len(names):  # by their folders, where the files are called alike
        found = [replace(source, name=str(path.with_suffix(""))) for source, path in zip(found, paths, strict=False)]
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
