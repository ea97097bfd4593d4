"""Query sizes that are values of a list: recorded in a file, or MLPerf's."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import PrivateAttr, model_validator

from deeprec_env.scenario.parts import SIZES, Floats, Ints, SizeDistribution
from deeprec_env.workload.columns import FilePath, numbers, read_cells, wrong_cell

MOST = 10**6
"""Largest size that a file may hold."""


class _Listed(SizeDistribution):
    """Each value of a list is as likely as any other."""

    @property
    @abstractmethod
    def _values(self) -> Ints:
        """The list."""

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        return self._values[rng.integers(len(self._values), size=count)]

    def probabilities(self) -> tuple[Ints, Floats]:
        items, counts = np.unique(self._values, return_counts=True)
        return items, counts / len(self._values)


@SIZES.register("mlperf")
class MLPerf(_Listed):
    """The 20 equally likely sizes of MLPerf inference's DLRM benchmark (Apache-2.0): mean 270."""

    @property
    def _values(self) -> Ints:
        return np.array([100] * 2 + [200] * 12 + [300] * 2 + [400, 500, 600, 700], dtype=np.int64)


@SIZES.register("file")
class SizesFile(_Listed):
    """Sizes recorded in a file, drawn at random or, with `replay`, in their order and then again from the first.

    `path` (relative to the scenario file) is a text file with one number a line, or a CSV with a header and the
    `column` of that name. Numbers are rounded to whole items.
    """

    path: FilePath
    column: str | None = None
    replay: bool = False

    _recorded: Ints = PrivateAttr()

    @model_validator(mode="after")
    def _read(self) -> Self:
        cells = read_cells(self.path, self.column)
        sizes = np.rint(numbers(self.path, cells))
        wrong = np.flatnonzero((sizes < 1) | (sizes > MOST))
        if wrong.size:
            raise wrong_cell(self.path, cells[int(wrong[0])], f"must be a size from 1 to {MOST}")
        self._recorded = sizes.astype(np.int64)
        return self

    @property
    def files(self) -> Mapping[str, Path]:
        return {self.path: Path(self.path)}

    @property
    def _values(self) -> Ints:
        return self._recorded

    @property
    def fingerprint(self) -> str:
        return f"{self.model_dump_json()} {hashlib.sha256(self._recorded.tobytes()).hexdigest()}"

    def stationary(self) -> SizesFile:
        return self.model_copy(update={"replay": False})

    def open(self, rng: np.random.Generator) -> Callable[[int], Ints]:
        return _Replay(self._recorded).next if self.replay else super().open(rng)


class _Replay:
    """A list over and over."""

    def __init__(self, values: Ints) -> None:
        self._values, self._done = values, 0

    def next(self, count: int) -> Ints:
        taken = self._values[(self._done + np.arange(count)) % len(self._values)]
        self._done += count
        return taken
