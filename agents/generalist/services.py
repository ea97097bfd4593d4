"""Random services, as different as nodes and models are: what the generalist learns from, none of them a preset.

Cores, latencies, accelerators, contention and query sizes are drawn; the settings too, also off the usual ladders.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from deeprec_env.latency.table import LEVELS, ProfileRow, write_profile
from deeprec_env.scenario.control import BATCH_SIZES, THRESHOLDS
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

CORES = (1, 72)
HELD_OUT_CORES = (5, 11, 23, 47)
"""Never drawn: tests ask what the generalist makes of them."""

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_SHARE_MEASURED = 0.5  # of the latencies, the rest is affine
_SHARE_ACCELERATED = 0.8  # of the services
_SHARE_CONTENDED = 0.2  # of the pools


def draw_service(rng: np.random.Generator) -> Scenario:
    """A service whose queries arrive at one a second; its own setting and target mean nothing."""
    with tempfile.TemporaryDirectory(prefix="deeprec-generalist-") as folder:
        base_ms, per_item_ms = 10.0 ** rng.uniform(-1.5, 1.0), 10.0 ** rng.uniform(-3.0, -0.3)
        node = {
            "cpu": {"servers": _cores(rng), "latency": _latency(rng, base_ms, per_item_ms, Path(folder) / "cpu.csv")}
        }
        if rng.random() < _SHARE_ACCELERATED:
            fixed_ms = base_ms * 10.0 ** rng.uniform(-0.5, 1.3)
            faster = 10.0 ** rng.uniform(0.0, 2.0)
            servers = 1 if rng.random() < 0.8 else int(rng.integers(2, 5))
            latency = _latency(rng, fixed_ms, per_item_ms / faster, Path(folder) / "accelerator.csv")
            node["accelerator"] = {"servers": servers, "latency": latency}
        for pool in node.values():
            if rng.random() < _SHARE_CONTENDED:
                pool["contention"] = {"c": [1.0, rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.5)]}
        workload = {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": _draw_sizes(rng)}
        return load_scenario({"sla_ms": 100, "workload": workload, "node": node})


def draw_settings(rng: np.random.Generator, scenario: Scenario, count: int) -> list[Setting]:
    """Settings for a service, each another: most of the usual ladders, some between."""
    found: dict[Setting, None] = {}
    for _ in range(50 * count):
        batch = int(rng.choice(BATCH_SIZES)) if rng.random() < 0.7 else round(10.0 ** rng.uniform(0.3, 3.0))
        threshold = None
        if scenario.has_accelerator:
            threshold = THRESHOLDS[rng.integers(len(THRESHOLDS))]
            if threshold is not None and rng.random() < 0.3:
                threshold = round(10.0 ** rng.uniform(0.3, 3.0))
        found[Setting(batch, threshold)] = None
        if len(found) == count:
            break
    return list(found)


def _cores(rng: np.random.Generator) -> int:
    while True:
        cores = round(float(np.exp(rng.uniform(*np.log(CORES)))))
        if cores not in HELD_OUT_CORES:
            return cores


def _latency(rng: np.random.Generator, base_ms: float, per_item_ms: float, path: Path) -> dict[str, Any]:
    """An affine latency, or one as if measured: a bent curve, with noise that leans to one side."""
    cv = float(10.0 ** rng.uniform(-2.5, -0.2))
    if rng.random() >= _SHARE_MEASURED:
        return {"kind": "affine", "base_ms": base_ms, "per_item_ms": per_item_ms, "cv": cv}
    bend, skew = rng.uniform(0.75, 1.25), rng.uniform(0.3, 2.0)
    z = ndtri(np.array(LEVELS))
    noise = np.exp(cv * np.where(z > 0.0, skew, 0.7) * z)
    rows = []
    for batch in _BATCHES:
        mean_ms = base_ms + per_item_ms * 256.0 * (batch / 256.0) ** bend
        rows.append(ProfileRow("drawn", "drawn", batch, "compute", 1, mean_ms, tuple((mean_ms * noise).tolist())))
    write_profile(path, {"drawn": "at random"}, rows)
    return {"kind": "profile", "profile": str(path), "model": "drawn"}


def _draw_sizes(rng: np.random.Generator) -> dict[str, Any]:
    kind = rng.choice(["lognormal", "normal", "fixed", "mlperf"], p=[0.8, 0.1, 0.05, 0.05])
    if kind == "lognormal":
        high = int(rng.choice([1000, 1000, 1000, 500, 2000]))
        return {"kind": kind, "mu": rng.uniform(3.0, 6.0), "sigma": rng.uniform(0.2, 1.2), "high": high}
    if kind == "normal":
        return {"kind": kind, "mean": rng.uniform(50, 500), "std": rng.uniform(5, 100)}
    return {"kind": kind, "items": int(rng.integers(10, 800))} if kind == "fixed" else {"kind": kind}
