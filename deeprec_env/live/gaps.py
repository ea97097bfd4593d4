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
    """Those of a recording, over all pools: hand-over less entry, or less the answer that freed a server."""
    columns, found = recording.columns, []
    for position, stage in enumerate(recording.scenario.stages):
        for kind, pool in stage.pools().items():
            chosen = (columns["stage"] == position) & (columns["accelerator"] == (kind == "accelerator"))
            chosen &= columns["carries"] == 1
            if position == 0 and pool.batching is None:  # of later stages the entry is not recorded
                order = np.argsort(columns["start_s"][chosen], kind="stable")
                entry_s, start_s, end_s = (columns[name][chosen][order] for name in ("entry_s", "start_s", "end_s"))
                found.append(_gaps(entry_s, start_s, end_s, pool.servers))
    return Gaps(np.concatenate(found) if found else np.empty(0))


def _gaps(entry_s: Floats, start_s: Floats, end_s: Floats, servers: int) -> Floats:
    free_s = [0.0] * servers
    gaps = np.empty(len(start_s))
    for request, (entry, start, end) in enumerate(zip(entry_s.tolist(), start_s.tolist(), end_s.tolist(), strict=True)):
        gaps[request] = start - max(entry, heapq.heapreplace(free_s, end))
    return np.maximum(gaps, 0.0)
