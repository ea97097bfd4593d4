"""One block of memory for a dispatcher and its workers, and the arrays in it."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64


@dataclass(frozen=True)
class ArrayPlace:
    """An array in the block: NumPy's name of its type, its shape and where it begins."""

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def count(self) -> int:
        """Its elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Its length in bytes."""
        return self.count * np.dtype(self.dtype).itemsize

    def to_json(self) -> list[Any]:
        """As it is told to a worker."""
        return [self.dtype, list(self.shape), self.offset]

    @classmethod
    def of_json(cls, told: list[Any]) -> ArrayPlace:
        """What `to_json` gave."""
        return cls(told[0], tuple(told[1]), told[2])


def laid_out(places: Iterable[ArrayPlace], begin: int = 0) -> tuple[list[ArrayPlace], int]:
    """Arrays one after the other from `begin` on, each at a multiple of 64 bytes, and where the last one ends."""
    found = []
    for place in places:
        begin = -(-begin // _ALIGNMENT) * _ALIGNMENT
        found.append(replace(place, offset=begin))
        begin += place.size_bytes
    return found, begin


class SharedBlock:
    """Anonymous shared memory: gone with the last process that has it, however that ends. `fd` is handed to workers."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.fd, self._memory = fd, mmap.mmap(fd, size_bytes)

    @classmethod
    def create(cls, size_bytes: int) -> SharedBlock:
        """A new block of zeros."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("deeprec-live")
        else:  # macOS: a file that has lost its name
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        size_bytes = max(size_bytes, mmap.PAGESIZE)
        os.ftruncate(fd, size_bytes)
        return cls(fd, size_bytes)

    @classmethod
    def opened(cls, fd: int) -> SharedBlock:
        """The block that another process has made."""
        return cls(fd, os.fstat(fd).st_size)

    @property
    def buffer(self) -> mmap.mmap:
        """The memory itself."""
        return self._memory

    def array(self, place: ArrayPlace) -> NDArray[Any]:
        """An array in it; what is written to it every process sees."""
        flat = np.frombuffer(self._memory, dtype=place.dtype, count=place.count, offset=place.offset)
        return flat.reshape(place.shape)

    def close(self) -> None:
        """Give the memory back, once no array of it is left; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
