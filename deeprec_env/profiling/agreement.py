"""How well two measurements of the same machine agree.

python -m deeprec_env.profiling.agreement FIRST.csv SECOND.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeprec_env import console
from deeprec_env.errors import InputError
from deeprec_env.latency.table import LEVELS, ProfileTable, read_profile


def agreement(first: ProfileTable, second: ProfileTable) -> dict[str, Sequence[float]]:
    """Per model, the relative differences of the median latency between two profiles, over their common batches."""
    medians = {
        (row.model, row.threads, row.batch, row.part): row.quantiles_ms[LEVELS.index(0.50)] for row in first.rows
    }
    differences: dict[str, list[float]] = {}
    for row in second.rows:
        before = medians.get((row.model, row.threads, row.batch, row.part))
        if before is not None:
            after = row.quantiles_ms[LEVELS.index(0.50)]
            differences.setdefault(row.model, []).append(after / before - 1.0)
    return dict(differences)


app = console.application("How well two measurements of the same machine agree.")


@app.command()
def main(first: Path, second: Path) -> None:
    """Print the differences of two profiles, model by model."""
    differences = agreement(read_profile(first), read_profile(second))
    if not differences:
        raise InputError("second", str(second), f"must hold a model and batch that {first} holds")
    everywhere = np.abs(np.concatenate([np.array(values) for values in differences.values()]))
    console.print_table(
        "Median latency, second against first, over the batches of each model (%)",
        ("model", "median", "median size", "largest size"),
        [
            [model, *(f"{100 * value:+.1f}" for value in (np.median(v), np.median(np.abs(v)), np.max(np.abs(v))))]
            for model, v in differences.items()
        ],
    )
    print(
        f"all: median size {100 * np.median(everywhere):.1f} %, 90 % below {100 * np.quantile(everywhere, 0.9):.1f} %"
    )


if __name__ == "__main__":
    console.run(app, "deeprec_env.profiling.agreement")
