"""Memory, asked for before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

from deeprec_env.errors import InputError

_GROUP = Path("/sys/fs/cgroup")


def check_memory(field: str, value: object, needed_bytes: float) -> None:
    """Raise `InputError` for `field` if what its value needs, about, is more than there is."""
    available = available_bytes()
    if available is not None and needed_bytes > available:
        raise InputError(
            field, value, f"needs about {_in_words(needed_bytes)} of memory; {_in_words(available)} are available"
        )


def available_bytes() -> float | None:
    """Memory that this process can still take: of the machine, or of its control group; None where neither tells."""
    found = [free for free in (_of_machine(), _of_group()) if free is not None]
    return min(found, default=None)


def _of_machine() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        pass
    try:  # macOS: what is free is not told
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError, AttributeError):
        return None


def _of_group() -> float | None:
    try:
        limit, used = ((_GROUP / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        return float(limit) - float(used)
    except (OSError, ValueError):  # no limit is "max"
        return None


def _in_words(count: float) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"
