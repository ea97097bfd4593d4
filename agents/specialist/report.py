"""What the cells of a folder say together: every agent against the tables, paired by test day."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.day_metrics import geometric_mean

SEED = "seed "


def rows_of(folder: Path, suffix: str) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table: one for each agent, and the geometric mean of them all."""
    cells = {path.name.removesuffix(f"-{suffix}.json"): path for path in sorted(folder.glob(f"*-{suffix}.json"))}
    if not cells:
        raise InputError("folder", str(folder), f"must hold results of {suffix}")
    figures = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in cells.items()}
    tables = [name for name in next(iter(figures.values())) if not name.startswith(SEED) and name != "grid-capacity"]
    columns = ["scenario", "agent", *(f"p95 of {name}'s" for name in tables), "violations +points", "shed +points"]
    columns += ["goodput", "capacity of grid-capacity's", f"({tables[0]}'s)"]
    rows: list[list[str]] = []
    ratios: dict[str, list[float]] = {name: [] for name in tables}
    for scenario, found in figures.items():
        for label in (name for name in found if name.startswith(SEED)):
            row = [scenario, label]
            for table in tables:
                ratio = paired.ratio(found[label]["p95_hourly_s"], found[table]["p95_hourly_s"])
                assert ratio is not None
                ratios[table].append(ratio.value)
                row.append(ratio.with_interval(".3f"))
            row += [_points(found[label], found[tables[0]], figure) for figure in ("violation_rate", "shed_rate")]
            row.append(f"{np.mean(found[label]['goodput_qps']) / np.mean(found[tables[0]]['goodput_qps']):.4f}")
            row += [_capacity(found, name) for name in (label, tables[0])]
            rows.append(row)
    means = [f"{geometric_mean(each):.3f} (worst {max(each):.3f})" for each in ratios.values()]
    return columns, [*rows, ["all", "", *means, *[""] * (len(columns) - 2 - len(means))]]


def _points(agent: Mapping[str, Sequence[float]], table: Mapping[str, Sequence[float]], figure: str) -> str:
    return f"{100 * float(np.mean(agent[figure]) - np.mean(table[figure])):+.2f}"


def _capacity(found: Mapping[str, Mapping[str, Any]], name: str) -> str:
    ratio = paired.ratio(found[name]["capacity_qps"], found["grid-capacity"]["capacity_qps"])
    return "-" if ratio is None else f"{ratio.value:.3f}"
