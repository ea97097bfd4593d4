"""Seconds of a sweep of pipelines, table included, beside the time that RecPipe's artifact took for the same cells.

    python -m benchmarks.pipeline_sweep [--config examples/pipelines/recpipe-5000.yaml] [--part 10]

Without `--config` the two grids that the artifact logged, at its nominal rates and with as many queries. It ran in real
time: the sum over its runs of their queries / the rate that they achieved.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.recpipe.design_space.space import load_space, space_of
from deeprec_env.recpipe.design_space.sweep import sweep

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "pipelines"

LOGGED_S = {"logged-cpu-gpu": 13806.9, "logged-rpaccel": 3562.4}
"""Of 900 and 110 runs: sum of num_queries / achieved_qps in the artifact's logs."""


def main(
    config: Annotated[Path | None, typer.Option(help="A space to sweep (default: the two that were logged).")] = None,
    part: Annotated[int, typer.Option(help="Sweep every so manieth pipeline only.")] = 1,
    workers: Annotated[int | None, typer.Option(help="Threads (default: one a core).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Time sweeps of pipelines."""
    paths = [config] if config else [EXAMPLES / f"{name}.yaml" for name in LOGGED_S]
    _timed(EXAMPLES / "logged-rpaccel.yaml", 1, workers)  # compiles
    rows = [_timed(path, part, workers) for path in paths]
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if json:
        console.print_json({"sweeps": rows, "most_memory_mb": memory_mb})
        return
    columns = tuple(rows[0])
    texts = [["-" if row[column] is None else _text(row[column]) for column in columns] for row in rows]
    console.print_table(f"sweeps of pipelines; at most {memory_mb:.0f} MB", columns, texts)


def _timed(path: Path, part: int, workers: int | None) -> dict[str, Any]:
    begin = time.perf_counter()
    space = space_of(load_space(path))
    space = replace(space, candidates=space.candidates[::part])
    with tempfile.TemporaryDirectory() as folder:
        cells = sweep(space, Path(folder), workers=workers)
    seconds = time.perf_counter() - begin
    logged_s = LOGGED_S.get(path.stem) if part == 1 else None
    return {
        "space": path.stem,
        "pipelines": len(space.candidates),
        "cells": len(cells),
        "queries": len(cells) * space.config.queries,
        "seconds": seconds,
        "logged_seconds": logged_s,
        "times_faster": None if logged_s is None else logged_s / seconds,
    }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
