"""How long the dispatcher takes between a server's being free for a request and handing it over."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from deeprec_env.live.recording import Recording
from deeprec_env.scenario.parts import Floats


@dataclass(frozen=True)
class Gaps:
    """Seconds before each hand-over in which a server was free and the request there, (requests,)."""

    gap_s: Floats

    @property
    def median_s(self) -> float:
        """Their median, which no pause of the machine moves."""
        return float(np.median(self.gap_s)) if self.gap_s.size else 0.0

    @property
    def mean_s(self) -> float:
        """Their mean, pauses of the machine in it: what a queue gets to feel."""
        return float(self.gap_s.mean()) if self.gap_s.size else 0.0


def dispatch_gaps(recording: Recording) -> Gaps:
    """Those of a recording, over all pools where they are known."""
    gap_s = gap_by_row_s(recording)
    return Gaps(gap_s[np.isfinite(gap_s)])


def gap_by_row_s(recording: Recording) -> Floats:
    """Of each request, float64 (rows,): hand-over less entry, or less the answer that freed a server.

    NaN where it is not known: of later stages, whose entries are not recorded, and of batching pools.
    """
    columns = recording.columns
    found = np.full(len(columns["query"]), np.nan)
    for kind, pool in recording.scenario.stages[0].pools().items():
        if pool.batching is None:
            rows = np.flatnonzero((columns["stage"] == 0) & (columns["accelerator"] == (kind == "accelerator")))
            rows = rows[np.argsort(columns["start_s"][rows], kind="stable")]
            entry_s, start_s, end_s = (columns[name][rows] for name in ("entry_s", "start_s", "end_s"))
            found[rows] = _gaps_s(entry_s, start_s, end_s, pool.servers)
    return found


def _gaps_s(entry_s: Floats, start_s: Floats, end_s: Floats, servers: int) -> Floats:
    """Of requests in the order of their starts."""
    free_s = [0.0] * servers
    gaps = np.empty(len(start_s))
    for request, (entry, start, end) in enumerate(zip(entry_s.tolist(), start_s.tolist(), end_s.tolist(), strict=True)):
        gaps[request] = start - max(entry, heapq.heapreplace(free_s, end))
    return np.maximum(gaps, 0.0)
