"""Numbers and times from text files, with the line of whatever is wrong."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
from pydantic import AfterValidator, ValidationInfo

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats


def _beside_the_scenario(path: str, info: ValidationInfo) -> str:
    return str((Path((info.context or {}).get("base_dir", ".")) / path).resolve())


FilePath = Annotated[str, AfterValidator(_beside_the_scenario)]
"""The path of a file, given relative to the scenario file."""

Cell = tuple[int, str]
"""Line number, from 1, and text."""


def read_cells(path: str, column: str | None) -> list[Cell]:
    """The column of that name in a CSV file with a header or, without a name, each line of a text file.

    A name that ends in .gz is a file compressed by gzip. Empty lines are left out. Raises `InputError` for a file that
    can't be read or holds nothing, for a column that is not there, and for a row without a value in it.
    """
    try:
        with _opened(path) as file:
            if column is None:
                cells = [(number, line.strip()) for number, line in enumerate(file, start=1)]
            else:
                reader = csv.DictReader(file)
                if column not in (reader.fieldnames or ()):
                    raise InputError(
                        "column", column, f"{path} holds {', '.join(reader.fieldnames or ()) or 'no columns'}"
                    )
                cells = [(reader.line_num, (row[column] or "").strip()) for row in reader]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError("path", path, f"must be a readable text file, or one ending in .gz ({error})") from None
    if column is None:
        cells = [cell for cell in cells if cell[1]]
    elif empty := next((number for number, text in cells if not text), None):
        raise InputError("path", f"{path}, line {empty}", f"has no value in column {column}")
    if not cells:
        raise InputError("path", path, "must hold at least one value")
    return cells


def _opened(path: str) -> TextIO:
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return Path(path).open(encoding="utf-8", newline="")


def numbers(path: str, cells: list[Cell]) -> Floats:
    """The cells as finite numbers; `InputError` names the first line that is none."""
    try:
        values = np.array([float(text) for _, text in cells])
    except ValueError:
        values = np.array([_number(text) for _, text in cells])
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise wrong_cell(path, cells[int(wrong[0])], "must be a finite number")
    return values


def seconds(path: str, cells: list[Cell]) -> Floats:
    """The cells as times in seconds from the first on: numbers of seconds, or dates with times (ISO 8601).

    Raises `InputError` where they are neither, or go back.
    """
    if math.isnan(_number(cells[0][1])):
        moments = np.array([_moment(path, cell) for cell in cells], dtype="datetime64[ns]")
        times_s = (moments - moments[0]).astype(np.int64) * 1e-9
    else:
        times = numbers(path, cells)
        times_s = times - times[0]
    backwards = np.flatnonzero(np.diff(times_s) < 0.0)
    if backwards.size:
        raise wrong_cell(path, cells[int(backwards[0]) + 1], "must not be earlier than the line before")
    return np.asarray(times_s, dtype=np.float64)


def wrong_cell(path: str, cell: Cell, allowed: str) -> InputError:
    """The error of one line of a file."""
    number, text = cell
    if number == 1 and text.lower() != "nan" and math.isnan(_number(text)):  # of a column, the first line is the header
        allowed += "; of a CSV with a header give the column"
    return InputError("path", f"{path}, line {number}: {text}", allowed)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _moment(path: str, cell: Cell) -> np.datetime64:
    try:
        return np.datetime64(cell[1], "ns")
    except ValueError:
        raise wrong_cell(path, cell, "must be a number of seconds or a date with a time") from None
