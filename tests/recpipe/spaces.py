"""Spaces of pipelines that tests share."""

from __future__ import annotations

from typing import Any

ITEMS = [1024, 1600, 2048, 3200, 4096]


def stage(model: Any, items: Any, device: Any, **more: Any) -> dict[str, Any]:
    return {"model": model, "items": items, "device": device, **more}


def space(*grids: Any, **more: Any) -> dict[str, Any]:
    """Each grid is a list of stages, or a whole grid."""
    whole = [grid if isinstance(grid, dict) else {"stages": grid} for grid in grids]
    return {"sla_ms": 100, "qps": [50, 150], "queries": 1500, "grids": whole, **more}


def small_space(**more: Any) -> dict[str, Any]:
    """270 pipelines of one and two stages on CPU cores and a GPU."""
    cores = [None, 8, 24]
    return space(
        [stage(["dim_4", "dim_16", "dim_32"], ITEMS, ["cpu", "gpu"])],
        [
            stage(["dim_4", "dim_16"], ITEMS, ["cpu", "gpu"], engines=cores),
            stage("dim_32", [128, 512], ["cpu", "gpu"], engines=cores),
        ],
        **more,
    )
