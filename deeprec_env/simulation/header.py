"""What every result says of itself: versions, and where its latencies come from."""

from __future__ import annotations

import numpy as np

from deeprec_env.scenario.schema import Scenario
from deeprec_env.version import __version__

SCHEMA_VERSION = 1
"""Of the JSON of all results."""


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {"deeprec_env": __version__, "numpy": np.__version__}


def devices(scenario: Scenario) -> dict[str, list[str]]:
    """Where the latencies of each kind of pool come from, stage by stage; an estimated profile says so in its name."""
    named: dict[str, list[str]] = {}
    for stage in scenario.planned_stages[scenario.setting.plan]:
        for kind, pool in stage.pools().items():
            named.setdefault(kind, []).append(pool.latency.label)
    return named
