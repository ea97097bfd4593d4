"""How many cores there are for us."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores that this process may run on; those of the machine where the platform does not tell (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
