"""Criteo's click logs: Kaggle's train.txt, and the day files of the Terabyte log, which have the same columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.quality.data import Clicks, Dataset, Progress
from deeprec_env.quality.lines import Format, Malformed, read_blocks

DENSE, TABLES = 13, 26

HELD_OUT = 7
"""One line in this many, the last ones, is held out: Kaggle's file is seven days in order, the last the test's."""

FORMAT = Format(
    b"\t",
    [("label", rb"[01]", "must be 0 or 1")]
    + [(f"integer {i}", rb"(?:-?\d{1,18})?", "must be empty or a whole number") for i in range(1, DENSE + 1)]
    + [(f"category {i}", rb"(?:[0-9a-fA-F]{8})?", "must be empty or 8 hex digits") for i in range(1, TABLES + 1)],
)

_DIGITS = np.zeros(256, dtype=np.uint32)
for _digit in b"0123456789abcdefABCDEF":
    _DIGITS[_digit] = int(chr(_digit), 16)


def load_criteo(
    path: Path, *, lines: int | None, max_rows: int | None, malformed: Malformed, progress: Progress
) -> Dataset:
    """Criteo's log from a file, or from a folder of files day_0, day_1, ... in that order.

    At most `lines` well-formed lines are read (None: all). They take about 160 bytes of memory each, twice that while
    loading. Integers x become log(1 + max(x, 0)), 0 where empty. Categories are numbered from 1 in the order in which
    they first appear in the training part, as the public DLRM code does, and 0 stands for those that appear later only;
    an empty one is the category 00000000. A table that would have more than `max_rows` rows is hashed into as many.
    """
    blocks, left = [], lines
    for file, rows_read in _blocks(path, malformed):
        block = _parse(rows_read)[:left]
        blocks.append(block)
        progress(f"read {file.name}", len(block))
        left = None if left is None else left - len(block)
        if left == 0:
            break
    clicks = Clicks(
        np.concatenate([block.labels for block in blocks]),
        np.concatenate([block.dense for block in blocks]),
        np.concatenate([block.categories for block in blocks]),
    )
    if len(clicks) < HELD_OUT:
        raise InputError("path", str(path), f"must hold at least {HELD_OUT} well-formed lines, not {len(clicks)}")
    training = len(clicks) - len(clicks) // HELD_OUT
    rows = tuple(_index(clicks.categories[:, table], training, max_rows) for table in range(TABLES))
    return Dataset(rows, clicks[:training], clicks[training:])


def _blocks(path: Path, malformed: Malformed) -> Iterator[tuple[Path, list[list[bytes]]]]:
    for file in _files(path):
        for block in read_blocks(file):
            yield file, FORMAT.rows(file, block, malformed)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    days = {int(found[1]): file for file in path.iterdir() if (found := re.fullmatch(r"day_(\d+)(\.gz)?", file.name))}
    if not days:
        raise InputError("path", str(path), "must be a file, or a folder that holds day_0, day_1, ...")
    return [days[day] for day in sorted(days)]


def _parse(rows: list[list[bytes]]) -> Clicks:
    """The lines with raw categories: the 32 bits of each, as int32."""
    if not rows:
        return Clicks(np.empty(0, np.float32), np.empty((0, DENSE), np.float32), np.empty((0, TABLES), np.int32))
    columns = np.array(rows, dtype=np.bytes_)
    integers = columns[:, 1 : 1 + DENSE]
    values = np.where(integers == b"", b"0", integers).astype(np.float64)
    digits = np.ascontiguousarray(columns[:, 1 + DENSE :].astype("S8")).view(np.uint8)
    nibbles = _DIGITS[digits.reshape(len(rows), TABLES, 8)] << np.arange(28, -1, -4, dtype=np.uint32)
    return Clicks(
        (columns[:, 0] == b"1").astype(np.float32),
        np.log1p(np.maximum(values, 0.0)).astype(np.float32),
        nibbles.sum(axis=2, dtype=np.uint32).view(np.int32),
    )


def _index(column: NDArray[np.int32], training: int, max_rows: int | None) -> int:
    """Turn raw categories into rows of their table, in place; returns the rows of the table."""
    known, first = np.unique(column[:training], return_index=True)
    if max_rows is not None and len(known) + 1 > max_rows:
        column[:] = (column.view(np.uint32) % np.uint32(max_rows)).astype(np.int32)
        return max_rows
    row = np.empty(len(known), dtype=np.int32)
    row[np.argsort(first)] = np.arange(1, len(known) + 1)
    place = np.searchsorted(known, column).clip(max=len(known) - 1)
    column[:] = np.where(known[place] == column, row[place], 0)
    return len(known) + 1
