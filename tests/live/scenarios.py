"""Small live scenarios: the empty model, seconds of traffic."""

from __future__ import annotations

from typing import Any

from deeprec_env.live.servers import LiveOptions
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario

EMPTY = LiveOptions(model="empty")


def small(qps: float = 600.0, workers: int = 1, batch_size: int = 50, **control: Any) -> Scenario:
    """Queries of 100 items, so that each is several requests."""
    return load_scenario(
        {
            "sla_ms": 50,
            "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": {"kind": "fixed", "items": 100}},
            "node": {"cpu": {"servers": workers, "latency": {"kind": "constant", "ms": 0.2}}},
            "control": {"batch_size": batch_size, "interval_s": 0.5, **control},
        }
    )
