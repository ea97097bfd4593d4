"""Text files of click data, read in blocks of whole lines, and the account of lines that are not as they must be."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from deeprec_env.errors import InputError

BLOCK_BYTES = 1 << 22
"""Bytes read at a time, and the most that one line may hold."""

Line = tuple[int, bytes]
"""Line number, from 1, and its bytes without the end of line."""


class Malformed:
    """Lines that were skipped: how many, and the numbers of the first; more than `limit` of them raise `InputError`."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise InputError("max_malformed", limit, "must be a whole number of at least 0")
        self.limit, self.count = limit, 0
        self.first: list[str] = []

    def skip(self, path: Path, number: int, column: str, value: bytes, allowed: str) -> None:
        """Count one line of `path` whose `column` holds `value`."""
        self.count += 1
        if len(self.first) < 10:
            self.first.append(f"{path.name}:{number}")
        if self.count > self.limit:
            shown = value[:40].decode("utf-8", "replace")
            more = f"; line {self.count} of those that are malformed, of which --max-malformed allows {self.limit}"
            raise InputError("path", f"{path}, line {number}, column {column}: {shown}", allowed + more)

    def summary(self) -> dict[str, object]:
        """For JSON: the count, and where the first ten are."""
        return {"skipped_lines": self.count, "first_skipped": list(self.first)}


def read_blocks(path: Path) -> Iterator[list[Line]]:
    """The lines of a text file, gzipped if its name ends in .gz, a block at a time.

    Raises `InputError` for a file that can't be read, is empty, ends in the middle of a gzip stream, or has a line
    longer than a block.
    """
    number, rest = 1, b""
    try:
        with _opened(path) as file:
            while block := file.read(BLOCK_BYTES):
                whole, end, rest = (rest + block).rpartition(b"\n")
                if end:
                    lines = whole.split(b"\n")
                    yield [(number + i, line.removesuffix(b"\r")) for i, line in enumerate(lines)]
                    number += len(lines)
                elif len(rest) > BLOCK_BYTES:
                    raise InputError(
                        "path", f"{path}, line {number}", f"must be a line of less than {BLOCK_BYTES} bytes"
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("path", str(path), f"must be a readable text file ({error})") from None
    if rest:
        yield [(number, rest.removesuffix(b"\r"))]
    elif number == 1:
        raise InputError("path", str(path), "must not be empty")


class Format:
    """Lines of columns: `names`, what each must match, and in words what that is."""

    def __init__(self, separator: bytes, columns: list[tuple[str, bytes, str]]) -> None:
        self.separator = separator
        self.columns = [(name, re.compile(pattern), allowed) for name, pattern, allowed in columns]
        patterns = (b"(?:" + pattern + b")" for _, pattern, _ in columns)
        self._line = re.compile(re.escape(separator).join(patterns))

    def rows(self, path: Path, lines: list[Line], malformed: Malformed) -> list[list[bytes]]:
        """The columns of the lines that are well formed; the others are counted."""
        whole: Callable[[bytes], object] = self._line.fullmatch
        good = []
        for number, line in lines:
            if whole(line):
                good.append(line.split(self.separator))
            else:
                malformed.skip(path, number, *self._wrong(line))
        return good

    def _wrong(self, line: bytes) -> tuple[str, bytes, str]:
        """Column, value and what is allowed of the first column that is not as it must be."""
        values = line.split(self.separator)
        if len(values) != len(self.columns):
            shown = self.separator.decode().replace("\t", "tab")
            return f"count {len(values)}", line, f"must be {len(self.columns)} columns, separated by {shown}"
        for value, (name, pattern, allowed) in zip(values, self.columns, strict=True):
            if not pattern.fullmatch(value):
                return name, value, allowed
        raise AssertionError("a line of good columns matches")


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
